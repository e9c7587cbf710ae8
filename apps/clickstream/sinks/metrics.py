"""The SLIs of a sink: records stored, known and rejected, how long it took, and the lag."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from clickstream.runtime.telemetry import (
    BATCH_SECONDS,
    CLICK_TO_STORE,
    DEAD_LETTERS,
    DUPLICATES,
    LAG_RECORDS,
    LAG_SECONDS,
    PARKED,
    REPLACED,
    SKIPPED,
    STORED,
    Telemetry,
)
from clickstream.sinks.lag import Lag
from clickstream.sinks.records import PartitionId, Record, Refused, StoredClick
from clickstream.sinks.sink import CLICK, RETRACTION, SESSION, Outcome

RETRIES: Final = "clickstream.store.retries"

BATCH_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

SAMPLES: Final = 64
"""Observations of click-to-store a batch, at most: one costs some 15 µs, and the clicks of a batch differ little."""


class Metrics:
    """One per process.

    Labels: `sink`, `kind` (click, session, retraction), `stage` and `code`, `topic` and `partition`.
    """

    def __init__(self, telemetry: Telemetry, sink: str) -> None:
        self._sink = sink
        self._stored = telemetry.counter(STORED, "Records that are new in the store, by kind.")
        self._known = telemetry.counter(DUPLICATES, "Records that the store had already, or had in a newer version.")
        self._replaced = telemetry.counter(REPLACED, "Stored clicks that a replay changed.")
        self._dead = telemetry.counter(DEAD_LETTERS, "Records that were sent to dead-letters, by stage and code.")
        self._retries = telemetry.counter(
            RETRIES, "Attempts that the store (or Kafka, for dead letters) rejected temporarily."
        )
        self._skipped = telemetry.counter(
            SKIPPED, "Records that were gone before they could be read, at least; 1 for a log that became another one."
        )
        self._batch = telemetry.histogram(BATCH_SECONDS, "Time to store one batch, waits included.", BATCH_BUCKETS)
        self._click_to_store = telemetry.histogram(
            CLICK_TO_STORE,
            "From the receipt of a click to the store's acknowledgement; evenly sampled in large batches.",
        )
        self._telemetry = telemetry
        # Series that exist from the start: a rate over a counter that appears with its first error misses that error.
        for kind in (CLICK, SESSION, RETRACTION):
            self._stored.add(0, {"sink": sink, "kind": kind})
            self._known.add(0, {"sink": sink, "kind": kind})
        self._retries.add(0, {"sink": sink})
        self._replaced.add(0, {"sink": sink, "kind": CLICK})
        self._dead.add(0, {"stage": f"sink-{sink}", "code": "malformed_record"})

    def watch(self, lag: Lag, parked: Callable[[], int]) -> None:
        """Expose the lag and the number of parked records."""
        self._telemetry.gauge(
            PARKED,
            "Records that a blocked part of the store rejects temporarily, kept in memory while others continue.",
            lambda: [(float(parked()), {"sink": self._sink})],
        )
        self._telemetry.gauge(LAG_RECORDS, "Records that are not in the store yet.", lag.records)
        self._telemetry.gauge(
            LAG_SECONDS,
            "Age of the oldest record that is not in the store yet.",
            lambda: lag.seconds(int(time.time() * 1_000)),
            "s",
        )

    def outcome(self, outcome: Outcome) -> None:
        """Count what one write did."""
        counted = ((self._stored, outcome.stored), (self._known, outcome.known), (self._replaced, outcome.replaced))
        for counter, counts in counted:
            for kind, count in counts.items():
                if count:
                    counter.add(count, {"sink": self._sink, "kind": kind})
        self._observe(outcome.acknowledged, time.time() * 1_000)

    def retry(self) -> None:
        self._retries.add(1, {"sink": self._sink})

    def skipped(self, partition: PartitionId, count: int) -> None:
        """Count records that were deleted before they could be read."""
        self._skipped.add(count, {"topic": partition[0], "partition": str(partition[1])})

    def dead(self, refused: Iterable[Refused]) -> None:
        """Count delivered dead letters."""
        for code, count in Counter(item.code for item in refused).items():
            self._dead.add(count, {"stage": f"sink-{self._sink}", "code": code})

    def batch(self, seconds: float) -> None:
        self._batch.record(seconds, {"sink": self._sink})

    def _observe(self, clicks: Sequence[Record], now_ms: float) -> None:
        step = max(1, -(-len(clicks) // SAMPLES))
        for record in clicks[::step]:
            click = record.content
            assert isinstance(click, StoredClick)
            self._click_to_store.record(max(0.0, now_ms - click.received_at) / 1_000, {"sink": self._sink})
