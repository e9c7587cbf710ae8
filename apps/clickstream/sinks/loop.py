"""The one consume loop of both sinks: gather, store, park or hand over what is refused, commit.

Invariants: an offset is committed only when every record before it is in the store or in dead-letters; nothing is
skipped; a store that is away stops progress, never the membership; a stop leaves no half-known state, since storing
a record twice changes nothing.

Deliberately absent: parallel writes. Records of one partition reach the store in their order, and one batch at a time
fills a store's core already; more comes from more replicas.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from clickstream.contracts.telemetry import Telemetry
from clickstream.sinks.continuity import Mark, fingerprint_of
from clickstream.sinks.dead_letters import DeadLetters
from clickstream.sinks.membership import Membership
from clickstream.sinks.meters import Meters
from clickstream.sinks.parking import Bounds, Parking
from clickstream.sinks.patience import Patience
from clickstream.sinks.records import Decode, Place, Record, Refused
from clickstream.sinks.sink import Sink

log = logging.getLogger(__name__)

Item = TypeVar("Item", Record, Refused)

STUCK_SECONDS: Final = 60.0
"""A loop that has made no turn for that long is no longer alive. A turn is not progress: waiting is made of turns."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a batch: records, bytes of their values, and the seconds to wait for more."""

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
        membership: Membership,
        dead_letters: DeadLetters,
        decode: Decode,
        meters: Meters,
        telemetry: Telemetry,
        limits: Limits = Limits(),
        bounds: Bounds | None = None,
    ) -> None:
        self._sink = sink
        self._membership = membership
        self._dead_letters = dead_letters
        self._decode = decode
        self._meters = meters
        self._telemetry = telemetry
        self._limits = limits
        self._parking = Parking(bounds or Bounds())
        self._full = Patience()
        self._marks: dict[Place, Mark] = {}
        self._times: dict[Place, int] = {}
        self._committed: dict[Place, Mark] = {}
        self._stopping = False
        self._turn_at = time.monotonic()
        meters.watch(membership.lag, lambda: self._parking.count)
        membership.on_skipped = meters.skipped
        membership.on_revoked = self._let_go

    def stop(self) -> None:
        """Finish the batch at hand, unless the store is away, and return from `run`. Safe in a signal handler."""
        self._stopping = True

    def healthy(self) -> str | None:
        """None while the loop turns, and no partition is stuck."""
        still = time.monotonic() - self._turn_at
        return self._membership.lag.stalled if still < STUCK_SECONDS else f"the loop has made no turn for {still:.0f} s"

    def ready(self) -> str | None:
        """None once the group has given us our share of partitions (which may be none)."""
        return None if self._membership.joined else "not in the consumer group yet"

    def run(self) -> None:
        """Until `stop`. Raises what `write` raises: a fault of ours."""
        self._sink.beat = self._turn
        while not self._stopping:
            self._turn()
            if self._parking.full():
                self._wait_for_room()
                continue
            messages = self._membership.gather(self._limits.records, self._limits.size, self._limits.linger_seconds)
            if messages:
                self._batch(messages)
            self._retry_parked()
            self._settle()
        log.info("stopped after the last whole batch")

    def _batch(self, messages: list[Any]) -> None:
        began = time.monotonic()
        last: dict[Place, Any] = {}
        records: list[Record] = []
        fate = _Fate()
        for message in messages:
            place = (message.topic(), message.partition())
            if place not in last:
                self._membership.lag.waiting(place, message.timestamp()[1])
            last[place] = message
            decoded = self._decode(message)
            if isinstance(decoded, Record):
                records.append(decoded)
            else:
                fate.refused.append(decoded)
        with self._spans(records):
            done = self._store(records, fate) and self._bury(fate.refused)
        if not done:
            return
        self._park(messages, fate.blocked)
        self._parking.taken(fate.taken)
        for place, message in last.items():
            if not self._membership.lost(place):
                self._marks[place] = Mark(message.offset() + 1, fingerprint_of(message))
                self._times[place] = message.timestamp()[1]
        self._settle()
        self._meters.batch(time.monotonic() - began)

    def _store(self, records: list[Record], fate: _Fate) -> bool:
        """Write until every record is stored, refused or blocked. False: stopped before that."""
        pending: list[Record] = []
        for record in records:
            if self._parking.holds(self._sink.target(record)):
                fate.blocked.append((record, None))
            else:
                pending.append(record)
        patience = Patience()
        while pending:
            outcome = self._sink.write(pending)
            self._meters.outcome(outcome)
            fate.taken += outcome.stored + outcome.known
            fate.refused += outcome.refused
            fate.blocked += [(record, outcome.blocked_by) for record in outcome.blocked]
            if 0 < len(outcome.later) < len(pending):
                patience.reset()  # it moves; only a store that takes nothing is left alone for longer
            pending = outcome.later
            if pending:
                if not self._wait(patience, f"{self._sink.name} refuses for now", outcome.trouble):
                    return False
                pending = self._still_ours(pending)
        self._go_on(patience)
        return True

    def _park(self, messages: list[Any], blocked: list[tuple[Record, str | None]]) -> None:
        """Keep what is blocked, each record with where its partition stood before it."""
        if not blocked:
            return
        before: dict[tuple[Place, int], Mark] = {}
        previous: dict[Place, Mark] = {}
        wanted = {(record.place, record.offset) for record, _ in blocked}
        for message in messages:
            place, offset = (message.topic(), message.partition()), message.offset()
            if (place, offset) in wanted:
                known = previous.get(place) or self._marks.get(place)
                before[place, offset] = Mark(
                    offset, "" if known is None or known.offset != offset else known.fingerprint
                )
            previous[place] = Mark(offset + 1, fingerprint_of(message))
        for record, reason in blocked:
            if not self._membership.lost(record.place):
                self._parking.add(self._sink.target(record), record, before[record.place, record.offset], reason)

    def _retry_parked(self) -> None:
        """Try the targets again whose time has come."""
        while not self._stopping and (found := self._parking.due(self._limits.records)) is not None:
            target, records = found
            self._turn()
            self._meters.retry()
            outcome = self._sink.write(records)
            self._meters.outcome(outcome)
            self._parking.taken(outcome.stored + outcome.known)
            if not self._bury(outcome.refused):
                return
            left = outcome.blocked + outcome.later
            self._parking.tried(target, records, left, outcome.blocked_by or outcome.trouble)

    def _wait_for_room(self) -> None:
        """Fetch nothing while the store takes hardly anything of what is parked."""
        what = f"{self._sink.name} refuses for now, {self._parking.count} records are parked and no more are fetched"
        if self._wait(self._full, what, self._parking.reason()):
            self._retry_parked()
            self._settle()
        if not self._parking.full():
            self._go_on(self._full)
            self._full.reset()

    def _settle(self) -> None:
        """Give up what is parked beyond the bounds; commit, up to the first parked record of each partition."""
        reason = f"{self._sink.name} refused it for too long, and others had to go on; it can be sent again as it is"
        if not self._bury([Refused.by_store(record, "store_blocked", reason) for record in self._parking.overdue()]):
            return
        parked = self._parking.marks()
        marks = {place: parked[place][0] if place in parked else mark for place, mark in self._marks.items()}
        moved = {place: mark for place, mark in marks.items() if self._committed.get(place) != mark}
        self._membership.commit(moved)  # also what failed before
        self._committed = marks
        now_ms = int(time.time() * 1_000)
        for place, mark in moved.items():
            self._membership.lag.stored(place, mark.offset, self._times[place], now_ms)
        for place, (_, time_ms) in parked.items():
            self._membership.lag.waiting(place, time_ms)

    def _let_go(self, places: set[Place]) -> None:
        """The partitions were taken away."""
        self._parking.drop(places)
        for place in places:
            for known in (self._marks, self._committed, self._times):
                known.pop(place, None)

    def _turn(self) -> None:
        self._turn_at = time.monotonic()

    def _bury(self, refused: list[Refused]) -> bool:
        """Deliver dead letters until they are all delivered. False: stopped before that."""
        if not refused:
            return True
        pending = self._still_ours(refused)
        patience = Patience()
        while pending:
            failed, trouble = self._dead_letters.deliver(pending)
            left = {id(item) for item in failed}
            delivered = [item for item in pending if id(item) not in left]
            self._meters.dead(delivered)
            for item in delivered[:3]:
                log.warning(
                    "a record went to dead-letters: %s, %s",
                    item.code,
                    item.reason,
                    extra={"fields": {"topic": item.place[0], "partition": item.place[1], "path": item.path}},
                )
            if failed and not self._wait(patience, "dead letters cannot be delivered for now", trouble):
                return False
            pending = self._still_ours(failed)
        self._go_on(patience)
        return True

    def _wait(self, patience: Patience, what: str, trouble: str | None) -> bool:
        seconds = patience.next_wait()
        self._meters.retry()
        log.warning("%s (attempt %d, next in %.1f s): %s", what, patience.attempts, seconds, trouble)
        self._turn_at = time.monotonic()
        self._membership.wait(seconds, lambda: self._stopping)
        self._turn_at = time.monotonic()
        return not self._stopping

    def _go_on(self, patience: Patience) -> None:
        if patience.attempts:
            log.info("going on after %d attempts", patience.attempts)
        self._membership.resume()

    def _still_ours(self, items: Iterable[Item]) -> list[Item]:
        return [item for item in items if not self._membership.lost(item.place)]

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
                        "messaging.destination.name": record.place[0],
                        "messaging.kafka.offset": record.offset,
                    }
                    spans.enter_context(self._telemetry.span(f"sink {self._sink.name}", record.traceparent, attributes))
            yield
