"""Reading between two offsets, by a stand-in for the client's consumer: what no broker does on demand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError

from clickstream.runtime.topic_reader import TopicReadError, messages


class Message:
    def __init__(self, partition: int, offset: int, error: int | None = None) -> None:
        self._values = partition, offset, None if error is None else KafkaError(error)

    def partition(self) -> int:
        return self._values[0]

    def offset(self) -> int:
        return self._values[1]

    def error(self) -> KafkaError | None:
        return self._values[2]


class Consumer:
    """Gives these batches one after the other, then nothing."""

    def __init__(self, *batches: list[Message]) -> None:
        self._batches = iter(batches)

    def assign(self, places: list[Any]) -> None:
        self.assigned = {place.partition: place.offset for place in places}

    def consume(self, _most: int, timeout: float) -> list[Message]:
        found = next(self._batches, [])
        if not found:
            time.sleep(timeout)
        return found


def read(consumer: Consumer, spans: dict[int, tuple[int, int]], silence: float = 0.5) -> Iterator[tuple[int, int]]:
    return ((each.partition(), each.offset()) for each in messages(consumer, "t", spans, silence))  # type: ignore[arg-type]


def test_what_lies_between_the_offsets_is_read_and_nothing_else():
    end = KafkaError._PARTITION_EOF
    consumer = Consumer(
        [Message(0, 3), Message(1, 9), Message(0, 4), Message(0, 5)],
        [Message(1, 12), Message(2, 7, KafkaError._ALL_BROKERS_DOWN), Message(2, 7), Message(2, 9, end)],
    )
    found = list(read(consumer, {0: (3, 5), 1: (9, 12), 2: (7, 30), 3: (4, 4)}))
    assert consumer.assigned == {0: 3, 1: 9, 2: 7}, "of a partition without records nothing is read"
    assert found == [(0, 3), (1, 9), (0, 4), (2, 7)]


def test_silence_is_an_error_that_names_the_partitions_and_trouble_is_silence():
    consumer = Consumer([Message(0, 0), Message(1, 0, KafkaError._TRANSPORT)])
    with pytest.raises(TopicReadError, match=r"topic t: no answer from partitions \[1\] for 0 s"):
        list(read(consumer, {0: (0, 1), 1: (0, 1)}, 0.1))


def test_who_takes_the_messages_may_take_longer_than_the_brokers_may():
    found = []
    for each in read(Consumer([Message(0, 0)], [Message(0, 1)], [Message(0, 2)]), {0: (0, 3)}, 0.1):
        found.append(each)
        time.sleep(0.15)
    assert found == [(0, 0), (0, 1), (0, 2)]
