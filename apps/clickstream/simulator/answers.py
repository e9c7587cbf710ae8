"""What an HTTP answer means for the events of its request. Pure.

Settled, to be retried, or misdirected; and which events of a batch were rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

_TRY_AGAIN = frozenset({408, 425, 429})
_NOT_ALLOWED = frozenset({401, 403, 404, 405})


@dataclass(frozen=True, slots=True)
class Settled:
    """A final answer: the request's events at these positions were rejected, all others accepted."""

    rejected: frozenset[int]


@dataclass(frozen=True, slots=True)
class Again:
    """No final answer: retry the same events, with their ids, after at least this many seconds."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Misdirected:
    """The address or the write key is wrong: no event will ever be accepted."""

    status: int


Answer = Settled | Again | Misdirected


def read_answer(status: int, retry_after: str | None, body: bytes, count: int) -> Answer:
    """The meaning of an answer to a request of `count` events."""
    if status in _NOT_ALLOWED:
        return Misdirected(status)
    if status >= 500 or status in _TRY_AGAIN:
        return Again(float(retry_after) if retry_after is not None and retry_after.isdecimal() else 0.0)
    if status >= 400:
        return Settled(frozenset(range(count)))
    return Settled(_rejected(body))


def _rejected(body: bytes) -> frozenset[int]:
    """Positions in `{"rejected": [{"index": …}, …]}`; none for an answer without that list."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return frozenset()
    listed = answer.get("rejected") if isinstance(answer, dict) else None
    return frozenset(each["index"] for each in listed) if isinstance(listed, list) else frozenset()
