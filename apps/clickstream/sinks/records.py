"""What a sink stores: a record of the enriched-clicks or the sessions topic, decoded, with the place that it came from.

A record that cannot be decoded is data too (`Refused`); it goes to dead-letters like one that the store refuses.
Checked here is only what would hurt beyond the one record: an id or a day that becomes part of an index name, of a
partition or of a whole bulk request.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import msgspec

from clickstream.contracts.clicks import EnrichedClick
from clickstream.contracts.dead_letters import BadRow, Origin
from clickstream.contracts.kafka import TRACEPARENT, header
from clickstream.contracts.names import UNDATED, Names
from clickstream.contracts.session_records import Retraction, Session, decode_session, storage_day_of

Place = tuple[str, int]
"""Topic and partition."""

Headers = Sequence[tuple[str, bytes | None]]

MAX_EVENT_ID: Final = 64
MAX_SESSION_ID: Final = 256
"""Characters; 512 bytes is Elasticsearch's limit for an id, and a longer one fails the whole bulk request."""


class StoredClick(EnrichedClick, frozen=True, gc=False, omit_defaults=False):
    """The click as a store has it: every field is written, also where it has its default."""


Content = StoredClick | Session | Retraction


@dataclass(frozen=True, slots=True)
class Record:
    """A decoded record. `value`, `key` and `headers` are the Kafka record's own, `time_ms` is its timestamp."""

    content: Content
    place: Place
    offset: int
    value: bytes
    time_ms: int
    traceparent: str | None = None
    key: bytes | None = None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that will never be stored, and why. `reason` never quotes the content; `path` is a JSON path."""

    place: Place
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
        """A decoded record that the store refused for good."""
        received = getattr(record.content, "received_at", record.time_ms)
        return cls(record.place, record.offset, record.value, code, reason, path, received, record.key, record.headers)

    def row(self, stage: str) -> BadRow:
        """What goes to dead-letters."""
        origin = Origin(*self.place, self.offset, self.key, tuple(self.headers))
        return BadRow(self.value, stage, self.code, self.reason, self.path, self.received_at, origin=origin)


Decode = Callable[[Any], Record | Refused]

_click_decoder = msgspec.json.Decoder(StoredClick)
_days: dict[str, bool] = {}
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def decoder(names: Names, *, traced: bool) -> Decode:
    """A function from a confluent_kafka Message to its Record, or to the reason why it is none."""
    sessions = names.sessions

    def decode(message: Any) -> Record | Refused:
        place, offset = (message.topic(), message.partition()), message.offset()
        key, headers = message.key(), message.headers() or ()
        value: bytes | None = message.value()
        time_ms: int = message.timestamp()[1]
        if time_ms < 0:
            time_ms = int(time.time() * 1_000)

        def refused(code: str, reason: str, path: str) -> Refused:
            return Refused(place, offset, value or b"", code, reason, path, time_ms, key, headers)

        try:
            content = _session(message, value) if place[0] == sessions else _click(value)
        except msgspec.ValidationError as error:
            reason, _, path = str(error).partition(" - at ")
            return refused("invalid_record", reason, path.strip("`") or "$")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return refused("malformed_record", "not the JSON of this topic", "$")
        except _UnfitError as unfit:
            return refused("invalid_record", unfit.reason, unfit.path)
        parent = header(headers, TRACEPARENT) if traced else None
        traceparent = parent.decode("ascii", "replace") if parent else None
        return Record(content, place, offset, value or b"", time_ms, traceparent, key, headers)

    return decode


class _UnfitError(Exception):
    def __init__(self, reason: str, path: str) -> None:
        super().__init__(reason)
        self.reason, self.path = reason, path


def _click(value: bytes | None) -> StoredClick:
    if value is None:
        reason = "the record has no value"
        raise _UnfitError(reason, "$")
    click = _click_decoder.decode(value)
    if not 1 <= len(click.event_id) <= MAX_EVENT_ID:
        reason = f"must have 1 to {MAX_EVENT_ID} characters"
        raise _UnfitError(reason, "$.event_id")
    if not is_storage_day(click.storage_day):
        reason = f"must be YYYY-MM-DD or {UNDATED}"
        raise _UnfitError(reason, "$.storage_day")
    return click


def _session(message: Any, value: bytes | None) -> Session | Retraction:
    try:
        session = decode_session(message.key() or b"", value, message.headers())
    except (KeyError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, msgspec.MsgspecError | UnicodeDecodeError):
            raise
        reason = "a tombstone must have the headers version and merged_into"
        raise _UnfitError(reason, "$") from error
    if not 1 <= len(session.id) <= MAX_SESSION_ID or len(session.id.encode()) > 512:
        reason = f"must have 1 to {MAX_SESSION_ID} characters"
        raise _UnfitError(reason, "$.id")
    if not is_storage_day(storage_day_of(session.id)):
        reason = f"must start with a storage day (YYYY-MM-DD or {UNDATED})"
        raise _UnfitError(reason, "$.id")
    if not 0 <= session.version < 2**63:
        reason = "must be an offset"
        raise _UnfitError(reason, "$.version")
    return session


def is_storage_day(text: str) -> bool:
    """Whether it is `undated` or a day of the calendar."""
    known = _days.get(text)
    if known is None:
        if len(_days) > 10_000:
            _days.clear()
        known = _days[text] = text == UNDATED or _is_date(text)
    return known


def _is_date(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


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
