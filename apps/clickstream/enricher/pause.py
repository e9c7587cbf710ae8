"""Notices that the whole process was stopped for a while (SIGSTOP, a frozen machine, a suspended VM).

Kafka has reassigned the partitions of such a process meanwhile. What it would write is outdated: it must not touch the
changelog, but restart. A slow chunk is different: the heartbeat continues, and so does the thread here.
"""

from __future__ import annotations

import threading
import time
from typing import Final

TICK_SECONDS: Final = 0.5


class PausedError(Exception):
    """This process was stopped for longer than its Kafka session lives."""


class PauseGuard:
    """Raises PausedError when called after a pause; `limit` in seconds must be below the Kafka session timeout."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._paused = False
        self._seen = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pause-guard", daemon=True)
        self._thread.start()

    def __call__(self) -> None:
        """Raise PausedError when the process was stopped for longer than the limit since the guard was made."""
        if self._paused or time.monotonic() - self._seen > self._limit:
            msg = f"this process was stopped for more than {self._limit:.0f} s"
            raise PausedError(msg)

    def close(self) -> None:
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            now = time.monotonic()
            if now - self._seen > self._limit:
                self._paused = True
            self._seen = now
