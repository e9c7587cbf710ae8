"""Whether it is worth asking Kafka: after a failed delivery only a probe goes through until one has succeeded.

Without this, each request of an outage would wait for its own timeout, and thousands would wait at once. A probe is an
ordinary request, so recovery needs nobody's help. That a connection was lost is no reason to refuse anything:
brokers close idle ones all the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

PROBE_SECONDS: Final = 1.0


class Availability:
    """Told of outcomes by the producer's thread, asked by the event loop; each is a single assignment or read."""

    def __init__(self, clock: Callable[[], float], probe_seconds: float = PROBE_SECONDS) -> None:
        self._clock = clock
        self._probe_seconds = probe_seconds
        self._failing = False
        self._next_probe = 0.0

    @property
    def failing(self) -> bool:
        """Whether the latest outcome was a failure."""
        return self._failing

    def delivered(self) -> bool:
        """Brokers have taken a record. True when that is news."""
        news, self._failing = self._failing, False
        return news

    def failed(self) -> bool:
        """Brokers have not taken a record in time. True when that is news."""
        if self._failing:
            return False
        self._next_probe = self._clock()
        self._failing = True
        return True

    def admits(self) -> bool:
        """Whether a request may try: always while all is well, otherwise one each `probe_seconds`."""
        if not self._failing:
            return True
        now = self._clock()
        if now < self._next_probe:
            return False
        self._next_probe = now + self._probe_seconds
        return True
