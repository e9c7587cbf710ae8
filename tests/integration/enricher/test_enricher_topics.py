"""Whatever becomes of the topics: nothing that is accepted afterwards is lost, what is lost is told, and no record stops the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from support.processes import Process, wait_for
from support.topics import count, feed, read_all
from support.traffic import as_keys, clicks, sort_and_cut, standing

from clickstream.contracts.clicks import Click, decode_enriched, encode_click
from clickstream.contracts.dead_letters import bad_row
from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.session_records import decode_session
from clickstream.contracts.topics import RECORD_BYTES, topics_of
from clickstream.topic_admin import TopicAdmin


class Topics:
    """The topics of a pipeline, and what is done to them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.names = pipeline, pipeline.names
        self.bootstrap = pipeline.kafka.bootstrap_servers
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})

    def create_anew(self) -> None:
        """Delete raw-clicks and create it again, as somebody would by hand."""
        raw = [topic for topic in topics_of(self.pipeline) if topic.name == self.names.raw_clicks]
        self.admin.delete_topics([raw[0].name])[raw[0].name].result()
        deadline = time.monotonic() + 30
        while raw[0].name in self.admin.list_topics(timeout=5).topics:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        TopicAdmin(self.pipeline.kafka).create(raw)

    def delete_before(self, offsets: dict[int, int]) -> None:
        """As the retention does."""
        wanted = [TopicPartition(self.names.raw_clicks, number, offset) for number, offset in offsets.items()]
        for answer in self.admin.delete_records(wanted).values():
            answer.result()

    def feed(self, sent: list[Click]) -> None:
        feed(self.bootstrap, self.names.raw_clicks, sent)

    def ids(self) -> set[str]:
        return {decode_enriched(m.value()).event_id for m in read_all(self.bootstrap, self.names.enriched_clicks)}

    def sessions(self) -> set[tuple[object, ...]]:
        records = [
            decode_session(m.key(), m.value(), m.headers()) for m in read_all(self.bootstrap, self.names.sessions)
        ]
        return as_keys(standing(records))

    def letters(self) -> list:
        return [bad_row(m.value(), m.headers()) for m in read_all(self.bootstrap, self.names.dead_letters)]


@pytest.fixture
def topics(pipeline: Pipeline) -> Topics:
    return Topics(pipeline)


def lines(worker: Process, text: str) -> list[dict]:
    return [json.loads(line) for line in worker.log.read_text().splitlines() if text in line]


def all_of(topics: Topics, sent: list[Click], worker: Process, timeout: float = 60) -> None:
    wanted = {click.event_id for click in sent}
    wait_for(lambda: wanted <= topics.ids(), f"{len(wanted)} clicks are enriched", worker, timeout=timeout)


Anew = Callable[[], None]


def test_a_topic_that_is_created_anew_while_the_enricher_is_away_loses_nothing(topics: Topics, worker: Process) -> None:
    """The new topic has grown beyond the old one's end before the enricher comes back."""
    early, late = clicks(300, seed=21, users=9, hours=0.2), clicks(3_000, seed=22, users=9, hours=0.2)
    topics.feed(early)
    all_of(topics, early, worker)
    assert worker.stop() == 0
    topics.create_anew()
    topics.feed(late)
    worker.start()
    all_of(topics, late, worker)
    # Sessions go on across the change, with versions that the stores take for newer.
    wait_for(lambda: topics.sessions() == sort_and_cut(early + late), "the sessions are right", worker)
    assert len(lines(worker, "the topic is another one than before")) >= 1
    assert worker.metric("clickstream_enricher_source_replaced_total") >= 1
    wait_for(lambda: worker.metric("clickstream_consumer_lag_records") == 0, "no lag", worker)


def test_a_topic_that_is_created_anew_under_a_running_enricher_loses_nothing(topics: Topics, worker: Process) -> None:
    early, late = clicks(2_000, seed=23, users=9, hours=0.2), clicks(500, seed=24, users=9, hours=0.2)
    topics.feed(early)
    all_of(topics, early, worker)
    topics.create_anew()
    topics.feed(late)
    wait_for(
        lambda: {click.event_id for click in late} <= topics.ids() or worker.child.poll() is not None, "seen", worker
    )
    if worker.child.poll() is not None:
        worker.start()  # as its keeper does
    all_of(topics, late, worker)
    wait_for(lambda: topics.sessions() == sort_and_cut(early + late), "the sessions are right", worker)
    assert lines(worker, "another one than before") or lines(worker, "was created anew")


