"""A batch taken apart into its events, each with its own bytes, so that a bad one can be named and stored unchanged.

A batch has `events` and `sent_at`, each at most once, and nothing else. Of a list that is given twice one would vanish;
and a copy of one batch field in each of 500 events would let a small request grow out of its limits. Further fields
belong to events, where they are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from clickstream.tracking_api import limits, rejections
from clickstream.tracking_api.rejections import Rejection, RejectionError
from clickstream.tracking_api.validation.fields import optional_time
from clickstream.tracking_api.validation.json_text import (
    parse_json,
    rejection_of,
    repaired,
    without_bom,
    without_surrogates,
)

_ABSENT: Final = msgspec.Raw(b"")


class _Members(msgspec.Struct):
    events: msgspec.Raw = _ABSENT
    sent_at: msgspec.Raw = _ABSENT


class _OnlyMembers(_Members, forbid_unknown_fields=True):
    pass


# An array of at most so many values: decoding ends at the first one too many, which may be the first of a million.
_Events: Final = msgspec.defstruct(
    "_Events",
    [(f"event_{number}", msgspec.Raw, _ABSENT) for number in range(limits.BATCH_EVENTS)],
    array_like=True,
    forbid_unknown_fields=True,
)


class _Told(msgspec.Struct):
    events: msgspec.Raw = _ABSENT
    event_id: msgspec.Raw = _ABSENT


_told: Final = msgspec.json.Decoder(_Told)
_any: Final = msgspec.json.Decoder(msgspec.Raw)
_members: Final = msgspec.json.Decoder(_Members)
_only_members: Final = msgspec.json.Decoder(_OnlyMembers)
_events: Final = msgspec.json.Decoder(_Events)

_SPACE: Final = b" \t\r\n"
_BETWEEN: Final = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
_FIRST_EVENT: Final = re.compile(
    rb'[ \t\r\n]*\{[ \t\r\n]*(?:"sent_at"[ \t\r\n]*:[ \t\r\n]*(?:null|"(?:[^"\\]|\\.)*+")[ \t\r\n]*,[ \t\r\n]*)?'
    rb'"events"[ \t\r\n]*:[ \t\r\n]*\[[ \t\r\n]*',
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of a batch, each the bytes that the client sent; `sent_at` in ms."""

    events: list[bytes]
    sent_at: int | None


def parse_batch(text: bytes) -> Batch | Rejection:
    """The batch in a JSON text. Its events are well-formed JSON, apart from encoding and numbers; not yet validated."""
    text = without_bom(text)
    plain = without_surrogates(text)
    members = _read_members(plain)
    if isinstance(members, Rejection):
        return _not_utf8(text) or members
    try:
        events = [
            bytes(event) for event in msgspec.structs.astuple(_events.decode(members.events)) if event is not _ABSENT
        ]
        sent_at = time_of(bytes(members.sent_at), "sent_at")
    except msgspec.ValidationError:
        return rejections.TOO_MANY_EVENTS
    except RejectionError as error:
        return error.rejection
    if not events:
        return rejections.EMPTY_BATCH
    return Batch(events if plain is text else _originals(text, plain, events), sent_at)


def is_for_batches(text: bytes) -> bool:
    """Whether of the two endpoints only that of batches could take a text: it has events, and no event_id."""
    try:
        found = _told.decode(without_surrogates(without_bom(text)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return found.events is not _ABSENT and found.event_id is _ABSENT


def _read_members(text: bytes) -> _Members | Rejection:
    """The values of the members, of which `events` is an array."""
    try:
        members = _members.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _not_an_object(text, error)
    if members.events is _ABSENT:
        return rejections.BATCH_WITHOUT_EVENTS
    if not bytes(members.events).startswith(b"["):
        return rejections.EVENTS_NOT_AN_ARRAY
    return members if _nothing_else(text, members) else _repeated_or_unknown(text)


def _not_an_object(text: bytes, error: msgspec.DecodeError | UnicodeDecodeError | RecursionError) -> Rejection:
    """Why a text is no object: a parser that expects one stops at its first byte, whatever follows."""
    if not isinstance(error, msgspec.ValidationError):
        return rejection_of(error)
    try:
        _any.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        return rejection_of(malformed)
    return rejections.BATCH_NOT_AN_OBJECT


def _not_utf8(text: bytes) -> Rejection | None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return rejection_of(error)
    return None


def _nothing_else(text: bytes, members: _Members) -> bool:
    """Whether a text holds these values, their names, and white space, but no member that was passed over."""
    frame = len(b'{"events":}') + (0 if members.sent_at is _ABSENT else len(b',"sent_at":'))
    events, sent_at = bytes(members.events), bytes(members.sent_at)
    if len(text) == frame + len(events) + len(sent_at):
        return True
    return _bytes_without_space(text) == frame + _bytes_without_space(events) + _bytes_without_space(sent_at)


def _bytes_without_space(text: bytes) -> int:
    """Bytes that are no white space (in strings and outside them alike)."""
    return len(text.translate(None, _SPACE))


def _repeated_or_unknown(text: bytes) -> Rejection:
    try:
        _only_members.decode(text)
    except (msgspec.ValidationError, UnicodeDecodeError):  # the name of an unknown member may be anything
        return rejections.UNKNOWN_BATCH_FIELD
    return rejections.REPEATED_BATCH_FIELD


def time_of(text: bytes, name: str) -> int | None:
    """The time in ms that is the value of a batch's member, None where it is absent or null. Raises RejectionError."""
    value = parse_json(repaired(text)) if text else None
    # 0 in place of anything else, which `optional_time` rejects.
    return optional_time({name: value if value is None or isinstance(value, str) else 0}, name)


def _originals(text: bytes, plain: bytes, events: list[bytes]) -> list[bytes]:
    """The events' bytes as they were sent. `plain` has the same values at the same positions."""
    start = _FIRST_EVENT.match(plain)
    assert start is not None, "events and sent_at are all that the text holds, and sent_at is null or a string"
    position, spans = start.end(), []
    for event in events:
        spans.append(text[position : position + len(event)])
        between = _BETWEEN.match(plain, position + len(event))
        position = between.end() if between else len(plain)
    return spans
