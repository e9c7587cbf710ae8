"""Which pipelines to reconcile, and when: each key at most once at a time, and again if it is added meanwhile.

A failed pass is retried after a pause that doubles with each failure in a row, up to a minute.
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

from clickstream.runtime.backoff import Backoff
from clickstream_operator.failures import describe, trace
from clickstream_operator.naming import Key

log: Final = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 60.0


class WorkQueue:
    """Runs `work(key)`, which returns the seconds until it is run again, or None: not before the key is added again.

    An exception from `work` is a failure: it is logged without its message, which may quote a Secret. Belongs to one
    event loop.
    """

    def __init__(self, work: Callable[[Key], Awaitable[float | None]], workers: int) -> None:
        self._work = work
        self._workers = workers
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._running: dict[Key, float] = {}
        self._failures: dict[Key, Backoff] = {}
        self._changed = asyncio.Condition()

    async def add(self, key: Key, after: float = 0.0) -> None:
        """Run the key in `after` seconds, or sooner if that was planned."""
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
        """Seconds since the start of the oldest run that has not ended."""
        now = time.monotonic()
        return max((now - since for since in self._running.values()), default=0.0)

    async def _serve(self) -> None:
        while True:
            key = await self._take()
            try:
                after = await self._work(key)
                self._failures.pop(key, None)
            except Exception as error:  # noqa: BLE001 - one pipeline's failure must not end the worker
                backoff = self._failures.setdefault(key, Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))
                after = backoff.next_wait()
                fields = {"pipeline": "/".join(key), "requeue_after_seconds": round(after, 1), "trace": trace(error)}
                log.error("a pass failed, retrying: %s", describe(error), extra={"fields": fields})  # noqa: TRY400
            finally:
                self._running.pop(key, None)
            if after is not None:
                await self.add(key, after)
            async with self._changed:
                self._changed.notify_all()  # the key may have become due while it was running

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
