"""The enricher's position in a raw-clicks partition, and what to do when the partition was replaced.

Offsets on the topic begin again when it is recreated, truncated or restored. The state counts *logical* offsets, which
only grow: logical = base + the topic's own offset, and the base moves when those go back. So session versions and the
guard against applying a record twice stay valid, and nothing that is accepted afterwards is taken for old.

A partition went back if it ends before what was applied last, or if the record at that offset is another one (its
`mark`). Everything in it is then read; what was known before is a duplicate, here and in the stores.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from clickstream.contracts.kafka_records import fingerprint, headers_of
from clickstream.contracts.pipeline import Kafka, Pipeline
from clickstream.runtime.kafka import AS_ENRICHED, client_config, reader_config
from clickstream.runtime.topic_reader import TopicReadError, watermarks

_REQUEST_SECONDS: Final = 5.0
_READ_RECORDS: Final = 2_000
_READ_SECONDS: Final = 1.0
_COMMITTED_SECONDS: Final = 30.0
_WAITING_SECONDS: Final = 0.2
_STANDING_SECONDS: Final = 3.0
"""After so long without progress, check whether a partition has anything to read."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a partition holds: its first offset, its end, and the first record at or after the wanted offset.

    `found`, `mark` and `time` are that record's offset, mark and time (ms); None and 0 where there is none.
    """

    low: int
    high: int
    found: int | None = None
    mark: bytes | None = None
    time: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """Where to resume: the topic's own next offset, and the base of logical offsets.

    `skipped` records were deleted before they could be read. `replaced`: the offsets went back.
    """

    next: int
    base: int
    skipped: int = 0
    replaced: bool = False


@dataclass(slots=True)
class _Standing:
    """A partition read next at `position`, since that time: whether it has records there, or up to where none."""

    position: int
    since: float
    records: bool = False
    empty_to: int = -1


class Fetched(NamedTuple):
    """A record as the enricher's framework would give it; times in ms, their type by Kafka's number."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def mark(key: bytes | None, value: bytes | None) -> bytes:
    """A record's fingerprint: without its time, which another cluster would set again."""
    return fingerprint(key, value).encode()


def position_after(applied: int, base: int, known: bytes | None, look: Look) -> Position:
    """Where to resume after the record with the logical offset `applied` (not -1).

    `known` is its mark, if it was noted. `look` was for that record's own offset.
    """
    last = applied - base
    another = look.found == last and known is not None and look.mark != known
    if look.high <= last or another:
        return Position(look.low, applied + 1 - look.low, replaced=True)
    start = max(last + 1, look.low)
    return Position(start, base, skipped=start - last - 1)


def position_without_state(committed: int, look: Look) -> Position:
    """Where to begin without a changelog: at the group's committed offset (below 0: none)."""
    if committed > look.high:
        return Position(look.low, 0, replaced=True)
    start = max(committed, look.low)
    return Position(start, 0, skipped=start - committed if committed >= 0 else 0)


def committed_offsets(kafka: Kafka, group: str, topic: str, partitions: Collection[int]) -> dict[int, int]:
    """A consumer group's committed offsets; below 0: none. Does not join it. Raises TopicReadError."""
    if not partitions:
        return {}
    consumer = Consumer(reader_config(kafka, group))
    try:
        wanted = [TopicPartition(topic, partition) for partition in partitions]
        return {found.partition: found.offset for found in consumer.committed(wanted, timeout=_COMMITTED_SECONDS)}
    except KafkaException as error:
        msg = f"the committed offsets of group {group} are not known: {error.args[0].str()}"
        raise TopicReadError(msg) from error
    finally:
        consumer.close()


