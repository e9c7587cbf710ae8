"""What becomes of each record where librdkafka itself says no, or nobody answers: the real client, without brokers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine

import pytest

from clickstream.tracking_api.availability import Admission, Availability, TopicPartition, partition_of
from clickstream.tracking_api.producer import Outcome, RecordProducer
from clickstream.tracking_api.records import Record

TIMEOUT_MS = 400
CLICKS, OTHERS = "clicks", "others"


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL)


def click(value: bytes = b"{}", key: bytes = b"u", topic: str = CLICKS) -> Record:
    return Record(topic, key, value, [])


def with_producer(
    story: Callable[[RecordProducer, Admission], Coroutine[object, object, None]], **config: object
) -> None:
    async def run() -> None:
        admission = Admission(Availability(time.monotonic))
        settings = {"bootstrap.servers": "127.0.0.1:9", "reconnect.backoff.ms": 5_000, "message.timeout.ms": TIMEOUT_MS}
        more = {name.replace("_", "."): value for name, value in config.items()}
        producer = RecordProducer(settings | {"message.max.bytes": 10_000} | more, admission)
        try:
            await story(producer, admission)
        finally:
            await asyncio.to_thread(producer.close, 5.0)

    asyncio.run(run())


def test_a_record_that_is_too_large_is_refused_at_once_and_the_others_are_tried():
    async def story(producer, admission):
        assert await producer.send([click(b"x" * 20_000)]) == [Outcome.REJECTED]
        assert admission.all_available
        outcomes = await producer.send([click(), click(b"x" * 20_000), click()])
        assert outcomes == [Outcome.UNAVAILABLE, Outcome.REJECTED, Outcome.UNAVAILABLE]

    with_producer(story)


def test_a_probe_that_is_too_large_for_kafka_leaves_the_way_free_for_the_next():
    async def story(producer, admission):
        await producer.send([click()])
        assert not admission.all_available
        assert await producer.send([click(b"x" * 20_000)]) == [Outcome.REJECTED]
        assert admission.admit([click()]), "the probe of nothing is none"

    with_producer(story)


def test_a_probe_that_finds_the_queue_full_leaves_the_way_free_for_the_next():
    async def story(producer, admission):
        await producer.send([click()])
        assert not admission.all_available
        other = asyncio.create_task(producer.send([click(topic=OTHERS)] * 2))
        await asyncio.sleep(0)
        started = time.monotonic()
        assert await producer.send([click()]) == [Outcome.UNAVAILABLE]
        assert time.monotonic() - started < TIMEOUT_MS / 1_000, "nothing was sent that could be waited for"
        assert admission.admit([click()])
        await other

    with_producer(story, queue_buffering_max_messages=2)


def test_of_a_request_that_does_not_fit_into_the_queue_every_record_has_its_outcome():
    async def story(producer, _):
        assert await producer.send([click()] * 50) == [Outcome.UNAVAILABLE] * 50

    with_producer(story, queue_buffering_max_messages=10)


def test_a_client_that_hangs_up_while_its_request_is_the_probe_leaves_the_way_free_for_the_next():
    async def story(producer, admission):
        await producer.send([click()])
        probe = asyncio.create_task(producer.send([click()]))
        await asyncio.sleep(0)
        assert admission.admit([click()]) == []
        probe.cancel()
        deadline = time.monotonic() + 10
        while not admission.admit([click()]):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert time.monotonic() - deadline + 10 < 5, "long before a probe counts as lost"

    with_producer(story)


def test_only_the_partition_that_failed_is_failing():
    async def story(producer, admission):
        admission.partitions[CLICKS] = 12
        admission.failed(TopicPartition(CLICKS, partition_of(b"u", 12)), "timed out", probe=False)
        neighbour = next(key for key in (b"a", b"b", b"c") if partition_of(key, 12) != partition_of(b"u", 12))
        asked = admission.admit([click(), click(key=neighbour)])
        assert [entry.number for entry in asked] == [0, 1]
        started = time.monotonic()
        assert await producer.send([click()]) == [Outcome.UNAVAILABLE]
        assert time.monotonic() - started < TIMEOUT_MS / 1_000, "refused at once while the probe is under way"
        assert [entry.number for entry in admission.admit([click(), click(key=neighbour)])] == [1]

    with_producer(story)