def test_a_small_topic_that_is_created_anew_and_outgrown_at_once_loses_nothing(topics: Topics, worker: Process) -> None:
    """Two clicks are read; the new topic holds more before a fetch could see that it had begun again."""
    early, late = clicks(2, seed=25, users=1, hours=0.1), clicks(600, seed=26, users=9, hours=0.1)
    topics.feed(early)
    all_of(topics, early, worker)
    time.sleep(6)  # the id of the topic has been looked up
    topics.create_anew()
    topics.feed(late)

    def ended_or_done() -> bool:
        return worker.child.poll() is not None or {click.event_id for click in late} <= topics.ids()

    wait_for(ended_or_done, "it is seen", worker)
    if worker.child.poll() is not None:
        worker.start()
    all_of(topics, late, worker)


def test_what_the_retention_deleted_before_it_was_read_is_told(topics: Topics, worker: Process) -> None:
    early, late = clicks(900, seed=27, users=9, hours=0.1), clicks(900, seed=28, users=9, hours=0.1)
    topics.feed(early)
    all_of(topics, early, worker)
    assert worker.stop() == 0
    topics.feed(late)
    raw = read_all(topics.bootstrap, topics.names.raw_clicks)
    ended = {message.partition(): message.offset() + 1 for message in raw}
    topics.delete_before({partition: end - 50 for partition, end in ended.items()})
    left = read_all(topics.bootstrap, topics.names.raw_clicks)
    worker.start()
    wait_for(lambda: worker.metric("clickstream_events_processed_total") == len(left), "the rest is read", worker)
    told = lines(worker, "records were deleted before they could be read")
    assert len(told) == 3
    assert sum(line["skipped"] for line in told) == worker.metric("clickstream_skipped_records_total")
    assert sum(line["skipped"] for line in told) == len(raw) - len(early) - len(left)
    assert {line["level"] for line in told} == {"ERROR"}


def test_records_of_any_size_that_the_topic_takes_are_dead_letters_and_the_rest_goes_on(
    topics: Topics, worker: Process
) -> None:
    producer = Producer(
        {"bootstrap.servers": topics.bootstrap, "message.max.bytes": 20_000_000, "compression.type": "lz4"}
    )
    random, repeated = os.urandom(RECORD_BYTES - 200), b"x" * 5_000_000
    headers = [("h", b"v" * 1_000)] * 200
    for value in (random, repeated):
        producer.produce(topics.names.raw_clicks, value, b"the-key")
    producer.produce(topics.names.raw_clicks, b"{", b"k" * 500_000, headers=headers)
    assert producer.flush(30) == 0
    good = clicks(50, seed=29, users=5)
    topics.feed(good)
    all_of(topics, good, worker)
    rows = sorted(topics.letters(), key=lambda row: len(row.original))
    assert [len(row.original) for row in rows] == [1, 900_000, 900_000]
    for row in rows:
        assert row.origin is not None
        assert row.origin.topic == topics.names.raw_clicks
        assert row.origin.offset >= 0
    assert {row.origin.key for row in rows[1:]} == {b"the-key"}
    assert len(rows[0].origin.key) == 1_024
    assert rows[0].origin.headers[0] == ("h", b"v" * 1_000)
    assert "of 5000000 bytes are kept" in "".join(row.reason for row in rows)


def test_markers_of_transactions_are_no_lost_records(topics: Topics, worker: Process) -> None:
    worker.wait_ready()
    sent = clicks(60, seed=30, users=5)
    producer = Producer({"bootstrap.servers": topics.bootstrap, "transactional.id": f"hostile-{topics.names.prefix}"})
    producer.init_transactions(30)
    for number in range(0, 60, 10):
        producer.begin_transaction()
        for click in sent[number : number + 10]:
            producer.produce(topics.names.raw_clicks, encode_click(click), click.user_id.encode())
        producer.commit_transaction(30)
        wait_for(lambda: worker.metric("clickstream_events_processed_total") == number + 10, "read", worker)  # noqa: B023
    all_of(topics, sent, worker)
    assert worker.child.poll() is None
    assert worker.metric("clickstream_skipped_records_total") == 0
    assert worker.stop() == 0
    worker.start()
    more = clicks(60, seed=31, users=5)
    topics.feed(more)
    all_of(topics, more, worker)
    assert worker.metric("clickstream_skipped_records_total") == 0


