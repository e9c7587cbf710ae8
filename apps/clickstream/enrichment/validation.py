"""What a click must satisfy beyond its types: limits in bytes, and no NUL, which PostgreSQL cannot store.

The tracking API has the same limits, but anybody may produce to raw-clicks. Nearly every click passes by its record's
bytes alone; its strings are walked only where those give a reason to.
"""

from __future__ import annotations

from typing import Final

import msgspec

from clickstream.contracts.clicks import Click, Scalar
from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.text import without_nul

MAX_RECORD: Final = 131_072
"""Bytes of a record: the API's largest event, each of its characters escaped."""
MAX_TEXT: Final = 8_192
"""Characters of any string."""

_BYTES: Final = (("event_id", 64), ("user_id", 256), ("session_id", 256), ("page", 2_048))
_TEXTS: Final = ("source", "type", "referrer", "user_agent", "ip", "title")
_ALL: Final = (*(name for name, _ in _BYTES), *_TEXTS)


def validate(click: Click | BadRow, value: bytes | None, received_at: int) -> Click | BadRow:
    """The click, each NUL in it replaced by U+FFFD, or why it is none. A BadRow passes through."""
    if isinstance(click, BadRow) or value is None:
        return click
    if len(value) <= MAX_TEXT and value.isascii() and b"\\" not in value:
        return click  # every character is one byte, and types have limited those
    if len(value) > MAX_RECORD:
        return BadRow(value, "enrich", "too_long", f"more than {MAX_RECORD} bytes", "$", received_at)
    if b"\\u0000" in value:
        click = _without_nul(click)
    for name, limit in _BYTES:
        if len(getattr(click, name).encode()) > limit:
            return BadRow(value, "enrich", "too_long", f"more than {limit} bytes", f"$.{name}", received_at)
    if len(value) > MAX_TEXT:
        path = _too_long(click)
        if path is not None:
            return BadRow(value, "enrich", "too_long", f"more than {MAX_TEXT} characters", path, received_at)
    return click


def _without_nul(click: Click) -> Click:
    texts = {name: without_nul(text) for name in _ALL if (text := getattr(click, name)) is not None}
    properties = {without_nul(name): _clean(value) for name, value in click.properties.items()}
    return msgspec.structs.replace(click, **texts, properties=properties)


def _clean(value: Scalar) -> Scalar:
    return without_nul(value) if isinstance(value, str) else value


def _too_long(click: Click) -> str | None:
    for name in _TEXTS:
        if len(getattr(click, name) or "") > MAX_TEXT:
            return f"$.{name}"
    for name, value in click.properties.items():
        if len(name) > MAX_TEXT or (isinstance(value, str) and len(value) > MAX_TEXT):
            return "$.properties"
    return None
