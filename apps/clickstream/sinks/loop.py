"""The one consume loop of both sinks: poll a batch, store it, park or dead-letter rejected records, commit.

Invariants: an offset is committed only when every record before it is in the store or in dead-letters; nothing is
skipped; an unreachable store stops progress, never the consumer; shutdown is safe at any point, since storing a record
twice changes nothing.

Parallel writes are deliberately absent. Records of one partition reach the store in order, and one batch at a time
already fills a store's core; more throughput comes from more replicas.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from clickstream.runtime.backoff import Backoff
from clickstream.runtime.telemetry import Telemetry
from clickstream.sinks.consumer import SinkConsumer
from clickstream.sinks.continuity import Mark, fingerprint_of
from clickstream.sinks.dead_letters import DeadLetters
from clickstream.sinks.metrics import Metrics
from clickstream.sinks.parking import Bounds, Parking
from clickstream.sinks.records import Decode, PartitionId, Record, Refused
from clickstream.sinks.sink import Sink

log = logging.getLogger(__name__)

Item = TypeVar("Item", Record, Refused)

STUCK_SECONDS: Final = 60.0
"""A loop without a completed iteration for that long is not alive. Waiting for a store iterates, too."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a batch: records, bytes of their values, seconds to wait for more."""

    records: int = 2_000
    size: int = 8 << 20
    linger_seconds: float = 0.25


@dataclass(slots=True)
class _Fate:
    """What became of the records of a batch; a blocked one with the reason, None when it was not tried itself."""

    refused: list[Refused] = field(default_factory=list)
    blocked: list[tuple[Record, str | None]] = field(default_factory=list)
    taken: Counter[str] = field(default_factory=Counter)


