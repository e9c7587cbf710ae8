"""What a replay reads from Kafka: raw clicks up to where the enricher has come, and the current sessions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer

from clickstream.contracts.kafka_records import headers_of
from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.session_records import Session, decode_session
from clickstream.enricher.recovery import ChangelogReader, Standing
from clickstream.replay.rewriting import Raw, fingerprint
from clickstream.runtime.kafka import AS_ENRICHED, reader_config
from clickstream.runtime.topic_reader import marks_since, messages

_REQUEST_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 60.0
_BATCH: Final = 2_000


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be read of a raw-clicks partition: offsets from `start` to before `end`, where the enricher has come.

    `nothing_before`: no click was ever in the partition before `start`. `stream_time` is the enricher's at `end` (ms).
    """

    partition: int
    start: int
    end: int
    nothing_before: bool
    stream_time: int


class Reading:
    """The topics of one pipeline. Methods raise TopicReadError, RecoveryError, SettingsError.

    `foreign` counts records on the sessions topic that are no sessions.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._names = pipeline.names
        self._kafka = pipeline.kafka
        self._config = reader_config(pipeline.kafka, f"{pipeline.names.raw_clicks}-replay") | AS_ENRICHED
        self.foreign = 0

    def parts(self, since: int) -> list[Part]:
        """Every partition of raw-clicks, from the first record of `since` (ms) on."""
        topic = self._names.raw_clicks
        consumer = Consumer(self._config)
        try:
            starts = marks_since(consumer, topic, since, _REQUEST_SECONDS)
            standing = ChangelogReader(self._kafka, self._names.enricher_changelog, _SILENCE_SECONDS).standing(starts)
            return [_part(number, marks, standing[number]) for number, marks in sorted(starts.items())]
        finally:
            consumer.close()

    def records(self, partition: int, start: int, end: int) -> Iterator[tuple[Raw, ...]]:
        """The records of a raw-clicks partition at offsets from `start` to before `end`, in pieces."""
        found = self._messages(self._names.raw_clicks, {partition: (start, end)})
        raw = (Raw(message.offset(), message.timestamp()[1], message.value()) for message in found)
        while batch := tuple(islice(raw, _BATCH)):
            yield batch

    def sessions(self, since: int) -> dict[str, int]:
        """The sessions that are current by the records since then (ms), with their fingerprints.

        Foreign records are only counted.
        """
        topic = self._names.sessions
        consumer = Consumer(self._config)
        try:
            marks = marks_since(consumer, topic, since, _REQUEST_SECONDS)
        finally:
            consumer.close()
        spans = {number: (start, high) for number, (start, _, high) in marks.items()}
        found: dict[str, tuple[int, int | None]] = {}
        for message in self._messages(topic, spans):
            try:
                record = decode_session(message.key() or b"", message.value(), headers_of(message))
            except (msgspec.MsgspecError, KeyError, ValueError):
                self.foreign += 1
                continue
            if record.version > found.get(record.id, (-1, None))[0]:
                found[record.id] = record.version, fingerprint(record) if isinstance(record, Session) else None
        return {id_: print_ for id_, (_, print_) in found.items() if print_ is not None}

    def _messages(self, topic: str, spans: dict[int, tuple[int, int]]) -> Iterator[Any]:
        consumer = Consumer(self._config)
        try:
            yield from messages(consumer, topic, spans, _SILENCE_SECONDS)
        finally:
            consumer.close()


def _part(number: int, marks: tuple[int, int, int], standing: Standing) -> Part:
    start, low, high = marks
    nothing_before = start == low == standing.base == 0
    return Part(number, start, min(standing.next, high), nothing_before, standing.stream_time)
