"""How far a sink is behind, per partition: in records that are not in the store yet, and in seconds.

The offsets are those of what is *stored*, not of what was fetched: a store that is away shows as lag. The seconds are
the age of the oldest record that is not stored, bounded from both sides by what is known: it is not older than the last
stored record, nor than the last moment without lag.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clickstream.sinks.records import Place


@dataclass(slots=True)
class _Partition:
    stored: int
    end: int
    stored_time_ms: int = 0
    waiting_since_ms: int | None = None
    level_at_ms: int = 0


class Lag:
    """Written by the loop, read by the metrics endpoint's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._partitions: dict[Place, _Partition] = {}
        self.stalled: str | None = None
        """Which partition has had records for minutes and gave none."""

    def assigned(self, place: Place, stored: int, now_ms: int) -> None:
        """The partition is ours, or is read anew, from now on; `stored` is the next offset to store."""
        with self._lock:
            self._partitions[place] = _Partition(stored, stored, level_at_ms=now_ms)

    def revoked(self, places: Iterable[Place]) -> None:
        """The partitions are somebody else's."""
        with self._lock:
            for place in places:
                self._partitions.pop(place, None)

    def seen_end(self, place: Place, high: int, now_ms: int) -> None:
        """The broker's next offset of the partition."""
        with self._lock:
            partition = self._partitions.get(place)
            if partition is None:
                return
            partition.end = max(high, partition.stored)
            if partition.end == partition.stored:
                partition.level_at_ms = now_ms

    def waiting(self, place: Place, time_ms: int) -> None:
        """The oldest record of the batch at hand has this Kafka timestamp."""
        with self._lock:
            partition = self._partitions.get(place)
            if partition is not None and partition.waiting_since_ms is None:
                partition.waiting_since_ms = time_ms

    def stored(self, place: Place, next_offset: int, time_ms: int, now_ms: int) -> None:
        """Everything before `next_offset` is stored; `time_ms` is the last such record's Kafka timestamp."""
        with self._lock:
            partition = self._partitions.get(place)
            if partition is None:
                return
            partition.stored = max(partition.stored, next_offset)
            partition.end = max(partition.end, partition.stored)
            partition.stored_time_ms = time_ms
            partition.waiting_since_ms = None
            if partition.end == partition.stored:
                partition.level_at_ms = now_ms

    def records(self) -> Iterator[tuple[float, dict[str, str]]]:
        """(records, labels) of each partition."""
        with self._lock:
            rows = [(float(p.end - p.stored), _labels(place)) for place, p in self._partitions.items()]
        yield from rows

    def seconds(self, now_ms: int) -> Iterator[tuple[float, dict[str, str]]]:
        """(seconds, labels) of each partition; 0 when nothing waits."""
        with self._lock:
            rows = [(_seconds(p, now_ms), _labels(place)) for place, p in self._partitions.items()]
        yield from rows


def _seconds(partition: _Partition, now_ms: int) -> float:
    if partition.end <= partition.stored:
        return 0.0
    oldest = partition.waiting_since_ms
    if oldest is None:
        oldest = max(partition.stored_time_ms, partition.level_at_ms)
    return max(0, now_ms - oldest) / 1_000


def _labels(place: Place) -> dict[str, str]:
    return {"topic": place[0], "partition": str(place[1])}