class Loop:
    """Feeds one sink. `run` in the main thread; `stop`, `healthy` and `ready` may be called from others."""

    def __init__(
        self,
        sink: Sink,
        consumer: SinkConsumer,
        dead_letters: DeadLetters,
        decode: Decode,
        metrics: Metrics,
        telemetry: Telemetry,
        limits: Limits = Limits(),
        bounds: Bounds | None = None,
    ) -> None:
        self._sink = sink
        self._consumer = consumer
        self._dead_letters = dead_letters
        self._decode = decode
        self._metrics = metrics
        self._telemetry = telemetry
        self._limits = limits
        self._parking = Parking(bounds or Bounds())
        self._full = Backoff()
        self._marks: dict[PartitionId, Mark] = {}
        self._times: dict[PartitionId, int] = {}
        self._committed: dict[PartitionId, Mark] = {}
        self._stopping = False
        self._turn_at = time.monotonic()
        metrics.watch(consumer.lag, lambda: self._parking.count)
        consumer.on_skipped = metrics.skipped
        consumer.on_revoked = self._let_go

    def stop(self) -> None:
        """Finish the current batch, unless the store is unreachable, and return from `run`.

        Safe in a signal handler.
        """
        self._stopping = True

    def healthy(self) -> str | None:
        """None while the loop iterates, and no partition is stuck."""
        still = time.monotonic() - self._turn_at
        return (
            self._consumer.lag.stalled
            if still < STUCK_SECONDS
            else f"the consume loop has completed no iteration for {still:.0f} s"
        )

    def ready(self) -> str | None:
        """None once the group has assigned partitions to this consumer (perhaps none)."""
        return None if self._consumer.joined else "not in the consumer group yet"

    def run(self) -> None:
        """Run until `stop`. Raises what `write` raises: fatal errors."""
        self._sink.beat = self._turn
        while not self._stopping:
            self._turn()
            if self._parking.full():
                self._wait_for_room()
                continue
            messages = self._consumer.poll_batch(self._limits.records, self._limits.size, self._limits.linger_seconds)
            if messages:
                self._batch(messages)
            self._retry_parked()
            self._settle()
        log.info("shut down after the last complete batch")

    def _batch(self, messages: list[Any]) -> None:
        began = time.monotonic()
        last: dict[PartitionId, Any] = {}
        records: list[Record] = []
        fate = _Fate()
        for message in messages:
            partition = (message.topic(), message.partition())
            if partition not in last:
                self._consumer.lag.waiting(partition, message.timestamp()[1])
            last[partition] = message
            decoded = self._decode(message)
            if isinstance(decoded, Record):
                records.append(decoded)
            else:
                fate.refused.append(decoded)
        with self._spans(records):
            done = self._store(records, fate) and self._dead_letter(fate.refused)
        if not done:
            return
        self._park(messages, fate.blocked)
        self._parking.taken(fate.taken)
        for partition, message in last.items():
            if not self._consumer.lost(partition):
                self._marks[partition] = Mark(message.offset() + 1, fingerprint_of(message))
                self._times[partition] = message.timestamp()[1]
        self._settle()
        self._metrics.batch(time.monotonic() - began)

    def _store(self, records: list[Record], fate: _Fate) -> bool:
        """Write until every record is stored, rejected or blocked. False: stopped before that."""
        pending: list[Record] = []
        for record in records:
            if self._parking.holds(self._sink.target(record)):
                fate.blocked.append((record, None))
            else:
                pending.append(record)
        backoff = Backoff()
        while pending:
            outcome = self._sink.write(pending)
            self._metrics.outcome(outcome)
            fate.taken += outcome.stored + outcome.known + outcome.replaced
            fate.refused += outcome.refused
            fate.blocked += [(record, outcome.blocked_by) for record in outcome.blocked]
            if 0 < len(outcome.later) < len(pending):
                backoff.reset()  # progress; only a store that takes nothing gets longer waits
            pending = outcome.later
            if pending:
                if not self._wait(backoff, f"{self._sink.name} temporarily rejects writes", outcome.trouble):
                    return False
                pending = self._still_ours(pending)
        self._resumed(backoff)
        return True

    def _park(self, messages: list[Any], blocked: list[tuple[Record, str | None]]) -> None:
        """Park what is blocked, each record with its partition's position before it."""
        if not blocked:
            return
        before: dict[tuple[PartitionId, int], Mark] = {}
        previous: dict[PartitionId, Mark] = {}
        wanted = {(record.partition, record.offset) for record, _ in blocked}
        for message in messages:
            partition, offset = (message.topic(), message.partition()), message.offset()
            if (partition, offset) in wanted:
                known = previous.get(partition) or self._marks.get(partition)
                before[partition, offset] = Mark(
                    offset, "" if known is None or known.offset != offset else known.fingerprint
                )
            previous[partition] = Mark(offset + 1, fingerprint_of(message))
        for record, reason in blocked:
            if not self._consumer.lost(record.partition):
                self._parking.add(self._sink.target(record), record, before[record.partition, record.offset], reason)

    def _retry_parked(self) -> None:
        """Retry the targets that are due."""
        while not self._stopping and (found := self._parking.due(self._limits.records)) is not None:
            target, records = found
            self._turn()
            self._metrics.retry()
            outcome = self._sink.write(records)
            self._metrics.outcome(outcome)
            self._parking.taken(outcome.stored + outcome.known + outcome.replaced)
            if not self._dead_letter(outcome.refused):
                return
            left = outcome.blocked + outcome.later
            self._parking.tried(target, records, left, outcome.blocked_by or outcome.trouble)

    def _wait_for_room(self) -> None:
        """Fetch nothing while the store takes hardly any parked records."""
        what = (
            f"{self._sink.name} temporarily rejects writes, {self._parking.count} records are parked and no more "
            "are fetched"
        )
        if self._wait(self._full, what, self._parking.reason()):
            self._retry_parked()
            self._settle()
        if not self._parking.full():
            self._resumed(self._full)
            self._full.reset()

    def _settle(self) -> None:
        """Give up records parked beyond the bounds; commit up to the first parked record of each partition."""
        reason = f"{self._sink.name} refused it for too long, and others had to go on; it can be sent again as it is"
        if not self._dead_letter(
            [Refused.by_store(record, "store_blocked", reason) for record in self._parking.overdue()]
        ):
            return
        parked = self._parking.marks()
        marks = {
            partition: parked[partition][0] if partition in parked else mark for partition, mark in self._marks.items()
        }
        moved = {partition: mark for partition, mark in marks.items() if self._committed.get(partition) != mark}
        self._consumer.commit(moved)  # also what failed before
        self._committed = marks
        now_ms = int(time.time() * 1_000)
        for partition, mark in moved.items():
            self._consumer.lag.stored(partition, mark.offset, self._times[partition], now_ms)
        for partition, (_, time_ms) in parked.items():
            self._consumer.lag.waiting(partition, time_ms)

    def _let_go(self, partitions: set[PartitionId]) -> None:
        """Drop the state of revoked partitions."""
        self._parking.drop(partitions)
        for partition in partitions:
            for known in (self._marks, self._committed, self._times):
                known.pop(partition, None)

    def _turn(self) -> None:
        self._turn_at = time.monotonic()

    def _dead_letter(self, refused: list[Refused]) -> bool:
        """Deliver dead letters until they are all delivered. False: stopped before that."""
        if not refused:
            return True
        pending = self._still_ours(refused)
        backoff = Backoff()
        while pending:
            failed, trouble = self._dead_letters.deliver(pending)
            left = {id(item) for item in failed}
            delivered = [item for item in pending if id(item) not in left]
            self._metrics.dead(delivered)
            for item in delivered[:3]:
                log.warning(
                    "a record went to dead-letters: %s, %s",
                    item.code,
                    item.reason,
                    extra={"fields": {"topic": item.partition[0], "partition": item.partition[1], "path": item.path}},
                )
            if failed and not self._wait(backoff, "dead letters cannot be delivered", trouble):
                return False
            pending = self._still_ours(failed)
        self._resumed(backoff)
        return True

    def _wait(self, backoff: Backoff, what: str, trouble: str | None) -> bool:
        seconds = backoff.next_wait()
        self._metrics.retry()
        log.warning("%s (attempt %d, next in %.1f s): %s", what, backoff.attempts, seconds, trouble)
        self._turn_at = time.monotonic()
        self._consumer.wait(seconds, lambda: self._stopping)
        self._turn_at = time.monotonic()
        return not self._stopping

    def _resumed(self, backoff: Backoff) -> None:
        if backoff.attempts:
            log.info("resumed after %d attempts", backoff.attempts)
        self._consumer.resume()

    def _still_ours(self, items: Iterable[Item]) -> list[Item]:
        return [item for item in items if not self._consumer.lost(item.partition)]

    @contextmanager
    def _spans(self, records: list[Record]) -> Iterator[None]:
        """A span for each record that carries a sampled trace; off the path otherwise."""
        if not self._telemetry.tracing:
            yield
            return
        with ExitStack() as spans:
            for record in records:
                if record.traceparent is not None:
                    attributes = {
                        "messaging.destination.name": record.partition[0],
                        "messaging.kafka.offset": record.offset,
                    }
                    spans.enter_context(self._telemetry.span(f"sink {self._sink.name}", record.traceparent, attributes))
            yield
