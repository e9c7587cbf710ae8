"""The enricher's SLIs (runtime/telemetry.py has their names)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from clickstream.enricher.join_tables import JoinTable
from clickstream.enricher.processing import Effects
from clickstream.runtime.telemetry import (
    DEAD_LETTERS,
    DUPLICATES,
    JOIN_IGNORED,
    JOIN_ROWS,
    JOIN_STALENESS,
    LAG_RECORDS,
    LAG_SECONDS,
    LATE,
    PROCESSED,
    SKIPPED,
    Telemetry,
)

STAGE: Final = "enrich"
REPLACED: Final = "clickstream.enricher.source_replaced"
FORGOTTEN: Final = "clickstream.enricher.forgotten_ids"
FOREIGN: Final = "clickstream.enricher.foreign_changelog_records"


class Metrics:
    """Counters, added to once a chunk, and lag gauges. `topic` is the source's."""

    def __init__(self, telemetry: Telemetry, topic: str) -> None:
        self._telemetry = telemetry
        self._topic = topic
        self._processed = telemetry.counter(PROCESSED, "Records read from raw-clicks")
        self._duplicates = telemetry.counter(DUPLICATES, "Clicks dropped because their event_id was seen before")
        self._late = telemetry.counter(LATE, "Clicks that came late: stored and flagged")
        self._dead = telemetry.counter(DEAD_LETTERS, "Records sent to dead-letters")
        self._skipped = telemetry.counter(SKIPPED, "Records that the retention deleted before they could be read")
        self._replaced = telemetry.counter(
            REPLACED, "How often a partition's offsets went back: the topic was replaced"
        )
        self._forgotten = telemetry.counter(FORGOTTEN, "Event ids given up for the bound of their key")
        self._foreign = telemetry.counter(FOREIGN, "Changelog records that no enricher wrote; they are ignored")

    def count(self, effects: Effects, codes: Counter[str]) -> None:
        self._processed.add(effects.processed)
        self._duplicates.add(effects.duplicates)
        self._late.add(effects.late)
        self._forgotten.add(effects.forgotten)
        for code, number in codes.items():
            self._dead.add(number, {"stage": STAGE, "code": code})

    def owns(self, partition: int) -> None:
        """Begin the partition's series: a rate over a series that appears with its first error misses that error."""
        self.skipped(partition, 0)
        self._replaced.add(0, {"topic": self._topic, "partition": str(partition)})

    def skipped(self, partition: int, records: int) -> None:
        """Count records that were deleted before they could be read."""
        self._skipped.add(records, {"topic": self._topic, "partition": str(partition)})

    def replaced(self, partition: int) -> None:
        """Count one partition whose offsets went back."""
        self._replaced.add(1, {"topic": self._topic, "partition": str(partition)})

    def foreign(self, records: int) -> None:
        """Count changelog records that no enricher wrote."""
        self._foreign.add(records)

    def watch_lag(self, lag: Callable[[], Iterable[tuple[int, int, float | None]]]) -> None:
        """Expose lag: `lag` gives (partition, records, seconds, None if not known) of every owned partition."""
        self._telemetry.gauge(
            LAG_RECORDS,
            "Records between the position and the end of the partition",
            lambda: [(records, {"topic": self._topic, "partition": str(number)}) for number, records, _ in lag()],
        )
        self._telemetry.gauge(
            LAG_SECONDS,
            "Age of the oldest unprocessed record, at most; 0 at the end of the partition",
            lambda: [
                (seconds, {"topic": self._topic, "partition": str(number)})
                for number, _, seconds in lag()
                if seconds is not None
            ],
            unit="s",
        )

    def watch_joins(self, tables: Sequence[JoinTable]) -> None:
        """Expose each join's rows, invalid records, and the seconds since the rows were last known to be complete."""
        self._telemetry.observed_counter(
            JOIN_IGNORED,
            "Records of a joined topic that are no rows",
            lambda: [(table.ignored, {"join": table.name}) for table in tables],
        )
        self._telemetry.gauge(
            JOIN_ROWS, "Rows of a joined table", lambda: [(table.rows, {"join": table.name}) for table in tables]
        )
        self._telemetry.gauge(
            JOIN_STALENESS,
            "Time since a joined table was last known to be up to date",
            lambda: [(table.staleness, {"join": table.name}) for table in tables],
            unit="s",
        )
