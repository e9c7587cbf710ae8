"""A bounded cache of computed values: clicks repeat user agents, pages and referrers.

Parsing one costs 100 times a look-up. Two generations instead of an LRU list: a hit is one plain dict look-up, and when
the young generation is full it becomes the old one, from which values are moved back when used. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

V = TypeVar("V")

MAX_KEY: Final = 512
"""Characters; longer keys are computed each time, so that hostile input cannot fill the memory with them."""


class Memo(dict[str, V]):
    """`memo[key]` is `compute(key)`, cached for at least the last `size` distinct keys and at most twice as many."""

    def __init__(self, compute: Callable[[str], V], size: int) -> None:
        super().__init__()
        self._compute = compute
        self._size = size
        self._old: dict[str, V] = {}

    def __missing__(self, key: str) -> V:
        """Called by `memo[key]` for a key that the young generation lacks."""
        if key in self._old:
            value = self._old[key]
        else:
            value = self._compute(key)
            if len(key) > MAX_KEY:
                return value
        if len(self) >= self._size:
            self._old = dict(self)
            self.clear()
        self[key] = value
        return value
