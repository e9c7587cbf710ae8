"""A sink's membership in its consumer group: which partitions are ours, what was fetched from them, what is committed.

Why it exists: a batch may outlive its partitions. A partition that is taken away while its records wait for the
store is let go at once: its records are dropped here, unwritten or not, and never committed by us, since its next owner
begins at the committed offset and every write is idempotent. The strategy is cooperative-sticky, so that a
scale-out stops only the partitions that move; it also spreads both topics' partitions over more replicas than one topic has.

Deliberately absent: any knowledge of stores or of what a record means.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from clickstream.contracts.kafka import client_config
from clickstream.contracts.pipeline import Kafka
from clickstream.sinks.lag import Lag
from clickstream.sinks.records import Place

log = logging.getLogger(__name__)

_LAG_EVERY_SECONDS: Final = 0.5
_LAG_QUERY_EVERY_SECONDS: Final = 5.0
_FETCH_RECORDS: Final = 500
_WORTH_A_WARNING: Final = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL})  # noqa: SLF001


class Membership:
    """One consumer of the group. Not thread-safe but for `lag` and `joined`."""

    def __init__(self, kafka: Kafka, group: str, topics: Iterable[str], client_id: str) -> None:
        self.lag = Lag()
        self.joined = False
        self._held = False
        self._owned: set[Place] = set()
        self._fresh: set[Place] = set()
        self._gathered: list[Any] = []
        self._lost: set[Place] = set()
        self._commits: dict[Place, int] = {}
        self._lag_at = self._lag_query_at = 0.0
        self._consumer = Consumer(
            client_config(kafka, client_id)
            | {
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": 12_000,
                "heartbeat.interval.ms": 3_000,
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 32_768,
                "error_cb": self._error,
            },
            logger=logging.getLogger("librdkafka"),
        )
        self._consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def gather(self, records: int, size: int, seconds: float) -> list[Any]:
        """Messages of partitions that are ours: until there are `records`, `size` bytes, or `seconds` have passed."""
        self._lost.clear()
        deadline = time.monotonic() + seconds
        found = self._gathered
        total = sum(len(message) for message in found)
        while len(found) < records and total < size:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            for message in self._consumer.consume(min(_FETCH_RECORDS, records - len(found)), left):
                if self._is_record(message):
                    self._gathered.append(message)
                    total += len(message)
            found = self._gathered  # a revocation replaces the list
        self._gathered = []
        self._lost.clear()
        self._refresh_lag()
        return found

    def lost(self, place: Place) -> bool:
        """Whether the partition was taken away since `gather` returned (it may be ours again, from the committed offset)."""
        return place in self._lost

    def wait(self, seconds: float, stop: Callable[[], bool]) -> None:
        """Stay a member for that long without fetching anything more, or until `stop`. `resume` ends it."""
        if not self._held:
            self._held = True
            self._consumer.pause(_topic_partitions(self._owned))
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not stop():
            message = self._consumer.poll(min(left, 0.2))
            if message is not None and self._is_record(message):
                self._gathered.append(message)  # was on its way when the partition was paused
            self._refresh_lag()

    def resume(self) -> None:
        """Fetch again."""
        if self._held:
            self._held = False
            self._consumer.resume(_topic_partitions(self._owned))

    def commit(self, offsets: dict[Place, int]) -> None:
        """Commit the next offset of each partition that is still ours; what fails is tried again at the next commit.

        A failed commit is only logged: the records are in the store, and storing them again would change nothing.
        """
        self._commits.update({place: offset for place, offset in offsets.items() if place not in self._lost})
        if not self._commits:
            return
        wanted = [TopicPartition(topic, partition, offset) for (topic, partition), offset in self._commits.items()]
        try:
            answers = self._consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException as error:
            log.warning("offsets are not committed yet: %s", error.args[0].str())
            return
        failed = {(answer.topic, answer.partition): answer.error for answer in answers if answer.error}
        for place, reason in failed.items():
            log.warning("offset of %s-%d is not committed yet: %s", *place, reason)
        self._commits = {place: offset for place, offset in self._commits.items() if place in failed}

    def close(self) -> None:
        """Leave the group, so that the partitions move on at once."""
        self._consumer.close()

    def _is_record(self, message: Any) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.fatal():
            raise KafkaException(error)
        log.warning("kafka: %s", error)
        return False

    def _error(self, error: Any) -> None:
        if error.code() in _WORTH_A_WARNING:
            log.warning("kafka: %s", error)
        else:
            log.info("kafka: %s", error)

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        places = {(partition.topic, partition.partition) for partition in partitions}
        consumer.incremental_assign(partitions)
        if partitions:
            # Said either way: librdkafka remembers a pause of a partition that went away and has come back.
            (consumer.pause if self._held else consumer.resume)(partitions)
        self._owned |= places
        self._fresh |= places
        self.joined = True
        log.info("assigned %s; ours are %d", _listed(places), len(self._owned))

    def _revoked(self, _: Any, partitions: list[Any]) -> None:
        places = {(partition.topic, partition.partition) for partition in partitions}
        self._owned -= places
        self._fresh -= places
        self._lost |= places
        self._gathered = [message for message in self._gathered if (message.topic(), message.partition()) not in places]
        for place in places:
            self._commits.pop(place, None)
        self.lag.revoked(places)
        log.info("revoked %s; ours are %d", _listed(places), len(self._owned))

    def _refresh_lag(self) -> None:
        now = time.monotonic()
        if now - self._lag_at < _LAG_EVERY_SECONDS:
            return
        self._lag_at = now
        # The cached end offset comes with each fetch; while nothing is fetched, it has to be asked for.
        ask = self._held and now - self._lag_query_at >= _LAG_QUERY_EVERY_SECONDS
        if ask:
            self._lag_query_at = now
        try:
            self._learn_stored()
            for place in self._owned - self._fresh:
                low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=1.0, cached=not ask)
                if high >= 0:
                    self.lag.seen_end(place, low, high, int(time.time() * 1_000))
        except KafkaException as error:
            log.info("the lag is not known: %s", error.args[0].str())

    def _learn_stored(self) -> None:
        """For partitions that are new to us: where the group stands, or the first record where it stands nowhere."""
        if not self._fresh:
            return
        for answer in self._consumer.committed(_topic_partitions(self._fresh), timeout=2.0):
            place = (answer.topic, answer.partition)
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=1.0)
            now_ms = int(time.time() * 1_000)
            self.lag.assigned(place, answer.offset if answer.offset >= 0 else low, now_ms)
            self.lag.seen_end(place, low, high, now_ms)
            self._fresh.discard(place)


def _topic_partitions(places: Iterable[Place]) -> list[Any]:
    return [TopicPartition(topic, partition) for topic, partition in places]


def _listed(places: Iterable[Place]) -> str:
    return ", ".join(f"{topic}-{partition}" for topic, partition in sorted(places)) or "nothing"
