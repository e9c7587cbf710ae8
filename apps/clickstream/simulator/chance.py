"""Choosing by weight, quickly: cumulative weights are computed once, a choice is one bisection.

`random.choices` adds the weights up at every call, and every click makes several choices.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterable
from itertools import accumulate
from typing import Generic, TypeVar

T = TypeVar("T")


class Weighted(Generic[T]):
    """Things that are picked in proportion to their weights. Raises ValueError when there are none."""

    def __init__(self, pairs: Iterable[tuple[float, T]]) -> None:
        weights, things = zip(*pairs, strict=True)
        self._things: tuple[T, ...] = things
        self._bounds = tuple(accumulate(weights))

    def pick(self, rng: random.Random) -> T:
        bounds = self._bounds
        return self._things[bisect(bounds, rng.random() * bounds[-1], 0, len(bounds) - 1)]
