"""Liveness of a sink's partitions: their ends, for the lag, and to find one that makes no progress with records.

The end that comes with a fetch is free, but says nothing about a partition that is not fetched: for one that has been
quiet for a while the brokers are asked. Transaction markers have offsets too, but cannot be read: where the client has
come to the end, nothing is left.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition

from clickstream.sinks.lag import Lag
from clickstream.sinks.records import PartitionId

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 0.5
QUIET_SECONDS: Final = 5.0
"""After that long without a record the brokers are asked for the end."""
STALLED_SECONDS: Final = 120.0


@dataclass(slots=True)
class _Seen:
    moved_at: float
    asked_at: float
    stored: int | None
    """The next offset to store at the assignment; None: the log's beginning. Until `known` it is not in the lag."""
    known: bool = False
    read_to: int = -1
    """The last end that the client came to: everything before it was received."""


class Watch:
    """Of the partitions of one consumer; writes what it sees into `lag`."""

    def __init__(self, consumer: Any, lag: Lag) -> None:
        self._consumer = consumer
        self._lag = lag
        self._seen: dict[PartitionId, _Seen] = {}
        self._looked_at = 0.0

    def begin(self, partition: PartitionId, stored: int | None) -> None:
        """Watch a partition that is assigned or restarted; everything before `stored` is stored (None: nothing is)."""
        now = time.monotonic()
        self._seen[partition] = _Seen(now, now, stored)
        self._look(partition, stored, now, held=False)

    def end(self, partition: PartitionId) -> None:
        """Watch a revoked partition no more."""
        self._seen.pop(partition, None)
        self._lag.revoked([partition])

    def moved(self, partition: PartitionId) -> None:
        self._seen[partition].moved_at = time.monotonic()

    def came_to_end(self, partition: PartitionId, offset: int) -> None:
        """There is nothing more to read before this offset."""
        if partition in self._seen:
            self._seen[partition].read_to = offset

    def look(self, expected: Mapping[PartitionId, int | None], *, held: bool) -> None:
        """Refresh the ends, every half second. `expected`: the next offset to fetch; `held`: fetching is paused."""
        now = time.monotonic()
        if now - self._looked_at < EVERY_SECONDS:
            return
        self._looked_at = now
        answered = True
        for partition, offset in expected.items():
            answered = self._look(partition, offset, now, held=held, ask=answered)
        self._lag.stalled = next(
            (
                f"partition {partition[0]}-{partition[1]} has records and gave none for {now - seen.moved_at:.0f} s"
                for partition, seen in self._seen.items()
                if now - seen.moved_at > STALLED_SECONDS
            ),
            None,
        )

    def _look(self, partition: PartitionId, expected: int | None, now: float, *, held: bool, ask: bool = True) -> bool:
        """Whether the brokers answer. Not asked any more when they did not: each question may take a second."""
        seen = self._seen[partition]
        quiet = held or now - seen.moved_at > QUIET_SECONDS
        if not seen.known or (quiet and now - seen.asked_at >= QUIET_SECONDS):
            seen.asked_at = now
            if not ask:
                seen.moved_at = now  # whether it has records is not known
                return False
        else:
            ask = False
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=1.0, cached=not ask)
        except KafkaException as error:
            log.info("the end of %s-%d is not known: %s", *partition, error.args[0].str())
            seen.moved_at = now
            return False
        if high < 0:
            return True
        now_ms = int(time.time() * 1_000)
        if not seen.known:
            seen.known = True
            self._lag.assigned(partition, low if seen.stored is None else seen.stored, now_ms)
        received = low if expected is None else expected
        if received < high <= seen.read_to:
            high = received
        self._lag.seen_end(partition, high, now_ms)
        if held or (ask and high <= received):
            seen.moved_at = now
        return True
