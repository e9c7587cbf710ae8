"""Whatever becomes of the topics: nothing that is accepted afterwards is lost, what is lost is told, and no record
stops the rest."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from clickstream.contracts.clicks import Click, encode_click
from clickstream.contracts.dead_letters import bad_row
from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.session_records import decode_session
from clickstream.contracts.topics import RECORD_BYTES, topics_of
from clickstream.replay.reading import Reading
from clickstream.setup.topics import TopicAdmin
from support.processes import Process, clickstream, wait_for
from support.records import decode_enriched
from support.topics import count, feed, feed_unreadable, read_all
from support.traffic import as_keys, clicks, sort_and_cut, standing


class Topics:
    """The topics of a pipeline, and what is done to them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.names = pipeline, pipeline.names
        self.bootstrap = pipeline.kafka.bootstrap_servers
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})

    def create_anew(self, name: str | None = None) -> None:
        """Delete raw-clicks (or another topic) and create it again, as somebody would by hand."""
        name = name or self.names.raw_clicks
        self.admin.delete_topics([name])[name].result()
        deadline = time.monotonic() + 30
        while name in self.admin.list_topics(timeout=5).topics:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        TopicAdmin(self.pipeline.kafka).create([topic for topic in topics_of(self.pipeline) if topic.name == name])

    def delete_before(self, offsets: dict[int, int]) -> None:
        """As the retention does."""
        wanted = [TopicPartition(self.names.raw_clicks, number, offset) for number, offset in offsets.items()]
        for answer in self.admin.delete_records(wanted).values():
            answer.result()

    def grow(self, name: str, partitions: int) -> None:
        """Add partitions to a topic, and wait until the brokers tell of them."""
        self.admin.create_partitions([NewPartitions(name, partitions)])[name].result(30)
        wait_for(lambda: len(self.admin.list_topics(name, timeout=5).topics[name].partitions) == partitions, "it grew")

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


def processed(worker: Process, number: int, why: str) -> None:
    """Wait until exactly so many have been; they are counted when all that follows from them is delivered."""
    wait_for(lambda: worker.metric("clickstream_events_processed_total") >= number, why, worker)
    assert worker.metric("clickstream_events_processed_total") == number, why


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
        lambda: {click.event_id for click in late} <= topics.ids() or worker.popen.poll() is not None, "seen", worker
    )
    if worker.popen.poll() is not None:
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
        return worker.popen.poll() is not None or {click.event_id for click in late} <= topics.ids()

    wait_for(ended_or_done, "it is seen", worker)
    if worker.popen.poll() is not None:
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
    processed(worker, len(left), "the rest is read")
    told = lines(worker, "records were deleted before they could be read")
    assert len(told) == 3
    assert sum(line["skipped"] for line in told) == worker.metric("clickstream_skipped_records_total")
    assert sum(line["skipped"] for line in told) == len(raw) - len(early) - len(left)
    assert {line["level"] for line in told} == {"ERROR"}
    assert worker.stop() == 0
    worker.start()
    after = clicks(90, seed=39, users=9, hours=0.1)
    topics.feed(after)
    all_of(topics, after, worker)
    processed(worker, len(after), "it goes on where it stopped")
    assert worker.metric("clickstream_skipped_records_total") == 0


def test_a_changelog_that_is_created_anew_costs_what_was_open_and_nothing_else(topics: Topics, worker: Process) -> None:
    early, late = clicks(300, seed=40, users=9, hours=0.1), clicks(300, seed=41, users=9, hours=0.1)
    topics.feed(early)
    all_of(topics, early, worker)
    assert worker.stop() == 0
    topics.create_anew(topics.names.enricher_changelog)
    topics.feed(late)
    worker.start()
    all_of(topics, late, worker)
    processed(worker, len(late), "the group knows where it stopped")
    assert worker.metric("clickstream_skipped_records_total") == 0
    assert len(topics.ids()) == len({click.event_id for click in early + late})


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
        processed(worker, number + 10, "read")
    all_of(topics, sent, worker)
    assert worker.popen.poll() is None
    assert worker.metric("clickstream_skipped_records_total") == 0
    assert worker.stop() == 0
    worker.start()
    more = clicks(60, seed=31, users=5)
    topics.feed(more)
    all_of(topics, more, worker)
    assert worker.metric("clickstream_skipped_records_total") == 0


