"""The size of a run: how long, how fast, how many faults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Size:
    """Clicks a second and their number; faults; how session time is compressed; times in seconds.

    A click may be sent again for `give_up`, which must be less than gap + grace: the promise to recognize a duplicate
    in sessions ends there. `again_after` is when clicks are sent again that are no longer recognized: ids are
    remembered for gap + grace, and for up to a minute more.
    """

    rate: float
    clicks: int
    faults: int
    gap: int
    grace: int
    give_up: int
    again_after: int
    calm: float
    """Between two faults."""
    longest: float = 12.0
    """Of a fault."""
    rare: bool = True
    """Whether it has faults that take a minute or more."""
    drain: float = 180.0
    """Until everything is stored, after the last click."""


SIZES: Final = {
    "s": Size(
        rate=200,
        clicks=30_000,
        faults=20,
        gap=20,
        grace=40,
        give_up=50,
        again_after=125,
        calm=1.0,
        longest=6,
        rare=False,
    ),
    "l": Size(rate=600, clicks=610_000, faults=66, gap=60, grace=180, give_up=200, again_after=310, calm=3.0),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a run. `only`: names of faults that begin with one of these; `mutant`: the process that is broken."""

    size: Size
    seed: int
    home: Path
    only: tuple[str, ...] = ()
    mutant: str | None = None
    repeated: float = 0.01
    poison: bool = True
    keep: bool = False
