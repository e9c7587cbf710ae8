"""The hourly work of a running sink: retention, and partitions for the days to come. In a thread with its own connection.

Deliberately absent: an election. In PostgreSQL an advisory lock lets one replica do it, in Elasticsearch doing it twice
does no harm.
"""

from __future__ import annotations

import logging
import random
import threading

from clickstream.sinks.sink import Sink

log = logging.getLogger(__name__)


class Upkeep:
    """Runs `sink.upkeep()` every `seconds` (± a quarter, so that replicas spread), from `start` to `stop`."""

    def __init__(self, sink: Sink, seconds: float) -> None:
        self._sink = sink
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin; the first run is due after one interval, since setup has just done it."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further run; a running one is not waited for, it can be cut off anywhere."""
        self._stopped.set()

    def _run(self) -> None:
        spread = random.Random()  # noqa: S311 - spreads load, keeps no secret
        while not self._stopped.wait(self._seconds * spread.uniform(0.75, 1.25)):
            try:
                self._sink.upkeep()
            except Exception as error:  # whatever it is, the next run may do better; records matter more
                log.warning("upkeep failed and is tried again later: %s", type(error).__name__)
                log.debug("upkeep", exc_info=True)
