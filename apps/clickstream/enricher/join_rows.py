"""From the bytes of a joined topic's record to a key and a row; invalid bytes give None.

A key is UTF-8 text, a value a JSON object; nested values are kept as compact JSON text.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from clickstream.contracts.text import without_nul
from clickstream.enrichment.join import Row

MAX_ROW: Final = 16_384
"""Bytes of a row's record: the row is written again with every click that it joins."""
MAX_WRITTEN: Final = 2 * MAX_ROW
"""Bytes of a row as clicks carry it: short numbers and nested values are longer there than in the record."""
MAX_KEY: Final = 2_048
"""Bytes of a record's key. No page has a longer one in it."""


def read_row(value: bytes) -> Row | None:
    """The row in a record's value; None if that is no JSON object, or too large to travel with clicks. Never raises."""
    if len(value) > MAX_ROW:
        return None
    try:
        found: Any = msgspec.json.decode(value)
        if not isinstance(found, dict):
            return None
        row = {without_nul(name): _flat(field) for name, field in found.items()}
        return row if len(msgspec.json.encode(row)) <= MAX_WRITTEN else None
    except (ValueError, OverflowError, RecursionError):  # also UnicodeDecodeError and msgspec's
        return None


def read_key(key: bytes) -> str | None:
    """The key as text; None if it is none, empty, or too long to be in a page. Never raises."""
    try:
        return key.decode() or None if len(key) <= MAX_KEY else None
    except UnicodeDecodeError:
        return None


def _flat(field: Any) -> str | int | float | bool | None:
    if isinstance(field, dict | list):
        return without_nul(msgspec.json.encode(field).decode())
    return without_nul(field) if isinstance(field, str) else field
