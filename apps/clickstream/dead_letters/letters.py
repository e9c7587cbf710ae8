"""Reading the dead-letters topic: from a point in time to its present end, and what of it somebody asks for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from clickstream.contracts.dead_letters import KEPT_BYTES, BadRow, bad_row
from clickstream.contracts.kafka import header, headers_of, reader_config
from clickstream.contracts.pipeline import Pipeline

_REQUEST_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 30.0


class LettersError(Exception):
    """The topic could not be read to its end; the message says why."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: where it lies, when it was written (ms), and what it says. `cut`: only its first bytes were kept."""

    partition: int
    offset: int
    time_ms: int
    row: BadRow
    cut: bool

    @property
    def id(self) -> str:
        """`partition:offset`, by which people name it."""
        return f"{self.partition}:{self.offset}"


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
    """Iterates over the wanted letters of a pipeline, partition by partition. `foreign` counts records that are none.

    Raises LettersError, SettingsError.
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
        except KafkaException as error:
            msg = f"topic {topic} cannot be read: {error.args[0].str()}"
            raise LettersError(msg) from error
        finally:
            consumer.close()


def _messages(consumer: Consumer, topic: str, wanted: Wanted) -> Iterator[Message]:
    partitions = consumer.list_topics(topic, timeout=_REQUEST_SECONDS).topics[topic].partitions
    starts = dict.fromkeys(partitions, 0)
    if wanted.since_ms is not None:
        asked = [TopicPartition(topic, number, wanted.since_ms) for number in partitions]
        starts = {each.partition: each.offset for each in consumer.offsets_for_times(asked, timeout=_REQUEST_SECONDS)}
    for number, start in starts.items():
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_REQUEST_SECONDS)
        begin = high if start < 0 else max(low, start)  # below 0: everything is older
        if begin < high:
            consumer.assign([TopicPartition(topic, number, begin)])
            yield from _until(consumer, high)


def _until(consumer: Consumer, end: int) -> Iterator[Message]:
    deadline = time.monotonic() + _SILENCE_SECONDS
    while True:
        for message in consumer.consume(500, timeout=0.2):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    return
                continue
            if message.offset() >= end:
                return
            deadline = time.monotonic() + _SILENCE_SECONDS
            yield message
        if time.monotonic() > deadline:
            msg = f"no answer from the brokers for {_SILENCE_SECONDS:.0f} s"
            raise LettersError(msg)


def _letter(message: Any) -> Letter:
    headers = headers_of(message)
    row = bad_row(message.value(), headers)
    cut = header(headers, "original_bytes") is not None or len(row.original) > KEPT_BYTES
    return Letter(message.partition(), message.offset(), message.timestamp()[1], row, cut)
