"""How far a sink is behind, per partition: in records that are not in the store yet, and in seconds.

The offsets are those of what is *stored*, not of what was fetched: an unreachable store shows as lag. The seconds are
the age of the oldest record that is not stored, estimated: it is not older than the last stored record, nor than the
last moment without lag. From an assignment until one of the two is known they are those since the assignment, and
labelled as estimated: what waits may be older.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clickstream.sinks.records import PartitionId


@dataclass(slots=True)
class _Partition:
    stored: int
    end: int
    stored_time_ms: int = 0
    waiting_since_ms: int | None = None
    level_at_ms: int = 0
    estimated: bool = True


class Lag:
    """Written by the loop, read by the metrics endpoint's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._partitions: dict[PartitionId, _Partition] = {}
        self.stalled: str | None = None
        """A partition that has had records for minutes and gave none."""

    def assigned(self, partition: PartitionId, stored: int, now_ms: int) -> None:
        """The partition is assigned to this consumer, or restarted; `stored` is the next offset to store."""
        with self._lock:
            self._partitions[partition] = _Partition(stored, stored, level_at_ms=now_ms)

    def revoked(self, partitions: Iterable[PartitionId]) -> None:
        """The partitions were revoked."""
        with self._lock:
            for partition in partitions:
                self._partitions.pop(partition, None)

    def seen_end(self, partition: PartitionId, high: int, now_ms: int) -> None:
        """The broker's next offset of the partition."""
        with self._lock:
            state = self._partitions.get(partition)
            if state is None:
                return
            state.end = max(high, state.stored)
            if state.end == state.stored:
                state.level_at_ms = now_ms
                state.estimated = False

    def waiting(self, partition: PartitionId, time_ms: int) -> None:
        """The oldest record of the batch at hand has this Kafka timestamp."""
        with self._lock:
            state = self._partitions.get(partition)
            if state is not None and state.waiting_since_ms is None:
                state.waiting_since_ms = time_ms
                state.estimated = False

    def stored(self, partition: PartitionId, next_offset: int, time_ms: int, now_ms: int) -> None:
        """Everything before `next_offset` is stored; `time_ms` is the last such record's Kafka timestamp."""
        with self._lock:
            state = self._partitions.get(partition)
            if state is None:
                return
            state.stored = max(state.stored, next_offset)
            state.end = max(state.end, state.stored)
            state.stored_time_ms = time_ms
            state.waiting_since_ms = None
            state.estimated = False
            if state.end == state.stored:
                state.level_at_ms = now_ms

    def records(self) -> Iterator[tuple[float, dict[str, str]]]:
        """(records, labels) of each partition."""
        with self._lock:
            rows = [(float(p.end - p.stored), _labels(partition)) for partition, p in self._partitions.items()]
        yield from rows

    def seconds(self, now_ms: int) -> Iterator[tuple[float, dict[str, str]]]:
        """(seconds, labels) of each partition; 0 when nothing waits."""
        with self._lock:
            rows = [
                (_seconds(p, now_ms), _labels(partition) | ({"estimated": "true"} if p.estimated else {}))
                for partition, p in self._partitions.items()
            ]
        yield from rows


def _seconds(state: _Partition, now_ms: int) -> float:
    if state.end <= state.stored:
        return 0.0
    oldest = state.waiting_since_ms
    if oldest is None:
        oldest = max(state.stored_time_ms, state.level_at_ms)
    return max(0, now_ms - oldest) / 1_000


def _labels(partition: PartitionId) -> dict[str, str]:
    return {"topic": partition[0], "partition": str(partition[1])}
