"""Waits until everything that was accepted has been processed: the consumer groups' lag, as Kafka reports it.

The check must not begin before the stores are at rest, and the processes' own metrics are no proof.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from clickstream.contracts.pipeline import Pipeline
from clickstream.runtime.kafka import client_config, reader_config
from clickstream.runtime.topic_reader import TopicReadError, marks_since

_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.3


class Lag:
    """Reads the lag of a group from Kafka. Raises KafkaException, TopicReadError.

    It asks as a consumer that never joins. An admin client asked for the offsets of a group ends its whole process by a
    segmentation fault when the group's coordinator has moved (librdkafka 2.16), and keeps asking a former coordinator.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._names = pipeline.names
        self._kafka = pipeline.kafka

    def enricher(self) -> int:
        """Records on raw-clicks that the enricher has not finished."""
        return self._records(self._names.enricher_group, [self._names.raw_clicks])

    def sink(self, sink: str) -> int:
        """Records that a sink has not stored."""
        return self._records(self._names.sink_group(sink), [self._names.enriched_clicks, self._names.sessions])

    def _records(self, group: str, topics: Sequence[str]) -> int:
        consumer = Consumer(reader_config(self._kafka, group))
        try:
            marks = {
                (topic, number): (low, high)
                for topic in topics
                for number, (_, low, high) in marks_since(consumer, topic, None, _TIMEOUT_S).items()
            }
            left = 0
            for found in consumer.committed([TopicPartition(*place) for place in marks], timeout=_TIMEOUT_S):
                if found.error is not None:
                    raise KafkaException(found.error)
                low, high = marks[found.topic, found.partition]
                left += high - max(found.offset, low)  # nothing committed is a negative offset
        finally:
            consumer.close()
        return left


def wait_for(what: Callable[[], int], give_up: Callable[[], bool], told: Callable[[int], object]) -> bool:
    """Wait until `what()` is 0 (True) or `give_up()` (False), which may also raise.

    Errors of Kafka are retried.
    """
    while not give_up():
        try:
            left = what()
        except (KafkaException, TopicReadError, TimeoutError):
            left = -1
        told(left)
        if left == 0:
            return True
        time.sleep(_POLL_S)
    return False


def records_on(pipeline: Pipeline, topic: str) -> int:
    """How many records there are on a topic that is not compacted. Raises KafkaException, TopicReadError."""
    consumer = Consumer(client_config(pipeline.kafka, "demo-count") | {"group.id": "demo-count"})
    try:
        return sum(high - low for _, low, high in marks_since(consumer, topic, None, _TIMEOUT_S).values())
    finally:
        consumer.close()
