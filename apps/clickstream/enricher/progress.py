"""Whether each owned partition moves: the liveness of the enricher, and its lag.

A partition that has records to read and does not move is stuck, however busy the others are. A recovery that reads on
moves. While the brokers are away nothing can move, and for a while restarting would not bring them back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

STALLED_SECONDS: Final = 120.0
"""Without progress for so long, while there is something to read, the process is restarted (Faust's rebalances can stall)."""

AWAY_SECONDS: Final = 900.0
"""For so long brokers that do not answer are an outage; then this process may be the one that cannot reach them."""

Positions = Callable[[], Iterable[tuple[int, int, int]]]
"""(partition, next offset, time of the last record in ms) of every owned partition."""


@dataclass(slots=True)
class _Partition:
    position: int
    moved_at: float


class Progress:
    """Told by the worker what happens, asked by the probes' thread."""

    def __init__(self, positions: Positions, clock: Callable[[], float] = time.monotonic) -> None:
        self._positions = positions
        self._clock = clock
        self._away_since: float | None = None
        self._ends: dict[int, int] = {}
        self._partitions: dict[int, _Partition] = {}
        self._turned_at = clock()
        self._assigned = False

    def turn(self) -> None:
        """Something that is no chunk goes on: a start, a recovery, a rebalance that was completed."""
        self._turned_at = self._clock()

    def revoked(self) -> None:
        """No partition is ours until `assigned`, which must not take for ever."""
        self._assigned = False
        self._partitions, self._ends = {}, {}
        self.turn()

    def assigned(self) -> None:
        """The state of every partition of ours is there."""
        self._assigned = True
        self.turn()

    def away(self) -> None:
        """The brokers do not answer. To be called again and again, until `answered`."""
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since <= AWAY_SECONDS:
            self._turned_at = now
            for partition in self._partitions.values():
                partition.moved_at = now

    def answered(self) -> None:
        """The brokers answer."""
        self._away_since = None

    def seen_ends(self, ends: dict[int, int]) -> None:
        """The end offset of every owned partition, as the brokers have just told."""
        now = self._clock()
        self._ends = dict(ends)
        partitions = {}
        for partition, position, _ in self._positions():
            known = self._partitions.get(partition)
            if known is None or known.position != position or ends.get(partition, 0) <= position:
                known = _Partition(position, now)
            partitions[partition] = known
        self._partitions = partitions
        self._turned_at = now

    def stuck(self) -> str | None:
        """Why the process should be restarted; None while all is well."""
        now = self._clock()
        if not self._assigned and now - self._turned_at > STALLED_SECONDS:
            return f"no partitions and no recovery for {now - self._turned_at:.0f} s"
        late = {n: now - p.moved_at for n, p in self._partitions.items() if now - p.moved_at > STALLED_SECONDS}
        if late:
            listed = ", ".join(f"{n} for {seconds:.0f} s" for n, seconds in sorted(late.items()))
            return f"partitions with records to read make no progress: {listed}"
        return None

    def lag(self) -> Iterator[tuple[int, int, float]]:
        """(partition, records, seconds) behind the end, as of the last look at the ends (about a second ago)."""
        now = time.time() * 1_000
        for partition, position, timestamp in self._positions():
            end = self._ends.get(partition)
            if end is None:
                continue
            records = max(0, end - position)
            yield partition, records, max(0.0, (now - timestamp) / 1_000) if records and timestamp else 0.0