@pytest.mark.parametrize("ending", [Producer.commit_transaction, Producer.abort_transaction], ids=["kept", "withdrawn"])
def test_a_partition_that_ends_in_a_marker_is_read_to_its_end(
    topics: Topics, worker: Process, ending: Callable[[Producer, float], None]
) -> None:
    """Nothing more can be read there, so it is neither behind nor stuck, however long no click comes.

    Clicks count once they are on the topic, also those of a transaction that is given up.
    """
    worker.wait_ready()
    sent = clicks(30, seed=38, users=9)
    producer = Producer({"bootstrap.servers": topics.bootstrap, "transactional.id": f"ends-{topics.names.prefix}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for click in sent:
        producer.produce(topics.names.raw_clicks, encode_click(click), click.user_id.encode())
    assert producer.flush(30) == 0
    ending(producer, 30)
    all_of(topics, sent, worker)
    wait_for(lambda: worker.metric("clickstream_consumer_lag_records") == 0, "no lag", worker, timeout=20)
    replayed = Reading(topics.pipeline)
    parts = [replayed.records(part.partition, part.start, part.end) for part in replayed.parts(0)]
    assert sum(len(batch) for part in parts for batch in part) == len(sent), "a replay reads what was enriched"
    assert worker.stop() == 0
    worker.start()
    worker.wait_ready()
    wait_for(
        lambda: worker.metric("clickstream_consumer_lag_records") == 0, "no lag after a restart", worker, timeout=20
    )


def test_a_header_whose_name_is_not_utf_8_stops_nothing(topics: Topics, worker: Process) -> None:
    """aiokafka's parser raises for it at each fetch, and brokers take it."""
    early, late = clicks(500, seed=36, users=9, hours=0.2), clicks(500, seed=37, users=9, hours=0.2)
    topics.feed(early)
    for topic in (topics.names.raw_clicks, topics.names.enricher_changelog):
        both = [(b"k", value) for value in (b"first", b"second")]
        feed_unreadable(topics.bootstrap, topic, dict.fromkeys(range(3), both))
    topics.feed(late)
    all_of(topics, early + late, worker)
    wait_for(lambda: topics.sessions() == sort_and_cut(early + late), "the sessions are right", worker)
    rows = [row for row in topics.letters() if row.origin.topic == topics.names.raw_clicks]
    assert sorted(row.original for row in rows) == [b"first"] * 3 + [b"second"] * 3
    assert {row.origin.headers for row in rows} == {(("unreadable", b"true"),)}
    assert worker.popen.poll() is None
    assert worker.metric("clickstream_skipped_records_total") == 0


NO_UTF_8 = msgspec.msgpack.encode(
    [1, [["undated-ab", "?user", "undated", 1, 2, 3, 1, 1, "/", "/", "direct", "other", False, *[None] * 4, {}, []]]]
).replace(b"?user", b"\xffuser")
"""A key's record as we write it, but for one byte."""


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
            (b"kghost", NO_UTF_8, [("applied", b"1" * 18)]),
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
    processed(worker, len(late), "nothing is read twice")
    assert count(topics.bootstrap, topics.names.enriched_clicks) == len({c.event_id for c in early + late})


def test_partitions_that_only_raw_clicks_was_given_are_told_with_what_to_run(
    topics: Topics, pipeline_file: Path, worker: Process
) -> None:
    names, number = topics.names, topics.pipeline.kafka.topics.raw_clicks.partitions
    topics.grow(names.raw_clicks, number + 2)
    wait_for(lambda: worker.popen.poll() is not None, "it ends")
    said = worker.log.read_text()
    asked = f"--alter --topic {names.enricher_changelog} --partitions"
    assert worker.popen.returncode == 2, said
    assert asked in said
    assert f"has {number} partitions" in said
    assert "Traceback" not in said
    replay = subprocess.run(
        clickstream("replay", "--from", "1h", "--dry-run", "--pipeline", str(pipeline_file)),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (replay.returncode, asked in replay.stderr) == (2, True), replay.stderr
    assert "Traceback" not in replay.stderr

    topics.grow(names.enricher_changelog, number + 2)
    worker.start()
    worker.wait_ready()
    sent = clicks(500, seed=71, users=20)
    topics.feed(sent)
    all_of(topics, sent, worker)
