"""Reading the dead-letters topic from a point in time to its present end, filtered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from confluent_kafka import Consumer, Message

from clickstream.contracts.dead_letters import KEPT_BYTES, BadRow, bad_row
from clickstream.contracts.kafka_records import fingerprint, header, headers_of
from clickstream.contracts.pipeline import Pipeline
from clickstream.runtime.kafka import reader_config
from clickstream.runtime.topic_reader import marks_since, messages

_REQUEST_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: where it lies, when it was written (ms), and what it says.

    `cut`: only its first bytes were kept.
    """

    partition: int
    offset: int
    time_ms: int
    row: BadRow
    cut: bool

    @property
    def id(self) -> str:
        """`partition:offset`, as on the command line."""
        return f"{self.partition}:{self.offset}"

    @property
    def record(self) -> str:
        """Identifies what was refused, wherever it lay: its content, and its topic, key and headers or its source."""
        row, origin = self.row, self.row.origin
        if origin is None:
            return fingerprint(row.source.encode(), row.original)
        headers = (part for name, value in origin.headers for part in (name.encode(), value))
        return fingerprint(origin.topic.encode(), origin.key, row.original, *headers)

    @property
    def refusal(self) -> tuple[str, str, str]:
        """Who refused what, and for which reason."""
        return self.row.stage, self.row.code, self.record


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters: all that match. Empty sets and None match everything; times in ms."""

    stages: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    def matches(self, letter: Letter) -> bool:
        """Whether the letter is one of them."""
        row = letter.row
        topic = "" if row.origin is None else row.origin.topic
        return (
            (not self.stages or row.stage in self.stages)
            and (not self.codes or row.code in self.codes)
            and (not self.sources or row.source in self.sources)
            and (not self.topics or topic in self.topics)
            and (not self.ids or letter.id in self.ids)
            and (self.until_ms is None or letter.time_ms < self.until_ms)
            and (self.since_ms is None or letter.time_ms >= self.since_ms)
        )


@dataclass(slots=True)
class Letters:
    """Iterates over the wanted letters of a pipeline, partition by partition.

    `foreign` counts records that are no dead letters.

    Raises TopicReadError, SettingsError.
    """

    pipeline: Pipeline
    wanted: Wanted
    foreign: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[Letter]:
        topic = self.pipeline.names.dead_letters
        consumer = Consumer(reader_config(self.pipeline.kafka, f"{topic}-reader"))
        try:
            for message in _messages(consumer, topic, self.wanted):
                try:
                    letter = _letter(message)
                except ValueError:
                    self.foreign += 1
                    continue
                if self.wanted.matches(letter):
                    yield letter
        finally:
            consumer.close()


def came_back(pipeline: Pipeline, wanted: Wanted) -> frozenset[tuple[str, str, str]]:
    """The refusals of records that were refused at two places of their topic, so they were sent again in vain.

    Of the same stages, codes, sources and topics as the wanted letters, of whatever time: a letter's predecessor may be
    older than it. A record that a sink read twice at one place was not sent again. Raises TopicReadError,
    SettingsError.
    """
    places: dict[tuple[str, str, str], tuple[int, int]] = {}
    found = set()
    for letter in Letters(pipeline, replace(wanted, ids=frozenset(), since_ms=None, until_ms=None)):
        origin = letter.row.origin
        if origin is not None:
            place = (origin.partition, origin.offset)
            if places.setdefault(letter.refusal, place) != place:
                found.add(letter.refusal)
    return frozenset(found)


def _messages(consumer: Consumer, topic: str, wanted: Wanted) -> Iterator[Message]:
    for number, (start, _, end) in marks_since(consumer, topic, wanted.since_ms, _REQUEST_SECONDS).items():
        yield from messages(consumer, topic, {number: (start, end)}, _SILENCE_SECONDS)


def _letter(message: Any) -> Letter:
    headers = headers_of(message)
    row = bad_row(message.value(), headers)
    cut = header(headers, "original_bytes") is not None or len(row.original) > KEPT_BYTES
    return Letter(message.partition(), message.offset(), message.timestamp()[1], row, cut)
