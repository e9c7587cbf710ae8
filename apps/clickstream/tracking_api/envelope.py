"""A request's body taken apart into events, each with its own bytes, so that a bad one can be named and kept unchanged.

Deliberately strict: a batch has `events` and `sent_at`, each at most once, and nothing else. Of a list that is given
twice one would vanish; and a copy of one envelope field in each of 500 events would let a small request grow out of
its limits. Further fields belong to events, where they are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from clickstream.tracking_api import limits
from clickstream.tracking_api.fields import RefusedError, optional_time
from clickstream.tracking_api.json_text import fault, parse, repaired, without_bom, without_surrogates
from clickstream.tracking_api.rejections import Code, Rejection

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

_NO_OBJECT = Rejection(Code.WRONG_TYPE, "$", "a batch is an object with an array named events")
_NO_EVENTS = Rejection(Code.MISSING_FIELD, "$.events", "this field must be given")
_NO_ARRAY = Rejection(Code.WRONG_TYPE, "$.events", "must be an array")
_UNKNOWN = Rejection(Code.UNKNOWN_FIELD, "$.*", "a batch has events and sent_at only; other fields belong to an event")
_REPEATED = Rejection(Code.REPEATED_FIELD, "$", "a batch has events and sent_at once each, their names without escapes")
_EMPTY = Rejection(Code.EMPTY_BATCH, "$.events", "a batch has at least one event")
_MANY = Rejection(Code.TOO_MANY_EVENTS, "$.events", f"a batch has at most {limits.BATCH_EVENTS} events")


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of a batch, each the bytes that the client sent; `sent_at` in ms."""

    events: list[bytes]
    sent_at: int | None


def read_batch(text: bytes) -> Batch | Rejection:
    """The batch in a JSON text. Its events are well-formed JSON, apart from encoding and numbers, and not judged yet."""
    text = without_bom(text)
    plain = without_surrogates(text)
    members = _read_members(plain)
    if isinstance(members, Rejection):
        return _not_utf8(text) or members
    try:
        events = [
            bytes(event) for event in msgspec.structs.astuple(_events.decode(members.events)) if event is not _ABSENT
        ]
        sent_at = optional_time({"sent_at": _value(bytes(members.sent_at))}, "sent_at")
    except msgspec.ValidationError:
        return _MANY
    except RefusedError as refused:
        return refused.rejection
    if not events:
        return _EMPTY
    return Batch(events if plain is text else _originals(text, plain, events), sent_at)


def _read_members(text: bytes) -> _Members | Rejection:
    """The values of the members, of which `events` is an array."""
    try:
        members = _members.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _no_object(text, error)
    if members.events is _ABSENT:
        return _NO_EVENTS
    if not bytes(members.events).startswith(b"["):
        return _NO_ARRAY
    return members if _nothing_else(text, members) else _repeated_or_unknown(text)


def _no_object(text: bytes, error: msgspec.DecodeError | UnicodeDecodeError | RecursionError) -> Rejection:
    """Why a text is no object: a parser that expects one ends at the first byte that tells, whatever follows it."""
    if not isinstance(error, msgspec.ValidationError):
        return fault(error)
    try:
        _any.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        return fault(malformed)
    return _NO_OBJECT


def _not_utf8(text: bytes) -> Rejection | None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return fault(error)
    return None


def _nothing_else(text: bytes, members: _Members) -> bool:
    """Whether a text holds these values, their names, and white space, but no member that was passed over."""
    frame = len(b'{"events":}') + (0 if members.sent_at is _ABSENT else len(b',"sent_at":'))
    events, sent_at = bytes(members.events), bytes(members.sent_at)
    if len(text) == frame + len(events) + len(sent_at):
        return True
    return _solid(text) == frame + _solid(events) + _solid(sent_at)


def _solid(text: bytes) -> int:
    """Bytes that are no white space (in strings and outside them alike)."""
    return len(text.translate(None, _SPACE))


def _repeated_or_unknown(text: bytes) -> Rejection:
    try:
        _only_members.decode(text)
    except (msgspec.ValidationError, UnicodeDecodeError):  # the name of an unknown member may be anything
        return _UNKNOWN
    return _REPEATED


def _value(sent_at: bytes) -> object:
    value = parse(repaired(sent_at)) if sent_at else None
    return value if value is None or isinstance(value, str) else 0


def _originals(text: bytes, plain: bytes, events: list[bytes]) -> list[bytes]:
    """The events' bytes as they were sent. `plain` has the same values at the same places, and members in either order."""
    start = _FIRST_EVENT.match(plain)
    assert start is not None, "events and sent_at are all that the text holds, and sent_at is null or a string"
    position, spans = start.end(), []
    for event in events:
        spans.append(text[position : position + len(event)])
        between = _BETWEEN.match(plain, position + len(event))
        position = between.end() if between else len(plain)
    return spans
