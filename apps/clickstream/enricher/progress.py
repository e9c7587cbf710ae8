"""Whether each owned partition makes progress: the liveness of the enricher, and its lag.

A partition that has records to read and makes no progress is stuck, however busy the others are. A recovery that reads
makes progress. While no broker answers nothing can, and for a while a restart would not help.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

STALLED_SECONDS: Final = 120.0
"""Without progress for so long, while there is something to read, the process is restarted (Faust's rebalances can
stall)."""

AWAY_SECONDS: Final = 900.0
"""How long unreachable brokers count as an outage; after that, this process may be the one that cannot reach them."""

Positions = Callable[[], Iterable[tuple[int, int, int]]]
"""(partition, next offset, time of the last record in ms) of every owned partition."""


@dataclass(slots=True)
class _Partition:
    """`moved_at`: monotonic seconds; `level_at`: when nothing was left to read (ms), 0: not since it was assigned."""

    position: int
    moved_at: float
    level_at: float = 0.0


class Progress:
    """Written by the worker, read by the probes' thread."""

    def __init__(
        self,
        positions: Positions,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: monotonic seconds; `wall`: seconds since 1970, as the brokers' times are."""
        self._positions = positions
        self._clock = clock
        self._wall = wall
        self._away_since: float | None = None
        self._ends: dict[int, int] = {}
        self._partitions: dict[int, _Partition] = {}
        self._turned_at = clock()
        self._assigned = False

    def turn(self) -> None:
        """Note progress without a chunk: a start, a recovery, a completed rebalance."""
        self._turned_at = self._clock()

    def revoked(self) -> None:
        """No partition is assigned to this consumer until `assigned`, which must come in time."""
        self._assigned = False
        self._partitions, self._ends = {}, {}
        self.turn()

    def assigned(self) -> None:
        """Every assigned partition is recovered."""
        self._assigned = True
        self.turn()

    def away(self) -> None:
        """The brokers do not answer. To be called repeatedly, until `answered`."""
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since <= AWAY_SECONDS:
            self._turned_at = now
            for partition in self._partitions.values():
                partition.moved_at = now

    def answered(self) -> None:
        self._away_since = None

    def seen_ends(self, ends: dict[int, int]) -> None:
        """Note the end offset of every owned partition, as just read from the brokers."""
        now = self._clock()
        self._ends = dict(ends)
        partitions = {}
        for partition, position, _ in self._positions():
            known = self._partitions.get(partition)
            level = ends.get(partition, 0) <= position
            level_at = self._wall() * 1_000 if level else known.level_at if known is not None else 0.0
            if known is None or known.position != position or level:
                known = _Partition(position, now, level_at)
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

    def lag(self) -> Iterator[tuple[int, int, float | None]]:
        """(partition, records, seconds) behind the end, as of the last reading of the ends (about a second ago).

        The oldest record that waits is not older than the last one that was processed, nor than the last moment at
        which none waited. Seconds None: neither is known yet.
        """
        now = self._wall() * 1_000
        for partition, position, timestamp in self._positions():
            end = self._ends.get(partition)
            if end is None:
                continue
            records = max(0, end - position)
            seen = self._partitions.get(partition)
            since = max(float(timestamp), 0.0 if seen is None else seen.level_at)
            behind = max(0.0, (now - since) / 1_000) if since else None
            yield partition, records, behind if records else 0.0
