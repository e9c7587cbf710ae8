"""One moment of the demo, as the live view draws it.

Why it exists: what is seen (`observer`) and how it looks (`view`) meet only here, so that the view is a pure function.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Numbers:
    """The six numbers as one store has them; None where it has not answered yet. Average session duration in ms."""

    page_views: int | None = None
    users_hour: int | None = None
    users_day: int | None = None
    session_ms: float | None = None
    users_online: int | None = None
    top_pages: tuple[tuple[str, int], ...] = ()
    funnel: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """One process: events so far, events per second now and over the last minute, what it has yet to read."""

    name: str
    total: int
    per_second: float
    history: tuple[float, ...] = ()
    lag_records: int | None = None
    lag_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything on the screen. Times in seconds, latencies in ms."""

    phase: str = "starting"
    elapsed_s: float = 0.0
    seconds: float | None = None
    rate: float = 0.0
    speed: float = 1.0
    seed: int = 0
    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    unknown: int = 0
    stages: tuple[Stage, ...] = ()
    p50_ms: float | None = None
    p95_ms: float | None = None
    samples: int = 0
    elasticsearch: Numbers = field(default_factory=Numbers)
    postgres: Numbers = field(default_factory=Numbers)
    links: tuple[tuple[str, str], ...] = ()
