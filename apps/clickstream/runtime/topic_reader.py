"""Looking up and reading partitions of a topic, with a consumer outside any group."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

_BATCH: Final = 500
_REQUEST_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.2


class TopicReadError(Exception):
    """A topic could not be looked up or read; the message names it, and the partitions that gave no answer."""


@contextmanager
def _kafka_errors(topic: str) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        msg = f"topic {topic} cannot be read: {error.args[0].str()}"
        raise TopicReadError(msg) from error


def watermarks(consumer: Consumer, topic: str, partitions: Iterable[int], timeout: float) -> dict[int, tuple[int, int]]:
    """First and end offset of each partition.

    A partition has no leader for a moment when it was just created, or its broker restarts: asks again for `timeout`
    seconds, then raises TopicReadError.
    """
    deadline = time.monotonic() + timeout
    found: dict[int, tuple[int, int]] = {}
    for number in partitions:
        while number not in found:
            try:
                found[number] = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_REQUEST_SECONDS)
            except KafkaException as error:
                if time.monotonic() > deadline:
                    msg = f"topic {topic}, partition {number}: {error.args[0].str()}"
                    raise TopicReadError(msg) from error
                time.sleep(_RETRY_SECONDS)
    return found


def marks_since(
    consumer: Consumer, topic: str, since_ms: int | None, timeout: float
) -> dict[int, tuple[int, int, int]]:
    """(first offset that is not older than `since_ms`, first, end) of each partition of the topic; None: the first.

    Raises TopicReadError, also when there is no such topic.
    """
    with _kafka_errors(topic):
        found = consumer.list_topics(topic, timeout=timeout).topics[topic]
    if found.error is not None:
        msg = f"topic {topic}: {found.error.str()}"
        raise TopicReadError(msg)
    starts = dict.fromkeys(found.partitions, 0)
    if since_ms is not None:
        asked = [TopicPartition(topic, number, max(0, since_ms)) for number in found.partitions]
        with _kafka_errors(topic):
            answers = consumer.offsets_for_times(asked, timeout=timeout)
        for each in answers:
            if each.error is not None:
                msg = f"topic {topic}, partition {each.partition}: {each.error.str()}"
                raise TopicReadError(msg)
            starts[each.partition] = each.offset
    return {
        number: (high if starts[number] < 0 else max(low, starts[number]), low, high)  # below 0: everything is older
        for number, (low, high) in watermarks(consumer, topic, starts, timeout).items()
    }


def messages(
    consumer: Consumer, topic: str, spans: Mapping[int, tuple[int, int]], silence_seconds: float
) -> Iterator[Any]:
    """Messages of each partition at offsets from a start to before an end; the log may have gaps.

    The consumer has the properties of `reader_config`, and is assigned these partitions. librdkafka's errors are
    ignored, since it retries by itself. Raises TopicReadError.
    """
    left = {number: end for number, (start, end) in spans.items() if start < end}
    with _kafka_errors(topic):
        consumer.assign([TopicPartition(topic, number, spans[number][0]) for number in left])
    deadline = time.monotonic() + silence_seconds
    while left:
        heard = False
        with _kafka_errors(topic):
            batch = consumer.consume(_BATCH, timeout=0.2)
        for message in batch:
            number, error = message.partition(), message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                continue
            heard = True
            if number not in left:
                continue
            offset, end = message.offset(), left[number]
            if error is not None or offset >= end - 1:
                del left[number]
            if error is None and offset < end:
                yield message
        if heard:  # counted from here on: the caller may take its time with the messages
            deadline = time.monotonic() + silence_seconds
        elif left and time.monotonic() > deadline:
            msg = f"topic {topic}: no answer from partitions {sorted(left)} for {silence_seconds:.0f} s"
            raise TopicReadError(msg)
