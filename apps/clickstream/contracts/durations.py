"""Durations as people write them (`10m`, `7d`, `23h50m`) and as the code counts them: milliseconds."""

from __future__ import annotations

import re

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"(\d{1,9})(ms|s|m|h|d)")
_WHOLE = re.compile(r"(?:\d{1,9}(?:ms|s|m|h|d))+")


def duration_ms(text: str) -> int:
    """Milliseconds of a duration such as `10m`, `90s` or `1h30m`. Raises ValueError with the accepted form."""
    if not _WHOLE.fullmatch(text):
        msg = f"{text!r} is not a duration: write a number and a unit (ms, s, m, h, d), such as 10m or 1h30m"
        raise ValueError(msg)
    return sum(int(number) * _UNITS_MS[unit] for number, unit in _PART.findall(text))
