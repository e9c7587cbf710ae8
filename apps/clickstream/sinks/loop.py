"""The one consume loop of both sinks: gather, store, hand over what is refused, commit.

Invariants: an offset is committed only when every record before it is in the store or in dead-letters; nothing is
skipped; a store that is away stops progress, never the membership; a stop leaves no half-known state, since storing
a record twice changes nothing.

Deliberately absent: parallel writes. Records of one partition reach the store in their order, and one batch at a time
fills a store's core already; more comes from more replicas.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from clickstream.contracts.telemetry import Telemetry
from clickstream.sinks.dead_letters import DeadLetters
from clickstream.sinks.membership import Membership
from clickstream.sinks.meters import Meters
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
    ) -> None:
        self._sink = sink
        self._membership = membership
        self._dead_letters = dead_letters
        self._decode = decode
        self._meters = meters
        self._telemetry = telemetry
        self._limits = limits
        self._stopping = False
        self._turn_at = time.monotonic()
        meters.watch(membership.lag)

    def stop(self) -> None:
        """Finish the batch at hand, unless the store is away, and return from `run`. Safe in a signal handler."""
        self._stopping = True

    def healthy(self) -> str | None:
        """None while the loop turns."""
        still = time.monotonic() - self._turn_at
        return None if still < STUCK_SECONDS else f"the loop has made no turn for {still:.0f} s"

    def ready(self) -> str | None:
        """None once the group has given us our share of partitions (which may be none)."""
        return None if self._membership.joined else "not in the consumer group yet"

    def run(self) -> None:
        """Until `stop`. Raises what `write` raises: a fault of ours."""
        while not self._stopping:
            self._turn_at = time.monotonic()
            messages = self._membership.gather(self._limits.records, self._limits.size, self._limits.linger_seconds)
            if messages:
                self._batch(messages)
            else:
                self._membership.commit({})  # what failed before
        log.info("stopped after the last whole batch")

    def _batch(self, messages: list[Any]) -> None:
        began = time.monotonic()
        offsets: dict[Place, int] = {}
        times: dict[Place, int] = {}
        records: list[Record] = []
        refused: list[Refused] = []
        for message in messages:
            place = (message.topic(), message.partition())
            time_ms = message.timestamp()[1]
            if place not in offsets:
                self._membership.lag.waiting(place, time_ms)
            offsets[place] = message.offset() + 1
            times[place] = time_ms
            decoded = self._decode(message)
            if isinstance(decoded, Record):
                records.append(decoded)
            else:
                refused.append(decoded)
        with self._spans(records):
            done = self._store(records, refused) and self._bury(refused)
        if not done:
            return
        self._membership.commit(offsets)
        now_ms = int(time.time() * 1_000)
        for place, offset in offsets.items():
            if not self._membership.lost(place):
                self._membership.lag.stored(place, offset, times[place], now_ms)
        self._meters.batch(time.monotonic() - began)

    def _store(self, records: list[Record], refused: list[Refused]) -> bool:
        """Write until everything is stored or refused (then added to `refused`). False: stopped before that."""
        pending = records
        patience = Patience()
        while pending:
            outcome = self._sink.write(pending)
            self._meters.outcome(outcome)
            refused.extend(outcome.refused)
            if 0 < len(outcome.later) < len(pending):
                patience.reset()  # it moves; only a store that takes nothing is left alone for longer
            pending = outcome.later
            if pending:
                if not self._wait(patience, f"{self._sink.name} refuses for now", outcome.trouble):
                    return False
                pending = self._still_ours(pending)
        self._go_on(patience)
        return True

    def _bury(self, refused: list[Refused]) -> bool:
        """Deliver dead letters until they are all delivered. False: stopped before that."""
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
