"""Events that are wrong in one way each, so that a known share of the traffic must be rejected.

Every one is well-formed JSON, since a batch that is not is rejected as a whole.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

Event = dict[str, Any]


def _without(field: str) -> Callable[[Event], Event]:
    return lambda event: {name: value for name, value in event.items() if name != field}


def _with(field: str, value: Any) -> Callable[[Event], Event]:
    return lambda event: event | {field: value}


SPOILED: Final[dict[str, Callable[[Event], Event]]] = {
    "timestamp is no time": _with("timestamp", "yesterday, around noon"),
    "timestamp has no offset": _with("timestamp", "2026-01-31T08:30:00"),
    "timestamp is a number": _with("timestamp", 1_700_000_000),
    "timestamp is missing": _without("timestamp"),
    "user_id is missing": _without("user_id"),
    "user_id is empty": _with("user_id", ""),
    "session_id is missing": _without("session_id"),
    "session_id is too long": lambda event: event | {"session_id": "s" * 300},
    "page is missing": _without("page"),
    # Its path: a query that is too long is cut, and the event is accepted.
    "page is too long": lambda event: event | {"page": event["page"].partition("?")[0] + "/" + "x" * 3_000},
    "event_id is missing": _without("event_id"),
    "event_id is too long": lambda event: event | {"event_id": event["event_id"] * 3},
    "too many properties": lambda event: event | {"properties": {f"p{number}": number for number in range(80)}},
}
_WAYS: Final = tuple(SPOILED.values())


def spoil(rng: random.Random, event: Event) -> Event:
    """A copy of the event that no tracking API may accept. Its `event_id` may be missing or another one."""
    return rng.choice(_WAYS)(event)
