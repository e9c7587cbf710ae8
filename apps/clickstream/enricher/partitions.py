"""The partitions that this worker owns: their state, recovered at assignment, and a chunk's way through it.

The order of writes is the delivery promise (docs/adr/0001): a chunk's output is delivered → the changed keys' changelog
records and, last, the partition's own are delivered → the chunk may be acked.

`process` and `tick` block and are called from one thread at a time, `assign` from another; `drop` never waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.names import Names
from clickstream.enricher.journal import Journal
from clickstream.enricher.measures import Measures
from clickstream.enricher.output import Output
from clickstream.enricher.processing import Effects, Processing
from clickstream.enricher.sessions import PartitionState
from clickstream.enricher.source import Look, Position, mark, position_after

log: Final = logging.getLogger(__name__)

IDLE_SECONDS: Final = 60
"""How long a partition must have had nothing to read before the clock may advance its stream time."""
BASE: Final = "base"
"""Header of a partition's record: what is added to the topic's offsets (source.py)."""
MARK: Final = "mark"
"""Header of a partition's record: the mark of the source record that was applied last."""


class ChunkError(Exception):
    """Records are missing between two chunks of a partition, though the topic has them: going on would lose them."""


@dataclass(slots=True)
class Owned:
    """One owned partition.

    `next` is the topic's own offset that the next chunk should start with.
    `mark` is that of the last applied record. `clock` is a time by the brokers' clock (ms), and when it was
    that (monotonic seconds). `read_at` is when the last chunk ended (monotonic seconds), `timestamp` its last
    record's time (ms).
    """

    state: PartitionState
    journal: Journal
    next: int = 0
    base: int = 0
    mark: bytes | None = None
    clock: tuple[int, float] = (0, 0.0)
    read_at: float = 0.0
    timestamp: int = 0


@dataclass(frozen=True, slots=True)
class Recovered:
    """A partition's state as its changelog has it, where to read on, and what on the changelog was no record of ours.

    Of `foreign` such records the first are in `bad_rows`.
    """

    owned: Owned
    position: Position
    foreign: int
    bad_rows: list[BadRow]


class Recovery(Protocol):
    """Looks things up in Kafka. Blocking; raises RecoveryError, SourceError."""

    def recover(self, partitions: Collection[int], go_on: Callable[[], bool]) -> dict[int, Recovered]:
        """The partitions as their changelog has them. Calls `go_on` while it reads; answers anything when that is False."""
        ...

    def changelog_ends(self, partitions: Collection[int]) -> dict[int, int]:
        """The end offset of each changelog partition."""
        ...

    def look(self, partition: int, offset: int) -> Look:
        """What a partition of the source topic holds, at this offset."""
        ...


