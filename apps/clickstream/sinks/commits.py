"""What a consumer group has committed: read at an assignment, written after each batch."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition

from clickstream.runtime.topic_ids import TopicIds
from clickstream.sinks.continuity import Mark, mark_of
from clickstream.sinks.records import PartitionId

log = logging.getLogger(__name__)

_SECONDS: Final = 10.0


class Commits:
    """Of one consumer. Each mark is committed with the id of its topic."""

    def __init__(self, consumer: Any, topic_ids: TopicIds) -> None:
        self._consumer = consumer
        self._topic_ids = topic_ids
        self._pending: dict[PartitionId, Mark] = {}

    def read(self, topic_partitions: Sequence[Any]) -> dict[PartitionId, Mark] | None:
        """The marks of these partitions, as far as there are any; None when they are temporarily unreadable."""
        try:
            answers = self._consumer.committed(list(topic_partitions), timeout=_SECONDS)
            failed = next((answer.error.str() for answer in answers if answer.error), None)
        except KafkaException as error:
            failed = error.args[0].str()
        if failed is not None:
            log.warning(
                "what was committed cannot be read (%s): whether the topics are still the same is not checked this "
                "time",
                failed,
            )
            return None
        return {
            (answer.topic, answer.partition): mark_of(answer.offset, answer.metadata)
            for answer in answers
            if answer.offset >= 0
        }

    def write(self, marks: Mapping[PartitionId, Mark]) -> None:
        """Commit these, and what failed before.

        A failed commit is only logged: the records are in the store, and storing them again changes nothing.
        """
        self._pending.update(marks)
        if not self._pending:
            return
        wanted = [
            TopicPartition(*partition, mark.offset, mark.metadata(self._topic_ids.of(partition[0])))
            for partition, mark in self._pending.items()
        ]
        try:
            answers = self._consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException as error:
            log.warning("offsets are not committed yet: %s", error.args[0].str())
            return
        failed = {(answer.topic, answer.partition): answer.error for answer in answers if answer.error}
        for partition, reason in failed.items():
            log.warning("offset of %s-%d is not committed yet: %s", *partition, reason)
        self._pending = {partition: mark for partition, mark in self._pending.items() if partition in failed}

    def forget(self, partition: PartitionId) -> None:
        """Drop pending commits of a partition that is assigned to another consumer, or whose log was replaced."""
        self._pending.pop(partition, None)
