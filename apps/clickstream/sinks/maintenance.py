"""The hourly maintenance in a running sink: retention, and partitions for the coming days.

It runs in a thread with its own connection. There is no leader election: in PostgreSQL an advisory lock admits one
replica, in Elasticsearch running it twice does no harm.
"""

from __future__ import annotations

import logging
import random
import threading

from clickstream.sinks.sink import MaintenanceError, Sink

log = logging.getLogger(__name__)


class Maintenance:
    """Runs `sink.maintain()` every `seconds` (± a quarter, so that replicas spread), from `start` to `stop`."""

    def __init__(self, sink: Sink, seconds: float) -> None:
        self._sink = sink
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)

    def start(self) -> None:
        """Start; the first run is due after one interval, since setup has just done it."""
        self._thread.start()

    def stop(self) -> None:
        """Start no further run; a running one is not waited for, it can be interrupted anywhere."""
        self._stopped.set()

    def _run(self) -> None:
        spread = random.Random()  # noqa: S311 - spreads load, keeps no secret
        while not self._stopped.wait(self._seconds * spread.uniform(0.75, 1.25)):
            try:
                self._sink.maintain()
            except Exception as error:  # the next run may succeed; records matter more
                reason = str(error) if isinstance(error, MaintenanceError) else type(error).__name__
                log.warning("maintenance failed and is retried later: %s", reason)
                log.debug("maintenance", exc_info=True)
