"""Chains: clicks of one grouping key, each within the session gap of another, bots and people alike.

A session holds clicks of one chain only, whatever the enrichment says of bots, and a chain closes no earlier than the
last of its sessions. So a chain whose beginning was read and which is closed can be enriched anew as a whole, and no
click outside of it will name a session of its own. Pure.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from heapq import heappop, heappush
from typing import Final

NONE: Final = -1
"""In place of a chain's number: no click, or one that is late, so that it is in no session either way."""


class Chains:
    """Numbers chains as clicks come, in the order of their partition. `gap` and `grace` in ms."""

    def __init__(self, gap: int, grace: int) -> None:
        self.stream_time = -1
        self.open_wanted = 0
        self._gap, self._grace = gap, grace
        self._parent = array("i")
        self._start, self._end = array("q"), array("q")
        self._wanted, self._closed = bytearray(), bytearray()
        self._open: dict[bytes, list[int]] = {}
        self._due: list[tuple[int, int, bytes]] = []

    def __len__(self) -> int:
        return len(self._parent)

    def add(self, key: bytes, t: int, *, wanted: bool) -> int:
        """The number of the chain that a click of `key` at `t` is in; `wanted`: the chain is to be replayed."""
        before = self.stream_time
        self.stream_time = max(before, t)
        chains = self._open.get(key, [])
        first = max(
            bisect_left(chains, t - self._gap, key=self._end.__getitem__),
            bisect_right(chains, before - self._gap - self._grace, key=self._end.__getitem__),
        )
        last = first
        while last < len(chains) and self._start[chains[last]] <= t + self._gap:
            last += 1
        if first == last:
            if t <= self.stream_time - self._gap - self._grace:
                return NONE
            number = self._begin(t)
            self._open.setdefault(key, chains).insert(first, number)
        else:
            number = chains[first]
            self._start[number] = min(self._start[number], t)
            for other in chains[first + 1 : last]:
                self._absorb(number, other)
            del chains[first + 1 : last]
            self._end[number] = max(self._end[number], t)
        if wanted:
            self._want(number)
        heappush(self._due, (self._end[number], number, key))
        return number

    def close_due(self, stream_time: int | None = None) -> None:
        """Close what can no longer grow; `stream_time` (ms) moves it on first."""
        self.stream_time = max(self.stream_time, -1 if stream_time is None else stream_time)
        horizon = self.stream_time - self._gap - self._grace
        while self._due and self._due[0][0] <= horizon:
            _, number, key = heappop(self._due)
            if self._parent[number] != number or self._closed[number] or self._end[number] > horizon:
                continue  # absorbed, or it has an entry for its later end
            self._closed[number] = 1
            self.open_wanted -= self._wanted[number]
            chains = self._open[key]
            chains.remove(number)
            if not chains:
                del self._open[key]

    def is_whole(self, number: int, known_from: int | None) -> bool:
        """Whether the chain is closed and wanted, and began after `known_from` (ms; None: whenever)."""
        root = self._root(number)
        known = known_from is None or self._start[root] > known_from
        return bool(known and self._closed[root] and self._wanted[root])

    def _begin(self, t: int) -> int:
        number = len(self._parent)
        self._parent.append(number)
        self._start.append(t)
        self._end.append(t)
        self._wanted.append(0)
        self._closed.append(0)
        return number

    def _absorb(self, survivor: int, other: int) -> None:
        self._parent[other] = survivor
        self._end[survivor] = self._end[other]
        if self._wanted[other]:
            self.open_wanted -= 1
            self._want(survivor)

    def _want(self, number: int) -> None:
        self.open_wanted += 1 - self._wanted[number]
        self._wanted[number] = 1

    def _root(self, number: int) -> int:
        parent = self._parent
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number
