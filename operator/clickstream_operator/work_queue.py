"""Which pipelines to look at, and when: each key at most once at a time, and soon enough after everything that matters.

A failed pass comes again after a pause that grows with each failure in a row. Deliberately absent: what a pass does.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

log: Final = logging.getLogger(__name__)

Key = tuple[str, str]
"""(namespace, name)."""

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0


class WorkQueue:
    """Runs `work(key)`, which answers the seconds until the key's next turn, or None for no turn of its own accord.

    An exception from `work` is logged and counted as a failure. Belongs to one event loop.
    """

    def __init__(self, work: Callable[[Key], Awaitable[float | None]], workers: int) -> None:
        self._work = work
        self._workers = workers
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._running: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Condition()

    async def add(self, key: Key, after: float = 0.0) -> None:
        """Look at the key in `after` seconds, or before if that was planned."""
        due = time.monotonic() + after
        async with self._changed:
            if due < self._due.get(key, float("inf")):
                self._due[key] = due
                heapq.heappush(self._heap, (due, next(self._order), key))
                self._changed.notify()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._serve())

    def longest_running(self) -> float:
        """Seconds that the oldest pass under way has taken."""
        now = time.monotonic()
        return max((now - since for since in self._running.values()), default=0.0)

    async def _serve(self) -> None:
        while True:
            key = await self._take()
            try:
                after = await self._work(key)
                self._failures.pop(key, None)
            except Exception:  # one pipeline's trouble must not end the others'
                failures = self._failures[key] = self._failures.get(key, 0) + 1
                after = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 10))
                log.exception("a pass failed", extra={"fields": {"pipeline": "/".join(key), "again_in_seconds": after}})
            finally:
                self._running.pop(key, None)
            if after is not None:
                await self.add(key, after)
            async with self._changed:
                self._changed.notify_all()  # the key may have come due while it was at work

    async def _take(self) -> Key:
        async with self._changed:
            while True:
                now = time.monotonic()
                found, wait = self._next(now)
                if found is not None:
                    self._running[found] = now
                    return found
                # Not wait_for: before Python 3.12 it may swallow a cancellation, and the worker would never end.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._changed.wait()

    def _next(self, now: float) -> tuple[Key | None, float | None]:
        busy: list[tuple[float, int, Key]] = []
        found: Key | None = None
        wait: float | None = None
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) != due:  # it was planned earlier, or has been served
                heapq.heappop(self._heap)
            elif due > now:
                wait = due - now
                break
            elif key in self._running:
                busy.append(heapq.heappop(self._heap))
            else:
                heapq.heappop(self._heap)
                del self._due[key]
                found = key
                break
        for entry in busy:
            heapq.heappush(self._heap, entry)
        return found, wait
