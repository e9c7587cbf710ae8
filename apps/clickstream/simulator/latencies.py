"""Percentiles of many durations in little memory: a histogram whose buckets grow by 2 %.

A run may last for days, so durations cannot be kept one by one.
"""

from __future__ import annotations

import math

_GROWTH = math.log(1.02)


class Latencies:
    """Durations in seconds; a percentile is at most 2 % above the true one."""

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count a duration; shorter than 0.1 ms is 0.1 ms."""
        bucket = math.ceil(math.log(max(seconds, 1e-4)) / _GROWTH)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + times
        self.count += times

    def percentile_ms(self, percent: float) -> float | None:
        """The duration that `percent` of all do not exceed, in ms; None when there are none."""
        wanted, seen = max(1, math.ceil(self.count * percent / 100)), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return round(math.exp(bucket * _GROWTH) * 1_000, 1)
        return None