def look_at(kafka: Kafka, topic: str, wanted: Mapping[int, int], timeout: float) -> dict[int, Look]:
    """What partitions of `topic` hold; `wanted`: offset by partition number. Blocking.

    Raises TopicReadError after `timeout` seconds without an answer.
    """
    if not wanted:
        return {}
    consumer = Consumer(
        reader_config(kafka, f"{topic}-look") | AS_ENRICHED | {"auto.offset.reset": "latest", "fetch.wait.max.ms": 50}
    )
    deadline = time.monotonic() + timeout
    try:
        looks = {number: Look(*ends) for number, ends in watermarks(consumer, topic, wanted, timeout).items()}
        asked = {n: max(offset, looks[n].low) for n, offset in wanted.items() if offset < looks[n].high}
        consumer.assign([TopicPartition(topic, number, offset) for number, offset in asked.items()])
        while asked and time.monotonic() < deadline:
            message = consumer.poll(_WAITING_SECONDS)
            if message is None:
                continue
            number, error = message.partition(), message.error()
            if number not in asked or (error is not None and error.code() != KafkaError._PARTITION_EOF):  # noqa: SLF001
                continue
            del asked[number]
            if error is None:
                found = mark(message.key(), message.value())
                low, high = looks[number].low, looks[number].high
                looks[number] = Look(low, high, message.offset(), found, message.timestamp()[1])
    finally:
        consumer.close()
    if asked:
        msg = f"topic {topic}: no answer from partitions {sorted(asked)} within {timeout:.0f} s"
        raise TopicReadError(msg)
    return looks


class SourceTopic:
    """Asks the brokers about the source topic without its consumer, which waits for records. Blocking."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._topic = pipeline.names.raw_clicks
        self._kafka = pipeline.kafka
        self._admin = AdminClient(client_config(pipeline.kafka, f"{pipeline.names.enricher_group}-look"))
        self._standing: dict[int, _Standing] = {}

    def id(self) -> str:
        """The id that the brokers gave the topic when it was created. Raises TopicReadError."""
        try:
            asked = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=_REQUEST_SECONDS)
            return str(asked[self._topic].result().topic_id)
        except KafkaException as error:
            msg = f"topic {self._topic}: {error.args[0].str()}"
            raise TopicReadError(msg) from error

    def read(self, wanted: Mapping[int, int]) -> dict[int, list[Fetched]]:
        """Some records of partitions; `wanted`: first offset by partition number.

        For what aiokafka cannot parse; unreadable headers become one named `unreadable`. Raises TopicReadError.
        """
        consumer = Consumer(reader_config(self._kafka, f"{self._topic}-look") | AS_ENRICHED)
        found: dict[int, list[Fetched]] = {}
        try:
            consumer.assign([TopicPartition(self._topic, number, offset) for number, offset in wanted.items()])
            for message in consumer.consume(_READ_RECORDS, timeout=_READ_SECONDS):
                if message.error() is None:
                    found.setdefault(message.partition(), []).append(_as_fetched(message))
        except KafkaException as error:
            msg = f"topic {self._topic}: {error.args[0].str()}"
            raise TopicReadError(msg) from error
        finally:
            consumer.close()
        return found

    def ends(self, positions: Mapping[int, int]) -> dict[int, int]:
        """The end of each partition; `positions`: next offset by partition number. Raises TopicReadError.

        Transaction markers have offsets too, but cannot be read: where only they are left, the position is the end.
        """
        wanted = {TopicPartition(self._topic, partition): OffsetSpec.latest() for partition in positions}
        try:
            answers = self._admin.list_offsets(wanted, request_timeout=_REQUEST_SECONDS) if wanted else {}
            ends = {asked.partition: answer.result().offset for asked, answer in answers.items()}
        except KafkaException as error:
            msg = f"topic {self._topic}: {error.args[0].str()}"
            raise TopicReadError(msg) from error
        standing = self._look_where_it_stands(positions, ends)
        return {n: positions[n] if positions[n] < end <= standing[n].empty_to else end for n, end in ends.items()}

    def _look_where_it_stands(self, positions: Mapping[int, int], ends: Mapping[int, int]) -> dict[int, _Standing]:
        now, before = time.monotonic(), self._standing
        self._standing = {
            number: before[number]
            if number in before and before[number].position == position
            else _Standing(position, now)
            for number, position in positions.items()
        }
        asked = {
            number: each.position
            for number, each in self._standing.items()
            if now - each.since > _STANDING_SECONDS
            and not each.records
            and max(each.position, each.empty_to) < ends[number]
        }
        for number, look in look_at(self._kafka, self._topic, asked, _COMMITTED_SECONDS).items():
            # Records deleted by retention are reported elsewhere; they are not emptiness.
            if look.found is None and look.low <= asked[number]:
                self._standing[number].empty_to = look.high
            else:
                self._standing[number].records = True
        return self._standing


def _as_fetched(message: Any) -> Fetched:
    kind, at = message.timestamp()
    place = message.topic(), message.partition(), message.offset()
    return Fetched(*place, at, kind, message.key(), message.value(), tuple(headers_of(message)))
