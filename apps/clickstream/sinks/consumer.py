"""A sink's consumer in its group: the partitions assigned to it, what was fetched from them, what is committed.

A batch may outlive its partitions. A partition that is revoked while its records wait for the store is released at
once: its records are dropped here, unwritten or not, and never committed by this consumer, since its next owner begins
at the committed offset and every write is idempotent. The strategy is cooperative-sticky, so that a scale-out stops
only the partitions that move; it also spreads both topics' partitions over more replicas than one topic has.

Missing offsets are never skipped silently: librdkafka is configured to report them instead of choosing another offset
by itself. What is lost is counted and logged, and a replaced log is read from its beginning.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_STORED, Consumer, KafkaError, KafkaException, TopicPartition

from clickstream.contracts.pipeline import Kafka
from clickstream.runtime.kafka import CLIENT_LOGGER, client_config, polled
from clickstream.runtime.topic_ids import TopicIds
from clickstream.sinks.commits import Commits
from clickstream.sinks.continuity import Continuity, Mark, Step, fingerprint_of
from clickstream.sinks.lag import Lag
from clickstream.sinks.liveness import Watch
from clickstream.sinks.records import PartitionId

log = logging.getLogger(__name__)

_FETCH_RECORDS: Final = 500
_WORTH_A_WARNING: Final = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL})  # noqa: SLF001
_BROKEN: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION})  # noqa: SLF001


class SinkConsumer:
    """One consumer of the group. Not thread-safe but for `lag` and `joined`.

    `on_skipped` is called for deleted records (partition, at least so many), `on_revoked` for revoked partitions; both
    within `poll_batch`, `wait` and `close`.
    """

    def __init__(self, kafka: Kafka, group: str, topics: Iterable[str], client_id: str) -> None:
        names = list(topics)
        self.lag = Lag()
        self.joined = False
        self.on_skipped: Callable[[PartitionId, int], None] = lambda *_: None
        self.on_revoked: Callable[[set[PartitionId]], None] = lambda _: None
        self._held = False
        self._owned: dict[PartitionId, Continuity] = {}
        self._gathered: list[Any] = []
        self._lost: set[PartitionId] = set()
        self._broken: dict[PartitionId, bool] = {}
        self._read_under: dict[PartitionId, str] = {}
        self._told: set[tuple[PartitionId, str]] = set()
        self._topics = names
        config = client_config(kafka, client_id)
        self._topic_ids = TopicIds(config, names)
        self._config = polled(config) | {
            "group.id": group,
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": 12_000,
            "heartbeat.interval.ms": 3_000,
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 32_768,
            "error_cb": self._error,
        }
        self._join()

    def _join(self) -> None:
        self._consumer = Consumer(self._config)
        self._commits = Commits(self._consumer, self._topic_ids)
        self._watch = Watch(self._consumer, self.lag)
        self._consumer.subscribe(self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def poll_batch(self, records: int, size: int, seconds: float) -> list[Any]:
        """Messages of assigned partitions: until there are `records`, `size` bytes, or `seconds` have passed."""
        self._lost.clear()
        deadline = time.monotonic() + seconds
        total = sum(len(message) for message in self._gathered)
        while len(self._gathered) < records and total < size:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self._receive(self._consumer.consume(min(_FETCH_RECORDS, records - len(self._gathered)), left))
            total = sum(len(message) for message in self._gathered)
        found, self._gathered = self._gathered, []
        self._lost.clear()
        self._look_after()
        return found

    def lost(self, partition: PartitionId) -> bool:
        """Whether the partition was revoked since `poll_batch` returned; perhaps it is assigned again."""
        return partition in self._lost

    def wait(self, seconds: float, stop: Callable[[], bool]) -> None:
        """Remain a member of the group for that long without fetching, or until `stop`. `resume` ends it."""
        if not self._held:
            self._held = True
            self._consumer.pause(_topic_partitions(self._owned))
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not stop():
            message = self._consumer.poll(min(left, 0.2))
            if message is not None:
                self._receive([message])  # was in flight when the partition was paused
            self._look_after()

    def resume(self) -> None:
        if self._held:
            self._held = False
            self._consumer.resume(_topic_partitions(self._owned))

    def commit(self, marks: Mapping[PartitionId, Mark]) -> None:
        """Commit the position of each partition that is still assigned; a failure is retried at the next commit."""
        self._commits.write({partition: mark for partition, mark in marks.items() if partition not in self._lost})

    def close(self) -> None:
        """Leave the group, so that the partitions are reassigned at once."""
        self._consumer.close()

    def _receive(self, messages: Iterable[Any]) -> None:
        """Add the records that follow on what was read; handle everything else that the client reports."""
        again: set[PartitionId] = set()
        for message in messages:
            partition = (message.topic(), message.partition())
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    self._watch.came_to_end(partition, message.offset())
                else:
                    self._failed(partition, error)
                continue
            if partition not in self._owned or partition in again:
                continue
            self._watch.moved(partition)
            step = self._owned[partition].judge(message.offset(), lambda: fingerprint_of(message))  # noqa: B023 - called at once
            if step is Step.TAKE:
                self._gathered.append(message)
            elif step is Step.START_AGAIN:
                again.add(partition)
                self._start_again(
                    partition, f"the record at offset {message.offset()} is not the one that was read there"
                )

    def _failed(self, partition: PartitionId, error: Any) -> None:
        if error.fatal():
            raise KafkaException(error)
        if error.code() in _BROKEN and partition in self._owned:
            self._broken[partition] = error.code() == KafkaError._LOG_TRUNCATION  # noqa: SLF001
        else:
            log.warning("kafka: %s", error)

    def _look_after(self) -> None:
        """Repair broken partitions, check the topics' ids, refresh the lag."""
        for partition, truncated in list(self._broken.items()):
            self._mend(partition, truncated=truncated)
        if changed := self._topic_ids.changed():
            self._join_again(changed)
        self._watch.look({partition: each.next for partition, each in self._owned.items()}, held=self._held)

    def _join_again(self, changed: dict[str, str]) -> None:
        """Read recreated topics, with a consumer that has never known the old ones.

        librdkafka takes metadata of the new topic for outdated when the old one's leaders had changed more often
        (confluentinc/librdkafka#4898), and would never fetch from it.
        """
        for partition in self._owned:
            if partition[0] in changed:
                self._tell_anew(partition, changed[partition[0]])
        self._consumer.close()
        self._join()

    def _mend(self, partition: PartitionId, *, truncated: bool) -> None:
        if partition not in self._owned:
            del self._broken[partition]
            return
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=2.0)
        except KafkaException as error:
            log.warning("%s-%d cannot be read, and is retried: %s", *partition, error.args[0].str())
            return
        del self._broken[partition]
        found = self._owned[partition].broken(low, high)
        if found.another or (truncated and not found.skipped):
            self._tell_another(
                partition, found.what if found.another else "it was truncated", self._topic_ids.of(partition[0])
            )
            self._read_from(partition, low)
            return
        if found.skipped:
            log.error(
                "%s-%d: %s before they could be read, and %d records are lost: the retention is shorter than the lag",
                *partition,
                found.what,
                found.skipped,
            )
            self.on_skipped(partition, found.skipped)
        self._read_from(partition, found.offset)

    def _start_again(self, partition: PartitionId, why: str) -> None:
        """Start at the beginning of a replaced log; how many records of the old one were not read is unknown."""
        self._tell_another(partition, why, self._topic_ids.of(partition[0]))
        self._broken.pop(partition, None)
        try:
            low, _ = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=2.0)
        except KafkaException:
            low = OFFSET_BEGINNING
        self._read_from(partition, low)

    def _tell_anew(self, partition: PartitionId, former: str) -> None:
        """Log that the topic no longer has the `former` id, unless offsets and records have shown it already."""
        if (partition, former) not in self._told:
            self._tell_another(partition, "it was created anew", former)

    def _tell_another(self, partition: PartitionId, why: str, topic: str) -> None:
        self._told.add((partition, topic))
        log.error(
            "%s-%d: the topic is another one than before (%s): what it has is read from its beginning, and stored where"
            " the store does not have it; what the old one had beyond what was read is lost",
            *partition,
            why,
        )
        self.on_skipped(partition, 1)

    def _read_from(self, partition: PartitionId, offset: int) -> None:
        """Continue at another offset. What was gathered before stays: it is still to be stored."""
        # Seeking fails for a partition that stopped with an error; assigning it again works.
        self._commits.forget(partition)
        self._consumer.incremental_unassign([TopicPartition(*partition)])
        self._consumer.incremental_assign([TopicPartition(*partition, offset)])
        (self._consumer.pause if self._held else self._consumer.resume)([TopicPartition(*partition)])
        self._owned[partition] = Continuity(Mark(offset) if offset >= 0 else None)
        self._watch.begin(partition, offset if offset >= 0 else None)

    def _error(self, error: Any) -> None:
        # In the client's own name, so that it is not logged twenty times a second while no broker answers
        # (runtime/logs.py).
        level = logging.WARNING if error.code() in _WORTH_A_WARNING else logging.INFO
        logging.getLogger(CLIENT_LOGGER).log(level, "%s", error.str())

    def _assigned(self, consumer: Any, topic_partitions: list[Any]) -> None:
        marks = self._marks(topic_partitions)
        for topic_partition in topic_partitions:
            partition = _id_of(topic_partition)
            continuity = Continuity(None if marks is None else marks.get(partition))
            beginning = OFFSET_STORED if marks is None else OFFSET_BEGINNING
            topic_partition.offset = beginning if continuity.start is None else continuity.start
            self._owned[partition] = continuity
        consumer.incremental_assign(topic_partitions)
        if topic_partitions:
            # Set either way: librdkafka remembers a pause of a partition that was revoked and is assigned again.
            (consumer.pause if self._held else consumer.resume)(topic_partitions)
        for partition in map(_id_of, topic_partitions):
            self._watch.begin(partition, self._owned[partition].next)
            self.on_skipped(partition, 0)  # a rate over a series that appears with its first error misses that error
        self.joined = True
        log.info("assigned %s; %d partitions are assigned in all", _listed(topic_partitions), len(self._owned))

    def _marks(self, topic_partitions: list[Any]) -> dict[PartitionId, Mark] | None:
        """The group's committed marks, as far as they are usable; None when temporarily unreadable."""
        if not topic_partitions:
            return {}
        self._topic_ids.learn()
        found = self._commits.read(topic_partitions)
        if found is None:
            return None
        for partition in map(_id_of, topic_partitions):
            topic = found[partition].topic if partition in found else ""
            # Kafka deletes committed offsets with a topic: then only this process may know of the old one.
            former = topic or self._read_under.get(partition, "")
            now = self._topic_ids.of(partition[0])
            if former and now not in {"", former}:
                self._tell_anew(partition, former)
                found.pop(partition, None)
            self._read_under[partition] = now or former
        return found

    def _revoked(self, _: Any, topic_partitions: list[Any]) -> None:
        partitions = set(map(_id_of, topic_partitions))
        self._lost |= partitions
        self._gathered = [
            message for message in self._gathered if (message.topic(), message.partition()) not in partitions
        ]
        for partition in partitions:
            self._owned.pop(partition, None)
            self._broken.pop(partition, None)
            self._commits.forget(partition)
            self._watch.end(partition)
        self.on_revoked(partitions)
        log.info("revoked %s; %d partitions are assigned in all", _listed(topic_partitions), len(self._owned))


def _id_of(topic_partition: TopicPartition) -> PartitionId:
    return topic_partition.topic, topic_partition.partition


def _topic_partitions(partitions: Iterable[PartitionId]) -> list[Any]:
    return [TopicPartition(*partition) for partition in partitions]


def _listed(topic_partitions: Iterable[Any]) -> str:
    return ", ".join(sorted(f"{each.topic}-{each.partition}" for each in topic_partitions)) or "nothing"
