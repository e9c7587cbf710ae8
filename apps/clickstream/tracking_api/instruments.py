"""The metrics of the tracking API. Labels come from closed lists: codes, source names, routes and statuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from clickstream.contracts.telemetry import ACCEPTED, DEAD_LETTERS, REJECTED, Telemetry
from clickstream.tracking_api.records import STAGE
from clickstream.tracking_api.rejections import Code

REQUESTS: Final = "clickstream.http.request.duration"
QUEUE: Final = "clickstream.producer.queue.records"
UNAVAILABLE: Final = "clickstream.http.unavailable"
_BUCKETS: Final = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Instruments:
    """Counts what happened; each method is called once a request with the number of events."""

    def __init__(self, telemetry: Telemetry, queued: Callable[[], int]) -> None:
        self._accepted = telemetry.counter(ACCEPTED, "events that the brokers have, by source")
        self._rejected = telemetry.counter(REJECTED, "events (or whole requests) refused, by code")
        self._dead_letters = telemetry.counter(DEAD_LETTERS, "records written to dead-letters, by stage and code")
        self._unavailable = telemetry.counter(UNAVAILABLE, "requests answered with 503")
        self._requests = telemetry.histogram(REQUESTS, "time to answer, by route and status", _BUCKETS)
        # Series that exist from the start: a rate over a counter that appears with its first error misses that error.
        self._unavailable.add(0)
        for code in Code:
            self._rejected.add(0, {"code": code.value})
        telemetry.gauge(QUEUE, "records that wait for delivery", lambda: [(float(queued()), {})])

    def accepted(self, source: str, events: int) -> None:
        """Events that got a 2xx."""
        self._accepted.add(events, {"source": source})

    def rejected(self, code: Code) -> None:
        """One event or one request that was refused."""
        self._rejected.add(1, {"code": code.value})

    def dead_letter(self, code: Code) -> None:
        """One record that is on the dead-letters topic."""
        self._dead_letters.add(1, {"stage": STAGE, "code": code.value})

    def answered(self, route: str, status: int, seconds: float) -> None:
        """One answer."""
        self._requests.record(seconds, {"route": route, "status": status})
        if status == 503:
            self._unavailable.add(1)
