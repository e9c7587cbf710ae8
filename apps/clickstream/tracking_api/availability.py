"""Whether it is worth asking Kafka: after a failed delivery only a probe goes through until one has succeeded.

Without this, each request of an outage would wait for its own timeout, and thousands would wait at once. A probe is an
ordinary request, one at a time, so recovery needs nobody's help. That a connection was lost is no reason to refuse
anything: brokers close idle ones all the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

PAUSE_SECONDS: Final = 1.0
"""Between a failure and the next probe."""
PROBE_SECONDS: Final = 10.0
"""After that a probe counts as failed, whether or not its outcome was heard of."""


class Availability:
    """Told of outcomes by the producer's thread, asked by the event loop; each is a few assignments or reads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failing = False
        self._next_probe = 0.0

    def delivered(self) -> bool:
        """Brokers have taken a record. True when that is news."""
        news, self._failing = self._failing, False
        return news

    def failed(self) -> bool:
        """Brokers have not taken a record in time. True when that is news."""
        self._next_probe = self._clock() + PAUSE_SECONDS
        news, self._failing = not self._failing, True
        return news

    def admits(self) -> bool:
        """Whether a request may try: always while all is well, otherwise one at a time."""
        if not self._failing:
            return True
        now = self._clock()
        if now < self._next_probe:
            return False
        self._next_probe = now + PROBE_SECONDS
        return True
