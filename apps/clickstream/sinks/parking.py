"""Records that one part of a store (an index, a partition) rejects temporarily, kept in memory while others continue.

They are retried with backoff. Nothing at or after the first of them is committed in its Kafka partition, so that a
process that ends meanwhile loses none. Records, bytes and time are bounded: above half of the room, and after a while,
the oldest are given up, but only while the store takes other records of their kind. A store that takes hardly any
counts as unreachable; once the room is full, the sink waits for it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from clickstream.runtime.backoff import Backoff
from clickstream.sinks.continuity import Mark
from clickstream.sinks.records import PartitionId, Record
from clickstream.sinks.sink import CLICK, SESSION, kind_of

log = logging.getLogger(__name__)

OVERHEAD_BYTES: Final = 1_024
"""Memory of a record beside its value, roughly."""


_TAKEN_SHARE: Final = 0.25
"""So many records, compared with those parked, must be taken for the store to count as reachable."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The room for all that is parked: records and bytes; and seconds for each record."""

    records: int = 10_000
    size: int = 64 << 20
    seconds: float = 900.0


@dataclass(frozen=True, slots=True)
class _Parked:
    record: Record
    mark: Mark
    since: float

    @property
    def size(self) -> int:
        return len(self.record.value) + OVERHEAD_BYTES


@dataclass(slots=True)
class _Target:
    due_at: float
    reason: str
    parked: deque[_Parked] = field(default_factory=deque)
    backoff: Backoff = field(default_factory=Backoff)


class Parking:
    """By target (`Sink.target`). Written by the loop; `count` may be read by another thread."""

    def __init__(self, bounds: Bounds = Bounds(), clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        self._targets: dict[str, _Target] = {}
        self._size = 0
        self._parked: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()
        self.count = 0

    def holds(self, target: str) -> bool:
        """Whether records of that target are parked; further ones need not be tried."""
        return target in self._targets

    def add(self, target: str, record: Record, mark: Mark, reason: str | None) -> None:
        """Park a record. `mark`: its partition's position before it; `reason`: None when it was not tried itself."""
        there = self._targets.get(target)
        if there is None:
            there = self._targets[target] = _Target(0.0, reason or "")
            there.due_at = self._clock() + there.backoff.next_wait()
            log.warning(
                "%s is temporarily rejected; its records are parked and retried, others continue: %s", target, reason
            )
        parked = _Parked(record, mark, self._clock())
        there.parked.append(parked)
        self._count(parked, 1)
        self._parked[_topic(kind_of(record))] += 1

    def taken(self, counts: Counter[str]) -> None:
        """Note that the store took other records, by kind."""
        if self._targets:
            for kind, count in counts.items():
                self._taken[_topic(kind)] += count

    def due(self, limit: int) -> tuple[str, list[Record]] | None:
        """A target that is due, with its oldest records, at most `limit`; they stay until `tried`."""
        now = self._clock()
        for name, target in self._targets.items():
            if target.due_at <= now:
                return name, [each.record for _, each in zip(range(limit), target.parked, strict=False)]
        return None

    def tried(self, name: str, tried: Iterable[Record], left: Iterable[Record], reason: str | None) -> None:
        """The result of `due`: of the `tried` records, those that are `left` are still temporarily rejected."""
        target = self._targets.get(name)
        if target is None:
            return
        still = {id(record) for record in left}
        done = {id(record) for record in tried} - still
        target.parked = self._without(target.parked, lambda each: id(each.record) in done)
        if still:
            target.reason = reason or target.reason
            target.due_at = self._clock() + target.backoff.next_wait()
        self._drop_empty("takes records again: all that were parked are stored")

    def overdue(self) -> list[Record]:
        """The oldest records beyond the bounds, to be given up; none while the store takes hardly any of their kind."""
        found: list[Record] = []
        while (name := self._oldest()) is not None:
            oldest = self._targets[name].parked[0]
            too_old = self._clock() - oldest.since > self._bounds.seconds
            if not (too_old or self._fills(0.5)) or self._is_away(kind_of(oldest.record)):
                break
            self._targets[name].parked.popleft()
            self._count(oldest, -1)
            found.append(oldest.record)
            self._drop_empty("has no parked records any more: the last were given up")
        return found

    def full(self) -> bool:
        """Whether there is no room for more, so that the sink must wait for the store."""
        return self._fills(1.0)

    def reason(self) -> str:
        """Why the store rejects records, for the log."""
        return "; ".join(f"{name}: {target.reason}" for name, target in list(self._targets.items())[:3])

    def marks(self) -> dict[PartitionId, tuple[Mark, int]]:
        """For each Kafka partition: its position before its first parked record, and that record's time in ms."""
        found: dict[PartitionId, tuple[Mark, int]] = {}
        for target in self._targets.values():
            for each in target.parked:
                other = found.get(each.record.partition)
                if other is None or each.mark.offset < other[0].offset:
                    found[each.record.partition] = each.mark, each.record.time_ms
        return found

    def drop(self, partitions: Iterable[PartitionId]) -> None:
        """Forget the records of revoked partitions; their next owner reads them again."""
        gone = set(partitions)
        for target in self._targets.values():
            target.parked = self._without(target.parked, lambda each: each.record.partition in gone)
        self._drop_empty("has no parked records any more: their partitions moved")

    def _without(self, parked: deque[_Parked], leaves: Callable[[_Parked], bool]) -> deque[_Parked]:
        kept: deque[_Parked] = deque()
        for each in parked:
            if leaves(each):
                self._count(each, -1)
            else:
                kept.append(each)
        return kept

    def _count(self, parked: _Parked, sign: int) -> None:
        self.count += sign
        self._size += sign * parked.size

    def _oldest(self) -> str | None:
        return min(self._targets, key=lambda name: self._targets[name].parked[0].since, default=None)

    def _fills(self, share: float) -> bool:
        return self.count > share * self._bounds.records or self._size > share * self._bounds.size

    def _is_away(self, kind: str) -> bool:
        topic = _topic(kind)
        return self._taken[topic] < _TAKEN_SHARE * self._parked[topic]

    def _drop_empty(self, what: str) -> None:
        for name in [name for name, target in self._targets.items() if not target.parked]:
            del self._targets[name]
            log.info("%s %s", name, what)
        if not self._targets:
            self._parked.clear()
            self._taken.clear()


def _topic(kind: str) -> str:
    """Session records and retractions are of one kind here."""
    return CLICK if kind == CLICK else SESSION
