"""A new release of the operator changes all pipelines' pods. They take turns, so that a bad release meets a few first.

What a user changes is never held back: only a pipeline that nobody has touched waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from clickstream_operator.naming import Key

HOLD_SECONDS: Final = 600.0
"""How long a pipeline that does not become ready keeps its place. Then the next one is tried."""
UNREADY_HOLD_SECONDS: Final = 60.0
"""The same for one that was not ready before either: it says nothing about the release."""


class Turns:
    """Thread-safe. At most `places` pipelines at once; in memory only, so a restart begins to count anew."""

    def __init__(self, places: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: dict[Key, float] = {}

    def take(self, key: Key, *, was_ready: bool) -> bool:
        """Whether it is this pipeline's turn, as it stays until `done`."""
        with self._lock:
            now = self._clock()
            for other in [each for each, until in self._taken.items() if now >= until]:
                del self._taken[other]
            if key not in self._taken:
                if len(self._taken) >= self._places:
                    return False
                self._taken[key] = now + (HOLD_SECONDS if was_ready else UNREADY_HOLD_SECONDS)
            return True

    def done(self, key: Key) -> None:
        """It is ready, or gone."""
        with self._lock:
            self._taken.pop(key, None)
