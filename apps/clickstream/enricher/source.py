"""Where the enricher stands in a raw-clicks partition, and what to do when the partition is not what it was.

Offsets on the topic begin again when it is created anew, truncated or restored. The state counts *logical* offsets,
which only grow: logical = base + the topic's own offset, and the base moves when those go back. So session versions and
the guard against applying a record twice hold for ever, and nothing that is accepted afterwards is taken for old.

That a partition went back shows when it ends before what was applied last, or when the record at that offset is another
one (its `mark`). Everything in it is then read; what was known before is a duplicate, here and in the stores.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from clickstream.contracts.kafka import client_config, fingerprint, headers_of, reader_config
from clickstream.contracts.pipeline import Kafka, Pipeline

_REQUEST_SECONDS: Final = 5.0
_READ_RECORDS: Final = 2_000
_READ_SECONDS: Final = 1.0
_COMMITTED_SECONDS: Final = 30.0
_WAITING_SECONDS: Final = 0.2


class SourceError(Exception):
    """A topic could not be looked at."""


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
    """Where reading goes on: the topic's own next offset, and the base of logical offsets.

    `skipped` records were deleted before they could be read. `replaced`: the offsets went back.
    """

    next: int
    base: int
    skipped: int = 0
    replaced: bool = False


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
    """What a record is known by: not its time, which another cluster would give it anew."""
    return fingerprint(key, value).encode()


def position_after(applied: int, base: int, known: bytes | None, look: Look) -> Position:
    """Where to go on after the record with the logical offset `applied` (not -1), whose mark is `known` if anybody noted it.

    `look` was for that record's own offset.
    """
    last = applied - base
    another = look.found == last and known is not None and look.mark != known
    if look.high <= last or another:
        return Position(look.low, applied + 1 - look.low, replaced=True)
    start = max(last + 1, look.low)
    return Position(start, base, skipped=start - last - 1)


def position_without_state(committed: int, look: Look) -> Position:
    """Where to begin when the changelog knows nothing: where the group stands (below 0: nowhere)."""
    if committed > look.high:
        return Position(look.low, 0, replaced=True)
    start = max(committed, look.low)
    return Position(start, 0, skipped=start - committed if committed >= 0 else 0)


def committed_offsets(kafka: Kafka, group: str, topic: str, partitions: Collection[int]) -> dict[int, int]:
    """Where a consumer group stands; below 0: nowhere. Does not join it. Raises SourceError."""
    if not partitions:
        return {}
    consumer = Consumer(reader_config(kafka, group))
    try:
        wanted = [TopicPartition(topic, partition) for partition in partitions]
        return {found.partition: found.offset for found in consumer.committed(wanted, timeout=_COMMITTED_SECONDS)}
    except KafkaException as error:
        msg = f"the committed offsets of group {group} are not known: {error.args[0].str()}"
        raise SourceError(msg) from error
    finally:
        consumer.close()


def watermarks(consumer: Consumer, topic: str, partitions: Iterable[int], timeout: float) -> dict[int, tuple[int, int]]:
    """First and end offset of each partition. Asks again for `timeout` seconds, then raises SourceError."""
    deadline = time.monotonic() + timeout
    found: dict[int, tuple[int, int]] = {}
    for number in partitions:
        while number not in found:
            try:
                found[number] = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_REQUEST_SECONDS)
            except KafkaException as error:
                if time.monotonic() > deadline:
                    msg = f"topic {topic}, partition {number}: {error.args[0].str()}"
                    raise SourceError(msg) from error
                time.sleep(_WAITING_SECONDS)
    return found


def look_at(kafka: Kafka, topic: str, wanted: Mapping[int, int], timeout: float) -> dict[int, Look]:
    """What partitions of `topic` hold, `wanted` by number with the offset that is asked for. Blocking.

    Raises SourceError after `timeout` seconds without an answer.
    """
    if not wanted:
        return {}
    consumer = Consumer(
        reader_config(kafka, f"{topic}-look") | {"auto.offset.reset": "latest", "fetch.wait.max.ms": 50}
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
        raise SourceError(msg)
    return looks


class SourceTopic:
    """Asks the brokers about the source topic, not by way of a consumer: that one waits for records. Blocking."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._topic = pipeline.names.raw_clicks
        self._kafka = pipeline.kafka
        self._admin = AdminClient(client_config(pipeline.kafka, f"{pipeline.names.enricher_group}-look"))

    def id(self) -> str:
        """The id that the brokers gave the topic when it was created. Raises SourceError."""
        try:
            asked = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=_REQUEST_SECONDS)
            return str(asked[self._topic].result().topic_id)
        except KafkaException as error:
            msg = f"topic {self._topic}: {error.args[0].str()}"
            raise SourceError(msg) from error

    def read(self, wanted: Mapping[int, int]) -> dict[int, list[Fetched]]:
        """Some records of partitions, `wanted` by number with the offset to begin at.

        For what aiokafka cannot parse; a header that cannot be read is given as such. Raises SourceError.
        """
        consumer = Consumer(reader_config(self._kafka, f"{self._topic}-look"))
        found: dict[int, list[Fetched]] = {}
        try:
            consumer.assign([TopicPartition(self._topic, number, offset) for number, offset in wanted.items()])
            for message in consumer.consume(_READ_RECORDS, timeout=_READ_SECONDS):
                if message.error() is None:
                    found.setdefault(message.partition(), []).append(_as_fetched(message))
        except KafkaException as error:
            msg = f"topic {self._topic}: {error.args[0].str()}"
            raise SourceError(msg) from error
        finally:
            consumer.close()
        return found

    def ends(self, partitions: Collection[int]) -> dict[int, int]:
        """The end offset of each partition. Raises SourceError."""
        wanted = {TopicPartition(self._topic, partition): OffsetSpec.latest() for partition in partitions}
        try:
            answers = self._admin.list_offsets(wanted, request_timeout=_REQUEST_SECONDS) if wanted else {}
            return {asked.partition: answer.result().offset for asked, answer in answers.items()}
        except KafkaException as error:
            msg = f"topic {self._topic}: {error.args[0].str()}"
            raise SourceError(msg) from error


def _as_fetched(message: Any) -> Fetched:
    kind, at = message.timestamp()
    place = message.topic(), message.partition(), message.offset()
    return Fetched(*place, at, kind, message.key(), message.value(), tuple(headers_of(message)))
