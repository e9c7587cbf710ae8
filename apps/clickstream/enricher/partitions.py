"""The partitions that this worker owns: their state, recovered at assignment, and a chunk's way through it.

The order of writes is the delivery promise (docs/adr/0001): a chunk's output is delivered → the changed keys' changelog
records are delivered → last, the partition's record → the chunk may be acked. Blocking; called from one thread at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from clickstream.contracts.names import Names
from clickstream.enricher.changelog import partition_record
from clickstream.enricher.measures import Measures
from clickstream.enricher.output import Output
from clickstream.enricher.processing import Effects, Processing
from clickstream.enricher.sessions import PartitionState

log: Final = logging.getLogger(__name__)

IDLE_SECONDS: Final = 60
"""How long a partition must have had nothing to read before the wall clock may advance its stream time."""


class ChunkError(Exception):
    """Records are missing between two chunks of a partition: going on would lose them."""


@dataclass(slots=True)
class Owned:
    """One owned partition. `expected` is the offset that the next chunk must start with, None right after assignment.

    `read_at` is when the last chunk ended (monotonic seconds), `last_timestamp` its last record's time (ms).
    """

    state: PartitionState
    expected: int | None = None
    read_at: float = 0.0
    last_timestamp: int = 0


class Partitions:
    """All owned partitions. `recover` reads the changelog; `guard` raises when this process has been asleep."""

    def __init__(
        self,
        names: Names,
        processing: Processing,
        output: Output,
        measures: Measures,
        recover: Callable[[Collection[int]], dict[int, PartitionState]],
        guard: Callable[[], None],
    ) -> None:
        self._names = names
        self._processing = processing
        self._output = output
        self._measures = measures
        self._recover = recover
        self._guard = guard
        self._owned: dict[int, Owned] = {}
        self._lock = threading.Lock()

    def assign(self, partitions: Collection[int]) -> None:
        """Own exactly these partitions, their state as the changelog has it. Raises RecoveryError."""
        with self._lock:
            self._owned = {}
            started = time.monotonic()
            states = self._recover(partitions)
            self._owned = {partition: Owned(state, read_at=time.monotonic()) for partition, state in states.items()}
        log.info(
            "state recovered",
            extra={
                "fields": {
                    "partitions": sorted(partitions),
                    "keys": sum(len(state.keys) for state in states.values()),
                    "seconds": round(time.monotonic() - started, 3),
                }
            },
        )

    def drop(self) -> None:
        """Own nothing: after a revocation, whoever is assigned next recovers from the changelog."""
        with self._lock:
            self._owned = {}

    def process(self, records: list[Any]) -> None:
        """Process one chunk to the point where it may be acked. Raises ChunkError, OutputError, PausedError."""
        first, last = records[0], records[-1]
        with self._lock:
            owned = self._owned.get(first.partition)
            if owned is None:
                msg = f"a chunk of partition {first.partition}, which is not owned"
                raise ChunkError(msg)
            if owned.expected is not None and first.offset != owned.expected:
                msg = f"partition {first.partition}: expected offset {owned.expected}, got a chunk from {first.offset}"
                raise ChunkError(msg)
            effects = Effects()
            self._processing.close(owned.state, effects)
            self._processing.chunk(owned.state, records, effects)
            self._write(first.partition, owned.state, effects)
            owned.expected = last.offset + 1
            owned.read_at = time.monotonic()
            owned.last_timestamp = last.timestamp
        self._measures.count(effects, self._processing.codes(effects))

    def tick(self, ends: dict[int, int], now_ms: int) -> None:
        """Close what is over on partitions that have been idle for a while; `ends` maps a partition to its end offset.

        The only use of the wall clock in the enricher: never during a backlog, and never ahead of it.
        """
        with self._lock:
            for partition, owned in self._owned.items():
                at_end = ends.get(partition) == (
                    owned.expected if owned.expected is not None else owned.state.applied + 1
                )
                if not at_end or time.monotonic() - owned.read_at < IDLE_SECONDS:
                    continue
                state, target = owned.state, now_ms - IDLE_SECONDS * 1_000
                if not state.anything_due(target):
                    continue
                state.stream_time = max(state.stream_time, target)
                # First the stream time for good, then what follows from it: a replay must not see an earlier one.
                self._output.send_all(self._names.enricher_changelog, [partition_record(state)], partition)
                self._output.deliver()
                effects = Effects()
                self._processing.close(state, effects)
                self._write(partition, state, effects)

    def positions(self) -> Iterator[tuple[int, int | None, int]]:
        """(partition, next offset or None, last record's timestamp in ms) of every owned partition."""
        for partition, owned in list(self._owned.items()):
            yield partition, owned.expected, owned.last_timestamp

    def _write(self, partition: int, state: PartitionState, effects: Effects) -> None:
        output, names = self._output, self._names
        produce = output.produce
        for key, value, headers in effects.enriched:
            produce(names.enriched_clicks, value, key, headers=headers)
        for key, value, headers in effects.sessions:
            produce(names.sessions, value, key, headers=headers)
        for row in effects.dead_letters:
            produce(names.dead_letters, row.value(), headers=row.headers())
        output.deliver()
        self._processing.take_changes(state, effects)
        # A process that was stopped meanwhile may have lost the partition: better not to write at all than too late.
        self._guard()
        if effects.changelog:
            output.send_all(names.enricher_changelog, effects.changelog, partition)
            output.deliver()
        output.send_all(names.enricher_changelog, [partition_record(state)], partition)
        output.deliver()
