"""The partitions assigned to this worker: their state, recovered at assignment, and the processing of a chunk.

The order of writes is the delivery promise (docs/adr/0001): a chunk's output is delivered → the changed keys' changelog
records and, last, the partition's own are delivered → the chunk may be acked. `fold` and `deliver` are two threads'
work: while the brokers take what follows from some chunks, the next ones are folded, so that the state in memory is
ahead of the changelog by the pieces that are under way (docs/adr/0020).

`fold`, `deliver`, `tick` and `assign` block; `drop` never waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.names import Names
from clickstream.enricher.changelog import Record
from clickstream.enricher.journal import Journal
from clickstream.enricher.metrics import Metrics
from clickstream.enricher.output import Output
from clickstream.enricher.processing import Effects, Processing
from clickstream.enricher.sessions import NOTHING_SETTLED, PartitionState, Settled
from clickstream.enricher.source import Look, Position, mark, position_after

log: Final = logging.getLogger(__name__)

IDLE_SECONDS: Final = 60
"""How long a partition must have had nothing to read before the clock may advance its stream time."""
BASE: Final = "base"
"""Header of a partition's record: the base of logical offsets (source.py)."""
MARK: Final = "mark"
"""Header of a partition's record: the mark of the source record that was applied last."""


class ChunkError(Exception):
    """Records are missing between two chunks of a partition, though the topic has them: going on would lose them."""


@dataclass(slots=True)
class Owned:
    """One owned partition.

    `next` is the topic's own offset that the next chunk should start with; `done` is where a restart would begin, and
    `timestamp` the time (ms) of the record before it. `under_way` is the number of pieces in between.
    `settled` is how far the changelog is.
    `mark` is that of the last applied record. `clock` is a time by the brokers' clock (ms), and when it was
    that (monotonic seconds). `read_at` is when the last chunk ended (monotonic seconds).
    """

    state: PartitionState
    journal: Journal
    next: int = 0
    done: int = 0
    under_way: int = 0
    settled: Settled = NOTHING_SETTLED
    base: int = 0
    mark: bytes | None = None
    clock: tuple[int, float] = (0, 0.0)
    read_at: float = 0.0
    timestamp: int = 0

    def record(self) -> Record:
        """The partition's own record for the changelog, as of now."""
        headers: list[tuple[str, bytes]] = []
        if self.base:
            headers.append((BASE, b"%d" % self.base))
        if self.mark is not None:
            headers.append((MARK, self.mark))
        return self.journal.partition(headers)

    def recorded(self, offset: int, at: int) -> None:
        """Its own record is on the changelog, at this offset, since `at` by the brokers' clock (ms)."""
        self.journal.delivered(offset)
        self.clock = (at, time.monotonic())


@dataclass(frozen=True, slots=True)
class Piece:
    """What follows from a chunk, or from closing some sessions before it: in memory applied, on its way to the brokers.

    `changes` are the keys' changelog records, `record` is the partition's own. `chunk`: the records are all folded;
    `fresh` is the number of those that the state did not have.
    """

    partition: int
    owned: Owned
    effects: Effects
    changes: list[Record]
    record: Record
    settles: Settled
    next: int
    timestamp: int
    chunk: bool
    fresh: int


class Stages(NamedTuple):
    """Pieces on their way, each group a stage behind the next: their output, their changes, their partitions' records.

    A stage is under way when the one before it is delivered; the stages of different groups travel together.
    """

    output: Sequence[Piece] = ()
    changes: Sequence[Piece] = ()
    records: Sequence[Piece] = ()


@dataclass(frozen=True, slots=True)
class Recovered:
    """A partition's state as its changelog has it, where to resume, and the foreign records on the changelog.

    `foreign` is their number; the first are in `bad_rows`.
    """

    owned: Owned
    position: Position
    foreign: int
    bad_rows: list[BadRow]


class Recovery(Protocol):
    """Look-ups in Kafka. Blocking; raises RecoveryError, TopicReadError."""

    def recover(self, partitions: Collection[int], go_on: Callable[[], bool]) -> dict[int, Recovered]:
        """The partitions as their changelog has them. Calls `go_on` while it reads; incomplete once that is False."""
        ...

    def changelog_ends(self, partitions: Collection[int]) -> dict[int, int]:
        """The end offset of each changelog partition."""
        ...

    def look(self, partition: int, offset: int) -> Look:
        """What a partition of the source topic holds, at this offset."""
        ...


