"""What a sink stores: a decoded record of the enriched-clicks or the sessions topic, with its partition and offset.

A record that cannot be decoded or stored is data too (`Refused`); it goes to dead-letters like one that the store
rejects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from clickstream.contracts.clicks import EnrichedClick
from clickstream.contracts.dead_letters import BadRow, Origin
from clickstream.contracts.kafka_records import TRACEPARENT, header, headers_of
from clickstream.contracts.names import Names
from clickstream.contracts.replays import Replay, replay_of
from clickstream.contracts.session_records import Retraction, Session, decode_session
from clickstream.sinks.validation import UnfitError, check_click, check_session

PartitionId = tuple[str, int]
"""Topic and partition."""

GROUPING_FIELD: Final = {"user_id": "user_id", "session_id": "client_session_id"}
"""The field of a click that is its grouping key, by the pipeline's `groupBy`. A click's identity within a storage day
is (source, grouping key, event_id): event ids are made by clients independently of each other."""

Headers = Sequence[tuple[str, bytes | None]]


class StoredClick(EnrichedClick, gc=False, omit_defaults=False):
    """The click as a store has it: every field is written, also where it has its default."""


Content = StoredClick | Session | Retraction


@dataclass(frozen=True, slots=True)
class Record:
    """A decoded record. `value`, `key` and `headers` are the Kafka record's own, `time_ms` is its timestamp.

    `replay` is there for a click that replaces what is stored of it.
    """

    content: Content
    partition: PartitionId
    offset: int
    value: bytes
    time_ms: int
    traceparent: str | None = None
    key: bytes | None = None
    headers: Headers = ()
    replay: Replay | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that will never be stored, and why. `reason` never quotes the content; `path` is a JSON path."""

    partition: PartitionId
    offset: int
    value: bytes
    code: str
    reason: str
    path: str
    received_at: int
    key: bytes | None = None
    headers: Headers = ()

    @classmethod
    def by_store(cls, record: Record, code: str, reason: str, path: str = "$") -> Refused:
        """A decoded record that the store rejected permanently."""
        received = getattr(record.content, "received_at", record.time_ms)
        return cls(
            record.partition, record.offset, record.value, code, reason, path, received, record.key, record.headers
        )

    def row(self, stage: str) -> BadRow:
        origin = Origin(*self.partition, self.offset, self.key, tuple(self.headers))
        return BadRow(self.value, stage, self.code, self.reason, self.path, self.received_at, origin=origin)


Decode = Callable[[Any], Record | Refused]

_click_decoder = msgspec.json.Decoder(StoredClick)


def decoder(names: Names, kept: int, *, traced: bool) -> Decode:
    """A function from a confluent_kafka Message to its Record, or to the reason for its rejection.

    `kept`: see `kept_ms`.
    """

    def decode(message: Any) -> Record | Refused:
        origin = Origin(
            message.topic(), message.partition(), message.offset(), message.key(), tuple(headers_of(message))
        )
        time_ms: int = message.timestamp()[1]
        if time_ms < 0:
            time_ms = int(time.time() * 1_000)
        return read_record(names, origin, message.value(), time_ms, kept, traced=traced)

    return decode


def read_record(
    names: Names, origin: Origin, value: bytes | None, time_ms: int, kept: int, *, traced: bool = False
) -> Record | Refused:
    """The record at `origin`, or the reason for its rejection.

    `time_ms` is its Kafka timestamp; `kept`: see `kept_ms`.
    """
    partition, offset, key, headers = (origin.topic, origin.partition), origin.offset, origin.key, origin.headers

    def refused(code: str, reason: str, path: str) -> Refused:
        return Refused(partition, offset, value or b"", code, reason, path, time_ms, key, headers)

    replay = None
    try:
        if origin.topic == names.sessions:
            content: Content = _session(key, value, headers, time_ms)
        else:
            content, replay = _click(value, time_ms, kept), _replay(headers)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        return refused("invalid_record", reason, path.strip("`") or "$")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return refused("malformed_record", "not the JSON of this topic", "$")
    except UnfitError as unfit:
        return refused("invalid_record", unfit.reason, unfit.path)
    parent = header(headers, TRACEPARENT) if traced else None
    traceparent = parent.decode("ascii", "replace") if parent else None
    return Record(content, partition, offset, value or b"", time_ms, traceparent, key, headers, replay)


def _click(value: bytes | None, time_ms: int, kept: int) -> StoredClick:
    if value is None:
        reason = "the record has no value"
        raise UnfitError(reason, "$")
    click = _click_decoder.decode(value)
    check_click(click, time_ms, kept)
    return click


def _replay(headers: Headers) -> Replay | None:
    try:
        return replay_of(headers)
    except ValueError as error:
        raise UnfitError(str(error), "$") from error


def _session(key: bytes | None, value: bytes | None, headers: Headers, time_ms: int) -> Session | Retraction:
    try:
        session = decode_session(key or b"", value, headers)
    except (KeyError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, msgspec.MsgspecError | UnicodeDecodeError):
            raise
        reason = "a tombstone must have the headers version and merged_into"
        raise UnfitError(reason, "$") from error
    check_session(session, time_ms)
    return session


def newest(records: Iterable[Record]) -> tuple[list[Record], int]:
    """(for each session id the record with the highest version, how many others there were).

    Of two records with one version the first counts, as in the stores.
    """
    found: dict[str, Record] = {}
    surplus = 0
    for record in records:
        content = record.content
        assert not isinstance(content, StoredClick)
        other = found.get(content.id)
        if other is not None:
            surplus += 1
            assert not isinstance(other.content, StoredClick)
            if other.content.version >= content.version:
                continue
        found[content.id] = record
    return list(found.values()), surplus
