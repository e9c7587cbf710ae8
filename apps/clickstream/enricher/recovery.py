"""Reads the enricher's state back from its changelog, and looks up offsets of the source topic.

The changelog is read with a plain consumer instead of a Faust table, so that Faust's table and this state need not
agree about what was already read (docs/adr/0002). The last record of a partition says from which offset on it must be
read (journal.py); without such a record it is read from its beginning.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from clickstream.contracts.dead_letters import BadRow, Origin
from clickstream.contracts.durations import duration_ms
from clickstream.contracts.kafka_records import header, headers_of
from clickstream.contracts.pipeline import Kafka, Pipeline
from clickstream.enricher.changelog import PARTITION_KEY, Replay
from clickstream.enricher.journal import LOW, Journal
from clickstream.enricher.partitions import BASE, MARK, Owned, Recovered
from clickstream.enricher.sessions import PartitionState
from clickstream.enricher.source import (
    Look,
    Position,
    committed_offsets,
    look_at,
    position_after,
    position_without_state,
)
from clickstream.enrichment.funnels import FunnelBook
from clickstream.runtime.kafka import NO_GROUP, reader_config
from clickstream.runtime.topic_reader import TopicReadError, watermarks

TIMEOUT_SECONDS: Final = 60.0
"""Without any progress for so long, a look-up fails."""
TAIL: Final = 500
"""Records at the end of a changelog partition among which its last partition record is looked for."""
LONG_TAIL: Final = 50_000
"""Records at the end of a changelog partition beside a running enricher: its chunk at hand may have written
thousands."""
REPORTED: Final = 100
"""Foreign records of a changelog partition that are handed on; the others are only counted."""

_PASSING: Final = frozenset(
    {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT, NO_GROUP}  # noqa: SLF001
)
"""Errors from which librdkafka recovers by itself once the brokers are back, or that concern no reader."""


class RecoveryError(Exception):
    """The changelog could not be read to its end."""


class ChangelogPartitionsError(RecoveryError):
    """The changelog has no place for a partition of raw-clicks; the message says what to run."""


@dataclass(slots=True)
class Reading:
    """What was read of one changelog partition."""

    replay: Replay = field(default_factory=Replay)
    bad_rows: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the enricher has come: the topic's own next offset, the stream time (ms; -1: none), the base.

    All output of what lies before is delivered.
    """

    next: int
    stream_time: int
    base: int


class ChangelogReader:
    """Reads partitions of one changelog topic. Methods raise RecoveryError, TopicReadError.

    `timeout` is the number of seconds without any progress after which they do, also for a topic that does not exist.
    """

    def __init__(self, kafka: Kafka, topic: str, timeout: float) -> None:
        self._config = reader_config(kafka, f"{topic}-recovery") | {
            "queued.max.messages.kbytes": 32_768,
            "fetch.wait.max.ms": 50,
        }
        self._topic = topic
        self._timeout = timeout

    def ends(self, partitions: Collection[int]) -> dict[int, int]:
        """The end offset of each partition."""
        if not partitions:
            return {}
        consumer = Consumer(self._config)
        try:
            return {partition: high for partition, (_, high) in self._marks(consumer, partitions).items()}
        finally:
            consumer.close()

    def read(self, partitions: Collection[int], go_on: Callable[[], bool]) -> dict[int, Reading]:
        """The records of each partition that count; incomplete when `go_on` returned False. Blocking."""
        readings = {partition: Reading() for partition in partitions}
        if not partitions:
            return readings
        consumer = Consumer(self._config)
        try:
            marks = self._marks(consumer, partitions)
            starts = self._starts(consumer, marks, go_on)
            for message in self._until_ends(consumer, starts, go_on):
                reading = readings[message.partition()]
                taken = reading.replay.add(message.key(), message.value(), headers_of(message))
                if not taken and len(reading.bad_rows) < REPORTED:
                    reading.bad_rows.append(_bad_row(message))
        finally:
            consumer.close()
        return readings

    def standing(self, partitions: Collection[int]) -> dict[int, Standing]:
        """How far the enricher has come in each partition, by the newest partition record near the changelog's end."""
        consumer = Consumer(self._config)
        try:
            marks = self._marks(consumer, partitions)
            replays = self._tails(consumer, marks, LONG_TAIL, lambda: True)
        finally:
            consumer.close()
        found = {}
        for partition, replay in replays.items():
            state = PartitionState(0, 0, FunnelBook([]))
            replay.restore(state)
            base = _number(header(replay.partition_headers, BASE)) or 0
            found[partition] = Standing(state.applied - base + 1, state.stream_time, base)
        return found

    def _marks(self, consumer: Consumer, partitions: Collection[int]) -> dict[int, tuple[int, int]]:
        """First and end offset of each partition."""
        if partitions:
            _refuse_missing(consumer, self._topic, partitions, self._timeout)
        return watermarks(consumer, self._topic, partitions, self._timeout)

    def _tails(
        self, consumer: Consumer, marks: Mapping[int, tuple[int, int]], length: int, go_on: Callable[[], bool]
    ) -> dict[int, Replay]:
        """The partition records among the last `length` records of each partition."""
        tails = {partition: max(low, high - length) for partition, (low, high) in marks.items()}
        replays = {partition: Replay() for partition in marks}
        for message in self._until_ends(consumer, tails, go_on):
            if message.key() == PARTITION_KEY:
                replays[message.partition()].add(message.key(), message.value(), headers_of(message))
        return replays

    def _starts(
        self, consumer: Consumer, marks: Mapping[int, tuple[int, int]], go_on: Callable[[], bool]
    ) -> dict[int, int]:
        """From where each partition must be read, by the newest partition record near its end."""
        replays = self._tails(consumer, marks, TAIL, go_on)
        starts = {}
        for partition, (low, high) in marks.items():
            start = _number(header(replays[partition].partition_headers, LOW))
            starts[partition] = low if start is None or not low <= start <= high else start
        return starts

    def _until_ends(
        self, consumer: Consumer, starts: Mapping[int, int], go_on: Callable[[], bool]
    ) -> Iterator[Message]:
        missing = set(starts)
        consumer.assign([TopicPartition(self._topic, partition, offset) for partition, offset in starts.items()])
        deadline = time.monotonic() + self._timeout
        while missing and go_on():
            for message in consumer.consume(2_000, timeout=0.05):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    missing.discard(message.partition())
                elif error.retriable() or error.code() in _PASSING:
                    continue
                else:
                    msg = f"changelog {self._topic} cannot be read: {KafkaException(error)}"
                    raise RecoveryError(msg)
                deadline = time.monotonic() + self._timeout
            if missing and time.monotonic() > deadline:
                msg = f"changelog {self._topic}: no progress for {self._timeout:.0f} s at partitions {sorted(missing)}"
                raise RecoveryError(msg)


