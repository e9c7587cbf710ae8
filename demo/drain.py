"""Waits until everything that was accepted has been processed: the consumer groups' lag, as Kafka reports it.

The check must not begin before the stores are at rest, and the processes' own metrics are no proof.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from clickstream.contracts.pipeline import Pipeline
from clickstream.runtime.kafka import COORDINATOR_SECONDS, client_config
from clickstream.runtime.topic_reader import TopicReadError, marks_since

_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.3


class Lag:
    """Reads the lag of a group from Kafka."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._names = pipeline.names
        self._admin: Any = AdminClient(client_config(pipeline.kafka, "demo-lag"))

    def enricher(self) -> int:
        """Records on raw-clicks that the enricher has not finished."""
        return self._records(self._names.enricher_group, [self._names.raw_clicks])

    def sink(self, sink: str) -> int:
        """Records that a sink has not stored."""
        return self._records(self._names.sink_group(sink), [self._names.enriched_clicks, self._names.sessions])

    def _records(self, group: str, topics: Sequence[str]) -> int:
        metadata = self._admin.list_topics(timeout=_TIMEOUT_S).topics
        places = [TopicPartition(topic, number) for topic in topics for number in metadata[topic].partitions]
        begin, end = (self._offsets(places, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
        request = [ConsumerGroupTopicPartitions(group, places)]
        asked = self._admin.list_consumer_group_offsets(request, request_timeout=COORDINATOR_SECONDS)
        answer = asked[group].result(_TIMEOUT_S)
        committed = {(each.topic, each.partition): each.offset for each in answer.topic_partitions}
        return sum(
            end[place] - max(committed.get(place, -1), begin[place])  # nothing committed is a negative offset
            for place in end
        )

    def _offsets(self, places: list[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
        found = self._admin.list_offsets(dict.fromkeys(places, spec), request_timeout=_TIMEOUT_S)
        return {(place.topic, place.partition): future.result().offset for place, future in found.items()}


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
