"""A dead letter as text for a terminal; its content is untrusted, so control characters are escaped."""

from __future__ import annotations

import difflib
from typing import Any

import msgspec

from clickstream.contracts.times import iso_time
from clickstream.dead_letters.letters import Letter


def summary(letter: Letter) -> dict[str, Any]:
    """The letter in a few values, for a line of a table."""
    row = letter.row
    return {
        "id": letter.id,
        "time": iso_time(max(0, letter.time_ms)),
        "stage": row.stage,
        "code": row.code,
        "source": row.source,
        "bytes": len(row.original),
        "path": row.path,
        "reason": row.reason,
    }


def described(letter: Letter) -> str:
    """Everything about the letter, its content included."""
    lines = [f"{in_a_line(name):9} {in_a_line(value)}" for name, value in (summary(letter) | _origin(letter)).items()]
    return "\n".join([*lines, "", _pretty(letter.row.original)])


def difference(letter: Letter, before: bytes, after: bytes) -> str:
    """What a patch changes, as a unified diff; empty where it changes nothing."""
    lines = difflib.unified_diff(
        _pretty(before).splitlines(), _pretty(after).splitlines(), letter.id, f"{letter.id} repaired", lineterm=""
    )
    return "".join(f"{line}\n" for line in lines)


def in_a_line(value: object) -> str:
    """The value as text without line ends and other characters that are not printed."""
    return _printable(str(value), "")


def _origin(letter: Letter) -> dict[str, Any]:
    origin = letter.row.origin
    found: dict[str, Any] = {"received": iso_time(letter.row.received_at), "version": letter.row.version}
    if letter.row.endpoint:
        found["endpoint"] = letter.row.endpoint
    if origin is not None:
        key = "none" if origin.key is None else origin.key.decode("utf-8", "backslashreplace")
        found |= {"origin": f"{origin.topic} {origin.partition}:{origin.offset}", "key": key}
        found |= {
            f"header {name}": (value or b"").decode("utf-8", "backslashreplace") for name, value in origin.headers
        }
    return found


def _pretty(content: bytes) -> str:
    try:
        text = msgspec.json.format(content, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = content.decode("utf-8", "backslashreplace")
    return _printable(text, "\n")


def _printable(text: str, kept: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char in kept or char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