class Partitions:
    """All owned partitions. `guard` raises when this process was paused."""

    def __init__(
        self,
        names: Names,
        processing: Processing,
        output: Output,
        metrics: Metrics,
        recovery: Recovery,
        guard: Callable[[], None],
    ) -> None:
        self._names = names
        self._processing = processing
        self._output = output
        self._metrics = metrics
        self._recovery = recovery
        self._guard = guard
        self._owned: dict[int, Owned] = {}
        self._before: dict[int, Owned] = {}
        self._generation = 0
        self._stages = Stages()
        # Both, in this order, where a state is read or changed and what follows is written at once.
        self._folding = threading.Lock()
        self._delivering = threading.Lock()

    def assign(self, partitions: Collection[int], progress: Callable[[], None]) -> bool:
        """Own exactly these partitions, with their state from the changelog. False: revoked meanwhile.

        What was owned before and has not been written to since is kept. Calls `progress` while it reads. Raises
        RecoveryError, TopicReadError, OutputError.
        """
        generation, started = self._generation, time.monotonic()

        def go_on() -> bool:
            progress()
            return generation == self._generation

        kept = self._unchanged(partitions)
        recovered = self._recovery.recover([p for p in partitions if p not in kept], go_on)
        with self._folding, self._delivering:
            if generation != self._generation:
                return False
            owned = kept | {partition: found.owned for partition, found in recovered.items()}
            for partition, found in recovered.items():
                self._begin(partition, found)
            for partition, each in owned.items():
                each.read_at = time.monotonic()
                # An owner's first record gives the time by the brokers' clock, and the changelog's end.
                self._guard()
                self._write_partition(partition, each)
            self._before = {}
            self._owned = owned
            if generation != self._generation:  # revoked meanwhile: the next owner reads what is newer
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
        """Own nothing. The state is kept aside: the next assignment may bring it back unchanged."""
        self._generation += 1
        self._before, self._owned = self._before | self._owned, {}

    def fold(self, records: list[Any]) -> Piece:
        """Fold a chunk, or what is to be closed before it; call it again with the same until it is the chunk's piece.

        Each piece must be given to `deliver`, in order. Raises ChunkError, TopicReadError.
        """
        first, last = records[0], records[-1]
        with self._folding:
            owned = self._owned.get(first.partition)
            if owned is None:
                msg = f"a chunk of partition {first.partition}, which is not owned"
                raise ChunkError(msg)
            if first.offset != owned.next:
                self._jumped(first.partition, owned, first.offset)
            effects = self._processing.close(owned.state, owned.settled)
            if effects is not None:
                return self._piece(first.partition, owned, effects)
            fresh = len(records) if first.offset + owned.base > owned.state.applied else 0
            effects = self._processing.chunk(owned.state, records, owned.base)
            if owned.state.applied == last.offset + owned.base:
                owned.mark = mark(last.key, last.value)
            owned.next = last.offset + 1
            owned.read_at = time.monotonic()
            return self._piece(first.partition, owned, effects, last, fresh)

    def deliver(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Send the output of these pieces, and the next stages of those before. Returns those that are through.

        Their chunks may be acked. To be called, also with nothing, while `under_way`. Raises OutputError, PausedError.
        """
        with self._delivering:
            self._stages = stages = Stages(pieces, self._stages.output, self._stages.changes)
            output, names = self._output, self._names
            if stages.changes or stages.records:
                # The state only while this process still owns it: one that was stopped may have lost the partition.
                self._guard()
            for piece in stages.records:
                self._send_record(piece.partition, piece.owned, piece.record)
            for piece in stages.changes:
                output.send(names.enricher_changelog, piece.changes, piece.partition)
            for piece in stages.output:
                self._send_output(piece.effects)
            output.deliver()
            for piece in stages.records:
                piece.owned.settled = piece.settles
                piece.owned.journal.passed(piece.fresh)
                piece.owned.done = piece.next
                if piece.chunk:
                    piece.owned.timestamp = piece.timestamp
                piece.owned.under_way -= 1
        for piece in stages.records:
            self._metrics.count(piece.effects, self._processing.codes(piece.effects))
        return stages.records

    @property
    def under_way(self) -> bool:
        """Whether pieces that were given to `deliver` are not through yet."""
        return bool(self._stages.output or self._stages.changes)

    def tick(self, ends: dict[int, int]) -> None:
        """Close finished sessions on idle partitions; `ends` maps a partition to its end offset.

        The only use of a clock in the enricher: never during a backlog, and it is the brokers' clock, carried on from
        the last time that it was read.
        """
        with self._folding, self._delivering:
            for partition, owned in list(self._owned.items()):
                now, state = time.monotonic(), owned.state
                if ends.get(partition) != owned.done or owned.under_way or now - owned.read_at < IDLE_SECONDS:
                    continue
                told, since = owned.clock
                target = told + int((now - since - IDLE_SECONDS) * 1_000)
                if not state.anything_due(target):
                    continue
                state.stream_time = max(state.stream_time, target)
                # First persist the stream time, then what follows from it: a replay must not see an earlier one.
                self._guard()
                self._write_partition(partition, owned)
                self._close(partition, owned)

    def positions(self) -> Iterator[tuple[int, int, int]]:
        """(partition, offset after what is through, that record's time in ms) of every owned partition."""
        for partition, owned in list(self._owned.items()):
            yield partition, owned.done, owned.timestamp

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
            if not owned.under_way and owned.journal.end is not None and ends.get(partition) == owned.journal.end + 1
        }

    def _begin(self, partition: int, found: Recovered) -> None:
        if found.foreign:
            log.error(
                "the changelog holds records that no enricher wrote; they are ignored, and the first go to "
                "dead-letters",
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
        self._metrics.foreign(found.foreign)
        self._metrics.owns(partition)
        self._tell(partition, found.owned.state.applied - found.owned.base, found.position)
        found.owned.next = found.owned.done = found.position.next
        found.owned.base = found.position.base

    def _jumped(self, partition: int, owned: Owned, offset: int) -> None:
        """Handle a chunk that does not begin where the last one ended: find out what happened to the topic.

        Raises ChunkError.
        """
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
            self._metrics.replaced(partition)
        elif position.skipped:
            log.error(
                "records were deleted before they could be read, and are lost: the retention is shorter than the lag",
                extra={"fields": fields | {"skipped": position.skipped}},
            )
            self._metrics.skipped(partition, position.skipped)

    def _close(self, partition: int, owned: Owned) -> None:
        """Close sessions that are over by the persisted stream time, in pieces: there may be a million."""
        while (effects := self._processing.close(owned.state, owned.settled)) is not None:
            self._send_output(effects)
            self._output.deliver()
            changes = owned.journal.changes(effects.gone, owned.settled)
            self._guard()
            self._output.send(self._names.enricher_changelog, changes, partition)
            self._output.deliver()
            self._write_partition(partition, owned)

    def _piece(self, partition: int, owned: Owned, effects: Effects, last: Any = None, fresh: int = 0) -> Piece:
        """`last` is a chunk's last record, `fresh` as in `Piece`; None: sessions were closed."""
        owned.under_way += 1
        return Piece(
            partition,
            owned,
            effects,
            owned.journal.changes(effects.gone, owned.settled),
            owned.record(),
            owned.state.to_settle,
            owned.next,
            0 if last is None else last.timestamp,
            last is not None,
            fresh,
        )

    def _send_output(self, effects: Effects) -> None:
        output, names = self._output, self._names
        output.send(names.enriched_clicks, effects.enriched)
        output.send(names.sessions, effects.sessions)
        output.send(names.dead_letters, ((None, row.value(), row.headers()) for row in effects.dead_letters))

    def _write_partition(self, partition: int, owned: Owned) -> None:
        self._send_record(partition, owned, owned.record())
        self._output.deliver()
        owned.settled = owned.state.to_settle

    def _send_record(self, partition: int, owned: Owned, record: Record) -> None:
        self._output.send_reporting(self._names.enricher_changelog, record, partition, owned.recorded)
