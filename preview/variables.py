"""Dashboard variables and macros, replaced in a query as Grafana replaces them.

Formats: `raw` as it is, `sqlstring` quoted for SQL, `lucene` quoted for Elasticsearch. A variable at All with an
`allValue` is that text, unquoted, whatever the format. Other formats are not supported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

ALL: Final = "$__all"
_NAME: Final = re.compile(r"\$(?:\{(?P<braced>\w+)(?::(?P<format>\w+))?\}|(?P<bare>[a-zA-Z_]\w*))")
_LUCENE: Final = re.compile(r'([!*+\-=<>\s&|()\[\]{}^~?:\\/"])')
_MACRO: Final = re.compile(r"\$__(timeFilter|timeFrom|timeTo)\(([^()]*)\)")
_ROUND_S: Final = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
                   86_400, 604_800)  # fmt: skip
_DURATION: Final = re.compile(r"(\d+)(ms|s|m|h|d|w)")
_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}

Choice = str | Sequence[str]
"""What is chosen: one value, or several; `ALL` is everything."""


@dataclass(frozen=True, slots=True)
class Range:
    """A time range in ms, both ends included, and how many points a panel has room for."""

    since_ms: int
    until_ms: int
    points: int = 500

    def interval_ms(self, minimum: str | None) -> int:
        """The length of a point: the range divided, rounded up to a usual length, at least the panel's minimum."""
        wanted = (self.until_ms - self.since_ms) / self.points
        usual = next((1_000 * each for each in _ROUND_S if 1_000 * each >= wanted), 1_000 * _ROUND_S[-1])
        return max(usual, duration_ms(minimum) if minimum else 0)


def duration_ms(text: str) -> int:
    """Milliseconds of `5m`, `1d`. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        msg = f"not a duration: {text!r}"
        raise ValueError(msg)
    return int(found[1]) * _UNIT_MS[found[2]]


def moment_ms(text: str, now_ms: int) -> int:
    """A dashboard's `now`, `now-6h`, or milliseconds. Raises ValueError."""
    if text == "now":
        return now_ms
    return now_ms - duration_ms(text.removeprefix("now-")) if text.startswith("now-") else int(text)


class Variables:
    """The declared variables of a dashboard with what is chosen for each."""

    def __init__(self, dashboard: Mapping[str, Any], chosen: Mapping[str, Choice]) -> None:
        self._values: dict[str, Choice] = {}
        self._all: dict[str, str] = {}
        for variable in dashboard["templating"]["list"]:
            name = variable["name"]
            current = chosen.get(name, variable.get("current", {}).get("value", ""))
            if current in (ALL, [ALL]):
                self._all[name] = variable.get("allValue", "")
            self._values[name] = current

    def value(self, name: str) -> Choice:
        """What is chosen. Raises KeyError."""
        return self._values[name]

    def lucene(self, text: str, range_: Range) -> str:
        """An Elasticsearch query with every variable replaced, and the end of the time range."""
        return self.replace(text, "lucene").replace("${__to}", str(range_.until_ms))

    def replace(self, text: str, default: str = "raw") -> str:
        """The text with every variable replaced; macros and unknown names stay."""

        def put(found: re.Match[str]) -> str:
            name = found["braced"] or found["bare"]
            if name not in self._values:
                return found[0]
            if name in self._all:
                return self._all[name]
            return _FORMATS[found["format"] or default](self._values[name])

        return _NAME.sub(put, text)


def sql_macros(text: str, range_: Range, interval_ms: int) -> str:
    """SQL with Grafana's time macros replaced."""
    since, until = _rfc3339(range_.since_ms), _rfc3339(range_.until_ms)

    def put(found: re.Match[str]) -> str:
        match found[1]:
            case "timeFilter":
                return f"{found[2]} BETWEEN '{since}' AND '{until}'"
            case "timeFrom":
                return f"'{since}'"
            case _:
                return f"'{until}'"

    return _MACRO.sub(put, text).replace("$__interval_ms", str(interval_ms))


def _rfc3339(ms: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _raw(value: Choice) -> str:
    return value if isinstance(value, str) else ",".join(value)


def _sqlstring(value: Choice) -> str:
    values = [value] if isinstance(value, str) else value
    return ",".join("'" + each.replace("'", "''") + "'" for each in values)


def _lucene(value: Choice) -> str:
    if isinstance(value, str):
        return _LUCENE.sub(r"\\\1", value)
    quoted = ['"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"' for each in value]
    return f"({' OR '.join(quoted)})"


_FORMATS: Final[dict[str, Callable[[Choice], str]]] = {"raw": _raw, "sqlstring": _sqlstring, "lucene": _lucene}
