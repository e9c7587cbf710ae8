"""A sink's membership in its consumer group: which partitions are ours, what was fetched from them, what is committed.

Why it exists: a batch may outlive its partitions. A partition that is taken away while its records wait for the
store is let go at once: its records are dropped here, unwritten or not, and never committed by us, since its next owner
begins at the committed offset and every write is idempotent. The strategy is cooperative-sticky, so that a
scale-out stops only the partitions that move; it also spreads both topics' partitions over more replicas than one topic has.

Offsets that are no longer there are never passed over in silence: librdkafka is told to report them instead of choosing
another offset by itself. What is lost is counted and logged, and a log that is another one is read from its beginning.

Deliberately absent: any knowledge of stores or of what a record means.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_STORED, Consumer, KafkaError, KafkaException, TopicPartition

from clickstream.contracts.kafka import client_config
from clickstream.contracts.pipeline import Kafka
from clickstream.sinks.commits import Commits
from clickstream.sinks.continuity import Continuity, Mark, Step, fingerprint_of
from clickstream.sinks.lag import Lag
from clickstream.sinks.records import Place
from clickstream.sinks.topic_ids import TopicIds
from clickstream.sinks.watch import Watch

log = logging.getLogger(__name__)

_FETCH_RECORDS: Final = 500
_WORTH_A_WARNING: Final = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL})  # noqa: SLF001
_BROKEN: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION})  # noqa: SLF001


class Membership:
    """One consumer of the group. Not thread-safe but for `lag` and `joined`.

    `on_skipped` is told of records that are gone (partition, at least so many), `on_revoked` of partitions that were
    taken away; both are called within `gather`, `wait` and `close`.
    """

    def __init__(self, kafka: Kafka, group: str, topics: Iterable[str], client_id: str) -> None:
        names = list(topics)
        self.lag = Lag()
        self.joined = False
        self.on_skipped: Callable[[Place, int], None] = lambda *_: None
        self.on_revoked: Callable[[set[Place]], None] = lambda _: None
        self._held = False
        self._owned: dict[Place, Continuity] = {}
        self._gathered: list[Any] = []
        self._lost: set[Place] = set()
        self._broken: dict[Place, bool] = {}
        config = client_config(kafka, client_id)
        self._topic_ids = TopicIds(config, names)
        self._consumer = Consumer(
            config
            | {
                "group.id": group,
                "auto.offset.reset": "error",
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
        self._commits = Commits(self._consumer, self._topic_ids)
        self._watch = Watch(self._consumer, self.lag)
        self._consumer.subscribe(names, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def gather(self, records: int, size: int, seconds: float) -> list[Any]:
        """Messages of partitions that are ours: until there are `records`, `size` bytes, or `seconds` have passed."""
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
            if message is not None:
                self._receive([message])  # was on its way when the partition was paused
            self._look_after()

    def resume(self) -> None:
        """Fetch again."""
        if self._held:
            self._held = False
            self._consumer.resume(_topic_partitions(self._owned))

    def commit(self, marks: Mapping[Place, Mark]) -> None:
        """Commit where each partition stands that is still ours; what fails is tried again at the next commit."""
        self._commits.write({place: mark for place, mark in marks.items() if place not in self._lost})

    def close(self) -> None:
        """Leave the group, so that the partitions move on at once."""
        self._consumer.close()

    def _receive(self, messages: Iterable[Any]) -> None:
        """Add the records that follow on what was read; look at everything else that the client reports."""
        again: set[Place] = set()
        for message in messages:
            place = (message.topic(), message.partition())
            error = message.error()
            if error is not None:
                self._failed(place, error)
                continue
            if place not in self._owned or place in again:
                continue
            self._watch.moved(place)
            step = self._owned[place].judge(message.offset(), lambda: fingerprint_of(message))  # noqa: B023 - called at once
            if step is Step.TAKE:
                self._gathered.append(message)
            elif step is Step.START_AGAIN:
                again.add(place)
                self._start_again(place, f"the record at offset {message.offset()} is not the one that was read there")

    def _failed(self, place: Place, error: Any) -> None:
        if error.fatal():
            raise KafkaException(error)
        if error.code() in _BROKEN and place in self._owned:
            self._broken[place] = error.code() == KafkaError._LOG_TRUNCATION  # noqa: SLF001
        else:
            log.warning("kafka: %s", error)

    def _look_after(self) -> None:
        """Mend what is broken, see whether topics are still the same, renew the lag."""
        for place, truncated in list(self._broken.items()):
            self._mend(place, truncated=truncated)
        for topic in self._topic_ids.changed():
            for place in [place for place in self._owned if place[0] == topic]:
                self._start_again(place, "the topic was created anew")
        self._watch.look({place: each.next for place, each in self._owned.items()}, held=self._held)

    def _mend(self, place: Place, *, truncated: bool) -> None:
        if place not in self._owned:
            del self._broken[place]
            return
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=2.0)
        except KafkaException as error:
            log.warning("%s-%d cannot be read for now: %s", *place, error.args[0].str())
            return
        del self._broken[place]
        found = self._owned[place].broken(low, high)
        if truncated and not found.skipped:
            self._start_again(place, "the log was truncated")
            return
        if found.skipped:
            self._tell_skipped(place, found.skipped, found.what)
        self._read_from(place, found.offset)

    def _start_again(self, place: Place, why: str) -> None:
        """Another log: what was accepted into it is all read; how much of the old one was not, nobody knows."""
        self._tell_skipped(place, 1, why)
        self._broken.pop(place, None)
        try:
            low, _ = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=2.0)
        except KafkaException:
            low = OFFSET_BEGINNING
        self._read_from(place, low)

    def _tell_skipped(self, place: Place, count: int, why: str) -> None:
        log.error(
            "%s-%d: %s. At least %d records were lost before they could be read; what the log has now is read from its beginning",
            *place,
            why,
            count,
        )
        self.on_skipped(place, count)

    def _read_from(self, place: Place, offset: int) -> None:
        """Go on at another offset. What was gathered before stays: it is to be stored all the same."""
        # Seeking is refused for a partition that stopped with an error; assigning it anew never is.
        self._commits.forget(place)
        self._consumer.incremental_unassign([TopicPartition(*place)])
        self._consumer.incremental_assign([TopicPartition(*place, offset)])
        (self._consumer.pause if self._held else self._consumer.resume)([TopicPartition(*place)])
        self._owned[place] = Continuity(Mark(offset) if offset >= 0 else None)
        self._watch.begin(place, offset if offset >= 0 else None)

    def _error(self, error: Any) -> None:
        if error.code() in _WORTH_A_WARNING:
            log.warning("kafka: %s", error)
        else:
            log.info("kafka: %s", error)

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        marks = self._marks(partitions)
        for partition in partitions:
            place = (partition.topic, partition.partition)
            continuity = Continuity(None if marks is None else marks.get(place))
            beginning = OFFSET_STORED if marks is None else OFFSET_BEGINNING
            partition.offset = beginning if continuity.start is None else continuity.start
            self._owned[place] = continuity
        consumer.incremental_assign(partitions)
        if partitions:
            # Said either way: librdkafka remembers a pause of a partition that went away and has come back.
            (consumer.pause if self._held else consumer.resume)(partitions)
        for place in ((partition.topic, partition.partition) for partition in partitions):
            self._watch.begin(place, self._owned[place].next)
            self.on_skipped(place, 0)  # a rate over a series that appears with its first error misses that error
        self.joined = True
        log.info("assigned %s; ours are %d", _listed(partitions), len(self._owned))

    def _marks(self, partitions: list[Any]) -> dict[Place, Mark] | None:
        """Where the group stands, as far as that is of use; None when it cannot be learned for now."""
        if not partitions:
            return {}
        self._topic_ids.learn({topic for topic, _ in self._owned})
        found = self._commits.read(partitions)
        if found is None:
            return None
        for place, mark in list(found.items()):
            if mark.topic and self._topic_ids.of(place[0]) not in {"", mark.topic}:
                self._tell_skipped(place, 1, "the topic was created anew")
                del found[place]
        return found

    def _revoked(self, _: Any, partitions: list[Any]) -> None:
        places = {(partition.topic, partition.partition) for partition in partitions}
        self._lost |= places
        self._gathered = [message for message in self._gathered if (message.topic(), message.partition()) not in places]
        for place in places:
            self._owned.pop(place, None)
            self._broken.pop(place, None)
            self._commits.forget(place)
            self._watch.end(place)
        self.on_revoked(places)
        log.info("revoked %s; ours are %d", _listed(partitions), len(self._owned))


def _topic_partitions(places: Iterable[Place]) -> list[Any]:
    return [TopicPartition(*place) for place in places]


def _listed(partitions: Iterable[Any]) -> str:
    return ", ".join(sorted(f"{each.topic}-{each.partition}" for each in partitions)) or "nothing"