UNREADABLE = """
import asyncio, sys
from aiokafka import AIOKafkaProducer
class NotUtf8(str):
    def encode(self, *_):
        return b"\\xff\\xfe"
async def main():
    producer = AIOKafkaProducer(bootstrap_servers=sys.argv[1])
    await producer.start()
    for partition in range(3):
        for value in (b"first", b"second"):
            await producer.send_and_wait(
                sys.argv[2], value, b"k", partition=partition, headers=[(NotUtf8("x"), b"1")]
            )
    await producer.stop()
asyncio.run(main())
"""


def test_a_header_whose_name_is_not_utf_8_stops_nothing(topics: Topics, worker: Process) -> None:
    """aiokafka's parser raises for it at each fetch, and brokers take it."""
    early, late = clicks(500, seed=36, users=9, hours=0.2), clicks(500, seed=37, users=9, hours=0.2)
    topics.feed(early)
    for topic in (topics.names.raw_clicks, topics.names.enricher_changelog):
        subprocess.run(
            [sys.executable, "-c", UNREADABLE, topics.bootstrap, topic],
            check=True,
            env=os.environ | {"AIOKAFKA_NO_EXTENSIONS": "1"},
        )
    topics.feed(late)
    all_of(topics, early + late, worker)
    wait_for(lambda: topics.sessions() == sort_and_cut(early + late), "the sessions are right", worker)
    rows = [row for row in topics.letters() if row.origin.topic == topics.names.raw_clicks]
    assert sorted(row.original for row in rows) == [b"first"] * 3 + [b"second"] * 3
    assert {row.origin.headers for row in rows} == {(("unreadable", b"true"),)}
    assert worker.child.poll() is None
    assert worker.metric("clickstream_skipped_records_total") == 0


def test_what_others_write_to_the_changelog_is_ignored_told_and_kept(topics: Topics, worker: Process) -> None:
    early, late = clicks(500, seed=32, users=9, hours=0.2), clicks(500, seed=33, users=9, hours=0.2)
    topics.feed(early)
    all_of(topics, early, worker)
    assert worker.stop() == 0
    producer = Producer({"bootstrap.servers": topics.bootstrap})
    for partition in range(3):
        for key, value, headers in (
            (b"kuser-1", b"\xc1\xc1", [("applied", b"1" * 18)]),
            (b"p", b"junk", [("applied", b"99")]),
            (b"x\xff", b"junk", [("applied", b"99")]),
            (b"anything", None, []),
            (b"b00user-1", os.urandom(900_000), None),
        ):
            producer.produce(topics.names.enricher_changelog, value, key, partition, headers=headers)
    assert producer.flush(30) == 0
    worker.start()
    topics.feed(late)
    all_of(topics, late, worker)
    rows = [row for row in topics.letters() if row.stage == "recover"]
    assert {row.origin.topic for row in rows} == {topics.names.enricher_changelog}
    assert len(rows) >= 9
    assert worker.metric("clickstream_enricher_foreign_changelog_records_total") >= len(rows)
    assert lines(worker, "records that no enricher wrote")
    undisturbed = {key for key in sort_and_cut(early + late) if key[0] != "user-1"}
    wait_for(lambda: undisturbed <= topics.sessions(), "everybody else's sessions are right", worker)


def test_an_orderly_restart_reads_nothing_twice_and_knows_its_lag_at_once(topics: Topics, worker: Process) -> None:
    early, late = clicks(2_000, seed=34, users=9, hours=0.2), clicks(4_000, seed=35, users=9, hours=0.2)
    topics.feed(early)
    all_of(topics, early, worker)
    assert worker.stop() == 0
    topics.feed(late)
    worker.start()
    worker.wait_ready()
    all_of(topics, late, worker)
    assert worker.metric("clickstream_events_processed_total") == len(late)
    assert count(topics.bootstrap, topics.names.enriched_clicks) == len({c.event_id for c in early + late})