class Partitions:
    """All owned partitions. `guard` raises when this process has been asleep."""

    def __init__(
        self,
        names: Names,
        processing: Processing,
        output: Output,
        measures: Measures,
        recovery: Recovery,
        guard: Callable[[], None],
    ) -> None:
        self._names = names
        self._processing = processing
        self._output = output
        self._measures = measures
        self._recovery = recovery
        self._guard = guard
        self._owned: dict[int, Owned] = {}
        self._before: dict[int, Owned] = {}
        self._generation = 0
        self._lock = threading.Lock()

    def assign(self, partitions: Collection[int], progress: Callable[[], None]) -> bool:
        """Own exactly these partitions, their state as the changelog has it. False: revoked again meanwhile.

        What was owned before and was written to by nobody since is kept as it is. Calls `progress` while it reads. Raises RecoveryError, SourceError,
        OutputError.
        """
        generation, started = self._generation, time.monotonic()

        def go_on() -> bool:
            progress()
            return generation == self._generation

        kept = self._unchanged(partitions)
        recovered = self._recovery.recover([p for p in partitions if p not in kept], go_on)
        with self._lock:
            if generation != self._generation:
                return False
            owned = kept | {partition: found.owned for partition, found in recovered.items()}
            for partition, found in recovered.items():
                self._begin(partition, found)
            for partition, each in owned.items():
                each.read_at = time.monotonic()
                # The first record of an owner tells the time by the brokers' clock, and where the changelog stands.
                self._guard()
                self._write_partition(partition, each)
            self._before = {}
            self._owned = owned
            if generation != self._generation:  # revoked while we wrote: whoever it was given to reads what is newer
                self._owned = {}
                return False
        fields = {
            "partitions": sorted(recovered),
            "kept": sorted(kept),
            "keys": sum(len(found.owned.state.keys) for found in recovered.values()),
            "seconds": round(time.monotonic() - started, 3),
        }
        log.info("state recovered", extra={"fields": fields})
        return True

    def drop(self) -> None:
        """Own nothing. What was owned is kept aside: it may be ours again, unchanged, at the next assignment."""
        self._generation += 1
        self._before, self._owned = self._before | self._owned, {}

    def process(self, records: list[Any]) -> None:
        """Process one chunk to the point where it may be acked.

        Raises ChunkError, OutputError, PausedError, SourceError.
        """
        first, last = records[0], records[-1]
        with self._lock:
            owned = self._owned.get(first.partition)
            if owned is None:
                msg = f"a chunk of partition {first.partition}, which is not owned"
                raise ChunkError(msg)
            if first.offset != owned.next:
                self._jumped(first.partition, owned, first.offset)
            self._close(first.partition, owned)
            effects = self._processing.chunk(owned.state, records, owned.base)
            if owned.state.applied == last.offset + owned.base:
                owned.mark = mark(last.key, last.value)
            self._write(first.partition, owned, effects)
            owned.next = last.offset + 1
            owned.read_at = time.monotonic()
            owned.timestamp = last.timestamp
        self._measures.count(effects, self._processing.codes(effects))

    def tick(self, ends: dict[int, int]) -> None:
        """Close what is over on partitions that have been idle for a while; `ends` maps a partition to its end offset.

        The only use of a clock in the enricher: never during a backlog, and it is the brokers', carried on from the
        last time that they told it.
        """
        with self._lock:
            for partition, owned in list(self._owned.items()):
                now, state = time.monotonic(), owned.state
                if ends.get(partition) != owned.next or now - owned.read_at < IDLE_SECONDS:
                    continue
                told, since = owned.clock
                target = told + int((now - since - IDLE_SECONDS) * 1_000)
                if not state.anything_due(target):
                    continue
                state.stream_time = max(state.stream_time, target)
                # First the stream time for good, then what follows from it: a replay must not see an earlier one.
                self._guard()
                self._write_partition(partition, owned)
                self._close(partition, owned)

    def positions(self) -> Iterator[tuple[int, int, int]]:
        """(partition, next offset, last record's timestamp in ms) of every owned partition."""
        for partition, owned in list(self._owned.items()):
            yield partition, owned.next, owned.timestamp

    def next_offset(self, partition: int) -> int | None:
        """The topic's own offset from which a partition is to be read; None if it is not owned."""
        owned = self._owned.get(partition)
        return None if owned is None else owned.next

    def _unchanged(self, partitions: Collection[int]) -> dict[int, Owned]:
        before = {partition: owned for partition, owned in self._before.items() if partition in partitions}
        ends = self._recovery.changelog_ends(list(before))
        return {
            partition: owned
            for partition, owned in before.items()
            if owned.journal.end is not None and ends.get(partition) == owned.journal.end + 1
        }

    def _begin(self, partition: int, found: Recovered) -> None:
        if found.foreign:
            log.error(
                "the changelog holds records that no enricher wrote; they are ignored, and the first go to dead-letters",
                extra={
                    "fields": {
                        "topic": self._names.enricher_changelog,
                        "partition": partition,
                        "records": found.foreign,
                    }
                },
            )
        letters = ((None, row.value(), row.headers()) for row in found.bad_rows)
        self._output.send(self._names.dead_letters, letters)
        self._measures.foreign(found.foreign)
        self._tell(partition, found.owned.state.applied - found.owned.base, found.position)
        found.owned.next, found.owned.base = found.position.next, found.position.base

    def _jumped(self, partition: int, owned: Owned, offset: int) -> None:
        """A chunk does not begin where the last one ended: take note of what happened to the topic. Raises ChunkError."""
        applied = owned.state.applied
        look = self._recovery.look(partition, owned.next if offset > owned.next else applied - owned.base)
        if offset > owned.next:
            if look.low <= owned.next and look.found is not None and look.found < offset:
                msg = f"partition {partition}: expected offset {owned.next}, got a chunk from {offset}"
                raise ChunkError(msg)
            skipped = max(0, min(look.low, offset) - owned.next)  # beyond that: the markers of transactions
            position = Position(offset, owned.base, skipped)
        else:
            if applied >= 0 and not position_after(applied, owned.base, owned.mark, look).replaced:
                msg = f"partition {partition}: expected offset {owned.next}, got a chunk from {offset} once more"
                raise ChunkError(msg)
            position = Position(offset, applied + 1 - offset, replaced=True)
        self._tell(partition, owned.next - 1, position)
        owned.next, owned.base = position.next, position.base

    def _tell(self, partition: int, last: int, position: Position) -> None:
        fields = {
            "topic": self._names.raw_clicks,
            "partition": partition,
            "last_offset": last,
            "next_offset": position.next,
        }
        if position.replaced:
            log.error(
                "the topic is another one than before (created anew, truncated or restored): it is read from its"
                " beginning; clicks that are known already are not counted again",
                extra={"fields": fields},
            )
            self._measures.replaced(partition)
        elif position.skipped:
            log.error(
                "records were deleted before they could be read, and are lost: the retention is shorter than the lag",
                extra={"fields": fields | {"skipped": position.skipped}},
            )
            self._measures.skipped(partition, position.skipped)

    def _close(self, partition: int, owned: Owned) -> None:
        """Close what is over by the persisted stream time, in pieces: after an idle night that may be a million sessions."""
        while (effects := self._processing.close(owned.state)) is not None:
            self._write(partition, owned, effects)

    def _write(self, partition: int, owned: Owned, effects: Effects) -> None:
        output, names = self._output, self._names
        # 1. The output.
        output.send(names.enriched_clicks, effects.enriched)
        output.send(names.sessions, effects.sessions)
        output.send(names.dead_letters, ((None, row.value(), row.headers()) for row in effects.dead_letters))
        output.deliver()
        # 2. The state, if it is still ours to write: a process that was stopped meanwhile may have lost the partition.
        changes = owned.journal.changes(effects.gone)
        self._guard()
        output.send(names.enricher_changelog, changes, partition)
        output.deliver()
        # 3. The partition's own record: from now on all of it counts.
        self._write_partition(partition, owned)

    def _write_partition(self, partition: int, owned: Owned) -> None:
        headers: list[tuple[str, bytes]] = []
        if owned.base:
            headers.append((BASE, b"%d" % owned.base))
        if owned.mark is not None:
            headers.append((MARK, owned.mark))
        record = owned.journal.partition(headers)
        offset, at = self._output.send_last(self._names.enricher_changelog, record, partition)
        owned.journal.delivered(offset)
        owned.clock = (at, time.monotonic())
