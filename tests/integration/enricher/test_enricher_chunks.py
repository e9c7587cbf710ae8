"""The contract with Faust 0.15.3, point by point (enricher/chunks.py): an upgrade must pass these before anything
else."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import faust
import msgspec
import pytest
from aiokafka.structs import ConsumerRecord
from confluent_kafka import Consumer, Producer, TopicPartition
from faust.types import TP

from clickstream.contracts.clicks import encode_click
from clickstream.contracts.dead_letters import bad_row
from clickstream.contracts.pipeline import Pipeline
from clickstream.enricher.chunks import ChunkConsumer, ChunkSchema, ChunkTransport, use_chunks
from support.processes import Process, wait_for
from support.topics import count, feed, read_all
from support.traffic import clicks

SOURCE = "source"
TP0 = TP(SOURCE, 0)


def record(offset: int) -> ConsumerRecord:
    return ConsumerRecord(
        topic=SOURCE,
        partition=0,
        offset=offset,
        timestamp=offset,
        timestamp_type=0,
        key=b"k",
        value=b"v",
        checksum=None,
        serialized_key_size=1,
        serialized_value_size=1,
        headers=(),
    )


@pytest.fixture
def consumer(tmp_path: Path) -> ChunkConsumer:
    """A real chunk consumer of a real application; no broker is needed for its arithmetic."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    app = faust.App("contract", broker="kafka://127.0.0.1:1", datadir=str(tmp_path), web_enabled=False)
    use_chunks(app, SOURCE)
    assert isinstance(app.consumer, ChunkConsumer)
    assert isinstance(app.transport, ChunkTransport)
    return app.consumer


def fetched(consumer: ChunkConsumer, *batches: dict[TP, list[Any]]) -> list[dict[TP, list[Any]]]:
    """What `_getmany` makes of these fetches."""

    class Thread:
        def __init__(self) -> None:
            self.batches = iter(batches)

        async def getmany(self, *_: Any) -> dict[TP, list[Any]]:
            return next(self.batches)

    consumer._thread = Thread()  # type: ignore[assignment]

    async def get() -> list[dict[TP, list[Any]]]:
        return [await consumer._getmany(None, 1.0) for _ in batches]

    return asyncio.new_event_loop().run_until_complete(get())


def test_all_records_fetched_for_a_partition_are_one_message_with_the_first_records_offset(
    consumer: ChunkConsumer,
) -> None:
    (chunks,) = fetched(consumer, {TP0: [record(7), record(8), record(9)]})
    (chunk,) = chunks[TP0]
    assert (chunk.offset, [r.offset for r in chunk.value], chunk.timestamp) == (7, [7, 8, 9], 9)
    message = consumer._to_message(TP0, chunk)
    assert message.value is chunk.value


def test_other_topics_pass_unchanged_and_empty_fetches_give_no_message(consumer: ChunkConsumer) -> None:
    other = TP("catalogue", 0)
    (chunks,) = fetched(consumer, {other: [record(1), record(2)], TP0: []})
    assert len(chunks[other]) == 2
    assert TP0 not in chunks


def test_the_commit_follows_the_last_acked_chunks_last_record(consumer: ChunkConsumer) -> None:
    fetched(consumer, {TP0: [record(10), record(19)]}, {TP0: [record(20), record(25)]}, {TP0: [record(26)]})
    assert consumer._new_offset(TP0) is None, "nothing is acked yet"
    consumer._acked[TP0].append(10)
    consumer._acked_index[TP0].add(10)
    assert consumer._new_offset(TP0) == 20
    assert not consumer._acked[TP0]
    assert not consumer._acked_index[TP0]
    consumer._acked[TP0] += [20, 26]
    assert consumer._new_offset(TP0) == 27
    assert consumer._new_offset(TP0) is None, "nothing new was acked"


def test_an_ack_from_before_a_rebalance_commits_nothing(consumer: ChunkConsumer) -> None:
    fetched(consumer, {TP0: [record(10), record(19)]})
    consumer._forget({TP0})
    consumer._acked[TP0].append(10)
    assert consumer._new_offset(TP0) is None


def test_offsets_between_two_chunks_are_no_gap(consumer: ChunkConsumer) -> None:
    asyncio.new_event_loop().run_until_complete(consumer._add_gap(TP0, 8, 19))
    assert not consumer._gap[TP0]


def test_a_chunks_list_never_reaches_fausts_decoding(consumer: ChunkConsumer) -> None:
    (chunks,) = fetched(consumer, {TP0: [record(1)]})
    message = consumer._to_message(TP0, chunks[TP0][0])
    decode = ChunkSchema().compile(consumer.app)
    event = asyncio.new_event_loop().run_until_complete(decode(message))
    assert event.value is chunks[TP0][0].value


def committed(pipeline: Pipeline) -> dict[int, int]:
    consumer = Consumer(
        {"bootstrap.servers": pipeline.kafka.bootstrap_servers, "group.id": pipeline.names.enricher_group}
    )
    try:
        wanted = [
            TopicPartition(pipeline.names.raw_clicks, n) for n in range(pipeline.kafka.topics.raw_clicks.partitions)
        ]
        return {tp.partition: tp.offset for tp in consumer.committed(wanted, timeout=10) if tp.offset >= 0}
    finally:
        consumer.close()


def ends(pipeline: Pipeline) -> dict[int, int]:
    found: dict[int, int] = {}
    for message in read_all(pipeline.kafka.bootstrap_servers, pipeline.names.raw_clicks):
        found[message.partition()] = message.offset() + 1
    return found


