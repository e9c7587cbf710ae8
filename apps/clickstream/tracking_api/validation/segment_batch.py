"""A batch of Segment's API taken apart into its calls, each with its own bytes.

`batch` is a list of calls, `sentAt` counts for those that have none, and `context` is merged into each of them. Other
members are not kept: `writeKey`, and what libraries say about the batch itself (`timestamp`, `sequence`, `messageId`).
All that a batch has besides its list is bounded, so that 2,500 copies of a context cannot make much of a small request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from clickstream.tracking_api import limits, rejections
from clickstream.tracking_api.rejections import Code, Rejection, RejectionError
from clickstream.tracking_api.validation.batch import time_of
from clickstream.tracking_api.validation.json_text import (
    parse_json,
    rejection_of,
    repaired,
    without_bom,
    without_surrogates,
)

_ABSENT: Final = msgspec.Raw(b"")


class _Members(msgspec.Struct):
    batch: msgspec.Raw = _ABSENT


class _Key(msgspec.Struct, rename="camel"):
    write_key: msgspec.Raw = _ABSENT


# Decoding ends at the first call too many.
_Calls: Final = msgspec.defstruct(
    "_Calls",
    [(f"call_{number}", msgspec.Raw, _ABSENT) for number in range(limits.SEGMENT_BATCH_EVENTS)],
    array_like=True,
    forbid_unknown_fields=True,
)

_members: Final = msgspec.json.Decoder(_Members)
_key: Final = msgspec.json.Decoder(_Key)
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_calls: Final = msgspec.json.Decoder(_Calls)
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_COMMA: Final = re.compile(rb"[ \t\r\n]*+,?[ \t\r\n]*+")
_COLON: Final = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+")
_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class SegmentBatch:
    """The calls of a batch, each the bytes that the client sent; `sent_at` in ms; `context`: JSON text of an object."""

    calls: list[bytes]
    sent_at: int | None
    context: bytes


def write_key_in_body(text: bytes) -> bytes | Rejection | None:
    """The write key that a call or a batch names; None where it names none."""
    try:
        found = bytes(_key.decode(without_surrogates(without_bom(text))).write_key)
        key = parse_json(found) if 2 < len(found) <= limits.STRING_BYTES else None
    except msgspec.ValidationError:
        return None  # not an object
    except _ERRORS as error:
        return rejection_of(error)
    return key.encode() if isinstance(key, str) else None


def parse_segment_batch(text: bytes) -> SegmentBatch | Rejection:
    """The batch in a JSON text. Its calls are well-formed JSON, apart from encoding and numbers; not yet validated."""
    text = without_bom(text)
    plain = without_surrogates(text)
    spans = _read_spans(plain)
    if isinstance(spans, Rejection):
        return spans
    listed = spans["batch"]
    try:
        found = msgspec.structs.astuple(_calls.decode(plain[listed]))
        sent_at = time_of(text[spans["sentAt"]], "sentAt") if "sentAt" in spans else None
        context = _context(text[spans["context"]]) if "context" in spans else b""
    except msgspec.ValidationError:
        return rejections.TOO_MANY_CALLS
    except RejectionError as error:
        return error.rejection
    calls = [bytes(call) for call in found if call is not _ABSENT]
    if not calls:
        return rejections.EMPTY_SEGMENT_BATCH
    return SegmentBatch(calls if plain is text else _originals(text, plain, listed.start, calls), sent_at, context)


def _read_spans(text: bytes) -> dict[str, slice] | Rejection:
    """Where the values of the members lie, of which `batch` is an array."""
    try:
        listed = bytes(_members.decode(text).batch)
        if not listed:
            return rejections.SEGMENT_BATCH_WITHOUT_CALLS
        if not listed.startswith(b"["):
            return rejections.SEGMENT_BATCH_NOT_AN_ARRAY
        if len(text) - len(listed) > limits.SEGMENT_ENVELOPE_BYTES:
            return rejections.SEGMENT_ENVELOPE_TOO_LARGE
        return _spans(text, _object.decode(text)) or rejections.SEGMENT_REPEATED_MEMBER
    except msgspec.ValidationError:
        return rejections.SEGMENT_BATCH_NOT_AN_OBJECT
    except _ERRORS as error:
        return rejection_of(error)


def _spans(text: bytes, members: dict[str, msgspec.Raw]) -> dict[str, slice] | None:
    """Where these values lie; None for a text with escaped names, or a member twice: of two lists one would vanish.

    `members` has the last value of such a member, at the place of its first.
    """
    position, spans = _skip(_SPACE, text, 0) + 1, {}
    for name, raw in members.items():
        position = _skip(_SPACE, text, position)
        written = b'"' + name.encode() + b'"'
        colon = _COLON.match(text, position + len(written))
        if (
            colon is None
            or not text.startswith(written, position)
            or not text.startswith(value := bytes(raw), colon.end())
        ):
            return None
        spans[name] = slice(colon.end(), colon.end() + len(value))
        position = _skip(_COMMA, text, spans[name].stop)
    return spans if text.startswith(b"}", position) else None


def _originals(text: bytes, plain: bytes, start: int, calls: list[bytes]) -> list[bytes]:
    """The calls' bytes as they were sent. `plain` has the same values at the same positions."""
    position, spans = _skip(_SPACE, plain, start + 1), []
    for call in calls:
        spans.append(text[position : position + len(call)])
        position = _skip(_COMMA, plain, position + len(call))
    return spans


def _skip(what: re.Pattern[bytes], text: bytes, position: int) -> int:
    found = what.match(text, position)
    assert found is not None, "it matches nothing, too"
    return found.end()


def _context(text: bytes) -> bytes:
    """The JSON text of an object; empty for null. Raises RejectionError."""
    value = parse_json(repaired(text))
    if value is None:
        return b""
    if isinstance(value, Rejection):
        raise RejectionError(value.code, "$.context", value.message)
    if not isinstance(value, dict):
        raise RejectionError(Code.WRONG_TYPE, "$.context", "must be an object")
    return text