class Recovery:
    """The state of one pipeline's partitions, read from Kafka."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._names = pipeline.names
        self._changelog = ChangelogReader(pipeline.kafka, self._names.enricher_changelog, TIMEOUT_SECONDS)
        self._funnels = FunnelBook(pipeline.funnels)

    def recover(self, partitions: Collection[int], go_on: Callable[[], bool]) -> dict[int, Recovered]:
        readings = self._changelog.read(partitions, go_on)
        # One after the other: what was read takes as much memory as what is made of it.
        found = {partition: self._restored(readings.pop(partition)) for partition in partitions}
        if not go_on():
            return found
        unknown = [partition for partition, recovered in found.items() if recovered.owned.state.applied < 0]
        topic = self._names.raw_clicks
        committed = committed_offsets(self._pipeline.kafka, self._names.enricher_group, topic, unknown)
        wanted = {
            partition: committed[partition] if partition in committed else owned.state.applied - owned.base
            for partition, recovered in found.items()
            if (owned := recovered.owned)
        }
        looks = look_at(self._pipeline.kafka, topic, wanted, TIMEOUT_SECONDS)
        return {
            partition: self._placed(found[partition], look, committed.get(partition))
            for partition, look in looks.items()
        }

    def changelog_ends(self, partitions: Collection[int]) -> dict[int, int]:
        return self._changelog.ends(partitions)

    def look(self, partition: int, offset: int) -> Look:
        return look_at(self._pipeline.kafka, self._names.raw_clicks, {partition: offset}, TIMEOUT_SECONDS)[partition]

    def _restored(self, reading: Reading) -> Recovered:
        enricher, replay = self._pipeline.enricher, reading.replay
        state = PartitionState(duration_ms(enricher.session_gap), duration_ms(enricher.grace), self._funnels)
        # Nothing made here is garbage: collecting it again and again would double the time.
        gc.disable()
        try:
            replay.restore(state)
        finally:
            gc.enable()
        headers = replay.partition_headers
        owned = Owned(
            state,
            Journal(state, _number(header(headers, LOW))),
            base=_number(header(headers, BASE)) or 0,
            mark=header(headers, MARK),
        )
        return Recovered(owned, Position(0, 0), replay.ignored, reading.bad_rows)

    def _placed(self, found: Recovered, look: Look, committed: int | None) -> Recovered:
        owned = found.owned
        owned.timestamp = look.time
        if committed is None:
            position = position_after(owned.state.applied, owned.base, owned.mark, look)
        else:
            position = position_without_state(committed, look)
        return replace(found, position=position)


def _refuse_missing(consumer: Consumer, topic: str, partitions: Collection[int], timeout: float) -> None:
    """Raises ChangelogPartitionsError, without waiting for partitions that nobody is about to make."""
    try:
        found = consumer.list_topics(topic, timeout=timeout).topics[topic]
    except KafkaException as error:
        msg = f"topic {topic}: {error.args[0].str()}"
        raise TopicReadError(msg) from error
    wanted = max(partitions) + 1
    if found.error is None and len(found.partitions) < wanted:
        msg = (
            f"topic {topic} has {len(found.partitions)} partitions, and must have as many as raw-clicks, which has "
            f"{wanted} at least: somebody has added partitions to raw-clicks. Add them here too, with `kafka-topics.sh "
            f"--alter --topic {topic} --partitions N` or, with Strimzi, spec.partitions of its KafkaTopic"
        )
        raise ChangelogPartitionsError(msg)


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and len(text) < 20 and text.lstrip(b"-").isdigit() else None


def _bad_row(message: Message) -> BadRow:
    origin = Origin(message.topic(), message.partition(), message.offset(), message.key(), tuple(headers_of(message)))
    reason = "no record of the enricher's state"
    return BadRow(
        message.value() or b"", "recover", "foreign_record", reason, "$", message.timestamp()[1], origin=origin
    )
