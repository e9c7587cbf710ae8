"""How far a session got in each declared funnel, whatever the order in which its clicks arrive.

A session keeps, per funnel, when each step's page was viewed. The furthest step is then found greedily: the earliest
view of step 1, the earliest view of step 2 strictly after it, and so on; an earlier click that arrives late can only
help. Strictly after, so that one click never counts for two steps. The SQL warehouse recomputes the same rule.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from clickstream.contracts.clicks import PAGE_VIEW
from clickstream.contracts.pages import matcher
from clickstream.contracts.pipeline import Funnel

MAX_HITS: Final = 64
"""Views kept per session and funnel; beyond it, a view between two others of its own step is forgotten first."""

Hit = tuple[int, int]
"""(event time in ms, step from 1)."""


CACHED: Final = 10_000


class _Viewed(Protocol):
    @property
    def type(self) -> str: ...

    @property
    def page_path(self) -> str: ...


class FunnelBook:
    """The declared funnels, matched against page views. The steps of at most `most` paths are kept."""

    def __init__(self, funnels: Sequence[Funnel], most: int = CACHED) -> None:
        self._most = most
        self._steps = [
            (funnel.name, [(number, matcher(step.page)) for number, step in enumerate(funnel.steps, 1)])
            for funnel in funnels
        ]
        self._last = [(name, len(steps)) for name, steps in self._steps]
        self._cache: dict[str, tuple[tuple[str, int], ...]] = {}

    def steps_of(self, click: _Viewed) -> tuple[tuple[str, int], ...]:
        """(funnel, step) for every step that a click is: of its path, if it is a page view."""
        return self.matches(click.page_path) if click.type == PAGE_VIEW else ()

    def matches(self, path: str) -> tuple[tuple[str, int], ...]:
        """(funnel, step) for every step that a view of this path is."""
        found = self._cache.get(path)
        if found is None:
            if len(self._cache) > self._most:
                self._cache.clear()
            found = tuple((name, number) for name, steps in self._steps for number, matches in steps if matches(path))
            self._cache[path] = found
        return found

    def reached(self, hits: Mapping[str, list[Hit]]) -> dict[str, int]:
        """By every funnel's name, the furthest step of a session with these views by funnel."""
        return {name: furthest_step(hits[name], last) if name in hits else 0 for name, last in self._last}


def add_hit(hits: list[Hit], hit: Hit) -> None:
    """Add one view to a session's sorted list for one funnel."""
    if not hits or hit > hits[-1]:
        hits.append(hit)
    else:
        insort(hits, hit)
    if len(hits) > MAX_HITS:
        _thin(hits)


def merge_hits(hits: list[Hit], others: list[Hit]) -> None:
    """Add another session's views."""
    hits[:] = sorted(hits + others)
    while len(hits) > MAX_HITS:
        _thin(hits)


def furthest_step(hits: list[Hit], last: int) -> int:
    """The number of steps that were reached in order, of a funnel that has `last`; 0 when not even the first was."""
    reached, after = 0, -1
    # Sorted by time, so the first view of the wanted step that is later than the last reached one is the earliest.
    for time, step in hits:
        if step == reached + 1 and time > after:
            reached, after = step, time
            if reached == last:
                break
    return reached


def _thin(hits: list[Hit]) -> None:
    for index in range(1, len(hits) - 1):
        if hits[index - 1][1] == hits[index][1] == hits[index + 1][1]:
            del hits[index]
            return
    del hits[-2]
