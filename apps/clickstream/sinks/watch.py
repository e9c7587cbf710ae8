"""Where the partitions end: for the lag, and to find one that does not move although it has records.

The end that comes with a fetch is free, but says nothing about a partition that is not fetched: one that has been
quiet for a while is asked about.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition

from clickstream.sinks.lag import Lag
from clickstream.sinks.records import Place

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


class Watch:
    """Of the partitions of one consumer; writes what it sees into `lag`."""

    def __init__(self, consumer: Any, lag: Lag) -> None:
        self._consumer = consumer
        self._lag = lag
        self._seen: dict[Place, _Seen] = {}
        self._looked_at = 0.0

    def begin(self, place: Place, stored: int | None) -> None:
        """The partition is ours from now on, or is read anew, and everything before `stored` is stored (None: nothing is)."""
        now = time.monotonic()
        self._seen[place] = _Seen(now, now, stored)
        self._look(place, stored, now, held=False)

    def end(self, place: Place) -> None:
        """The partition is ours no more."""
        self._seen.pop(place, None)
        self._lag.revoked([place])

    def moved(self, place: Place) -> None:
        """A record came."""
        self._seen[place].moved_at = time.monotonic()

    def look(self, expected: Mapping[Place, int | None], *, held: bool) -> None:
        """Renew what is known, every half second. `expected`: the next offset to fetch; `held`: nothing is fetched on purpose."""
        now = time.monotonic()
        if now - self._looked_at < EVERY_SECONDS:
            return
        self._looked_at = now
        answered = True
        for place, offset in expected.items():
            answered = self._look(place, offset, now, held=held, ask=answered)
        self._lag.stalled = next(
            (
                f"partition {place[0]}-{place[1]} has records and gave none for {now - seen.moved_at:.0f} s"
                for place, seen in self._seen.items()
                if now - seen.moved_at > STALLED_SECONDS
            ),
            None,
        )

    def _look(self, place: Place, expected: int | None, now: float, *, held: bool, ask: bool = True) -> bool:
        """Whether the brokers answer. Not asked any more when they did not: each question may take a second."""
        seen = self._seen[place]
        quiet = held or now - seen.moved_at > QUIET_SECONDS
        if not seen.known or (quiet and now - seen.asked_at >= QUIET_SECONDS):
            seen.asked_at = now
            if not ask:
                seen.moved_at = now  # whether it has records is not known
                return False
        else:
            ask = False
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=1.0, cached=not ask)
        except KafkaException as error:
            log.info("the end of %s-%d is not known: %s", *place, error.args[0].str())
            seen.moved_at = now
            return False
        if high < 0:
            return True
        now_ms = int(time.time() * 1_000)
        if not seen.known:
            seen.known = True
            self._lag.assigned(place, low if seen.stored is None else seen.stored, now_ms)
        self._lag.seen_end(place, high, now_ms)
        if held or (ask and high <= (low if expected is None else expected)):
            seen.moved_at = now
        return True