def test_lag_is_zero_on_an_idle_topic_and_every_offset_is_committed_at_the_end(
    pipeline: Pipeline, worker: Process
) -> None:
    bootstrap, names = pipeline.kafka.bootstrap_servers, pipeline.names
    worker.wait_ready()
    lag = 'clickstream_consumer_lag_records{partition="0"'
    wait_for(lambda: lag in worker.get("/metrics")[1], "lag is exposed", worker)
    assert worker.metric("clickstream_consumer_lag_records") == 0
    assert worker.metric("clickstream_consumer_lag_seconds") == 0
    sent = clicks(3_000, seed=11, users=50)
    feed(bootstrap, names.raw_clicks, sent)
    wait_for(lambda: count(bootstrap, names.enriched_clicks) >= len({c.event_id for c in sent}), "enriched", worker)
    wait_for(lambda: committed(pipeline) == ends(pipeline), "every offset is committed", worker)
    assert worker.metric("clickstream_consumer_lag_records") == 0
    assert worker.metric("clickstream_events_processed_total") == 3_000
    assert worker.metric("clickstream_events_duplicate_total") == 3_000 - len({c.event_id for c in sent})


def test_records_without_a_key_never_reach_the_changelog_without_one(pipeline: Pipeline, worker: Process) -> None:
    bootstrap, names = pipeline.kafka.bootstrap_servers, pipeline.names
    producer = Producer({"bootstrap.servers": bootstrap})
    for click in clicks(20, seed=12, users=3):
        producer.produce(names.raw_clicks, encode_click(click))
    assert producer.flush(10) == 0
    wait_for(lambda: worker.metric("clickstream_events_processed_total") == 20, "processed", worker)
    keys = [message.key() for message in read_all(bootstrap, names.enricher_changelog)]
    assert keys
    assert None not in keys


def test_the_app_never_creates_a_topic(pipeline: Pipeline, worker: Process) -> None:
    worker.wait_ready()
    consumer = Consumer({"bootstrap.servers": pipeline.kafka.bootstrap_servers, "group.id": "look"})
    try:
        topics = {
            name for name in consumer.list_topics(timeout=10).topics if name.startswith(pipeline.names.prefix + ".")
        }
    finally:
        consumer.close()
    names = pipeline.names
    assert topics == {
        names.raw_clicks,
        names.enriched_clicks,
        names.sessions,
        names.dead_letters,
        names.enricher_changelog,
    }


def test_bad_records_become_dead_letters_with_their_bytes_and_the_rest_goes_on(
    pipeline: Pipeline, worker: Process
) -> None:
    bootstrap, names = pipeline.kafka.bootstrap_servers, pipeline.names
    producer = Producer({"bootstrap.servers": bootstrap})
    bad = [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"5",
        b'{"event_id":"x"}',
        b"[" * 5_000,
        b'{"event_id":1}',
        b"x" * 900_000,
        None,
    ]
    first, newer = (msgspec.json.decode(encode_click(each)) for each in clicks(2, seed=13, users=1))
    good = [first, newer | {"planet": "Mars", "schema_version": 999}]
    keys = [b"k", None, b"\xff\xfe"]
    headers = [(f"h{number}", b"\xff") for number in range(200)]
    for partition, key in enumerate(keys):
        for value in [
            *bad,
            *(msgspec.json.encode(each | {"event_id": f"{partition}-{each['event_id']}"}) for each in good),
        ]:
            producer.produce(names.raw_clicks, value, key, partition, headers=headers)
    assert producer.flush(10) == 0
    all_read = len(keys) * (len(bad) + len(good))
    wait_for(lambda: worker.metric("clickstream_events_processed_total") == all_read, "processed", worker)
    rows = [bad_row(m.value(), m.headers()) for m in read_all(bootstrap, names.dead_letters)]
    for partition, key in enumerate(keys):
        of_it = [row for row in rows if row.origin.partition == partition]
        assert [row.original for row in of_it] == [value or b"" for value in bad]
        assert [row.origin.offset for row in of_it] == list(range(len(bad)))
        assert {(row.stage, row.origin.topic, row.origin.key or None) for row in of_it} == {
            ("enrich", names.raw_clicks, key)
        }
    assert count(bootstrap, names.enriched_clicks) == len(keys) * len(good)
    assert worker.metric("clickstream_dead_letters_total", stage="enrich") == len(rows) == len(keys) * len(bad)
    wait_for(lambda: worker.metric("clickstream_consumer_lag_records") == 0, "no lag", worker)
    assert (worker.popen.poll(), worker.get("/readyz")[0]) == (None, 200)


def test_state_survives_an_orderly_restart(pipeline: Pipeline, worker: Process) -> None:
    bootstrap, names = pipeline.kafka.bootstrap_servers, pipeline.names
    sent = clicks(2_000, seed=14, users=20, hours=1)
    half = threading.Thread(target=feed, args=(bootstrap, names.raw_clicks, sent[:1_000]))
    half.start()
    half.join()
    wait_for(lambda: worker.metric("clickstream_events_processed_total") == 1_000, "the first half", worker)
    assert worker.stop() == 0
    worker.start()
    feed(bootstrap, names.raw_clicks, sent)  # the first half once more: every one of it is a duplicate now
    wait_for(lambda: worker.metric("clickstream_events_processed_total") == 2_000, "both halves", worker)
    assert count(bootstrap, names.enriched_clicks) >= len({c.event_id for c in sent})
    assert worker.metric("clickstream_events_duplicate_total") > 0
