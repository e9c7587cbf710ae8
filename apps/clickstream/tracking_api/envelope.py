"""A request's body taken apart into events, each with its own bytes, so that a bad one can be named and kept unchanged.

Deliberately strict: a batch has `events` and `sent_at` and nothing else. Further fields belong to events, where they are
kept; a copy of one envelope field in each of 500 events would let a small request grow out of its limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from clickstream.tracking_api import limits
from clickstream.tracking_api.fields import RefusedError, optional_time
from clickstream.tracking_api.json_text import fault, repaired, without_bom
from clickstream.tracking_api.rejections import Code, Rejection


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]
    sent_at: str | None = None


_decoder: Final = msgspec.json.Decoder(_Envelope)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BETWEEN: Final = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")

_NO_OBJECT = Rejection(Code.WRONG_TYPE, "$", "a batch is an object with an array named events")
_NO_EVENTS = Rejection(Code.MISSING_FIELD, "$.events", "this field must be given")
_NO_ARRAY = Rejection(Code.WRONG_TYPE, "$.events", "must be an array")
_NO_STRING = Rejection(Code.WRONG_TYPE, "$.sent_at", "must be a string: an RFC 3339 date-time with an offset")
_UNKNOWN = Rejection(Code.UNKNOWN_FIELD, "$.*", "a batch has events and sent_at only; other fields belong to an event")
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
    fixed = repaired(text)
    try:
        envelope = _decoder.decode(fixed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _diagnosis(fixed, error)
    if not envelope.events:
        return _EMPTY
    if len(envelope.events) > limits.BATCH_EVENTS:
        return _MANY
    try:
        sent_at = optional_time({"sent_at": envelope.sent_at}, "sent_at")
    except RefusedError as refused:
        return refused.rejection
    events = [bytes(event) for event in envelope.events]
    return Batch(events if fixed == text else _originals(text, fixed, events), sent_at)


def _diagnosis(text: bytes, error: msgspec.DecodeError | UnicodeDecodeError | RecursionError) -> Rejection:
    """Why a text is no batch. The parser's message would quote the name of an unknown field."""
    if not isinstance(error, msgspec.ValidationError):
        return fault(error)
    try:
        fields = _fields.decode(text)
    except msgspec.ValidationError:
        return _NO_OBJECT
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        return fault(malformed)
    if "events" not in fields:
        return _NO_EVENTS
    if fields.keys() - {"events", "sent_at"}:
        return _UNKNOWN
    return _NO_STRING if bytes(fields["events"]).startswith(b"[") else _NO_ARRAY


def _originals(text: bytes, fixed: bytes, events: list[bytes]) -> list[bytes]:
    """The events' bytes before the repair, which kept every length: find where they lie, one after another."""
    start = fixed.find(events[0])
    while start >= 0:
        spans, position = [], start
        for number, event in enumerate(events):
            if number:
                between = _BETWEEN.match(fixed, position)
                position = between.end() if between else len(fixed)
            if not fixed.startswith(event, position):
                break
            spans.append(text[position : position + len(event)])
            position += len(event)
        if len(spans) == len(events):
            return spans
        start = fixed.find(events[0], start + 1)
    return events
