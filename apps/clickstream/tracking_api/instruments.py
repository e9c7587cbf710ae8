"""The metrics of the tracking API. Labels come from closed lists: codes, source names, routes and statuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from clickstream.contracts.telemetry import ACCEPTED, DEAD_LETTERS, REJECTED, Telemetry
from clickstream.tracking_api.records import STAGE
from clickstream.tracking_api.rejections import Code

REQUESTS: Final = "clickstream.http.request.duration"
QUEUE: Final = "clickstream.producer.queue.records"
LOST_LETTERS: Final = "clickstream.dead_letters.refused"
UNAVAILABLE: Final = "clickstream.http.unavailable"
_BUCKETS: Final = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Instruments:
    """Counts what happened; each method is called once a request with the number of events."""

    def __init__(self, telemetry: Telemetry, queued: Callable[[], int]) -> None:
        self._accepted = telemetry.counter(ACCEPTED, "events that the brokers have, by source")
        self._rejected = telemetry.counter(REJECTED, "events (or whole requests) refused, by code")
        self._dead_letters = telemetry.counter(DEAD_LETTERS, "records written to dead-letters, by stage and code")
        self._lost_letters = telemetry.counter(LOST_LETTERS, "refused events that dead-letters does not take, by stage")
        self._unavailable = telemetry.counter(UNAVAILABLE, "requests answered with 503")
        self._requests = telemetry.histogram(REQUESTS, "time to answer, by route and status", _BUCKETS)
        # Series that exist from the start: a rate over a counter that appears with its first error misses that error.
        self._unavailable.add(0)
        self._lost_letters.add(0, {"stage": STAGE})
        for code in Code:
            self._rejected.add(0, {"code": code.value})
        telemetry.gauge(QUEUE, "records that wait for delivery", lambda: [(float(queued()), {})])

    def accepted(self, source: str, events: int) -> None:
        """Events that got a 2xx."""
        self._accepted.add(events, {"source": source})

    def rejected(self, code: Code, times: int = 1) -> None:
        """Events or requests that were refused."""
        self._rejected.add(times, {"code": code.value})

    def dead_letter(self, code: Code, times: int = 1) -> None:
        """Records that are on the dead-letters topic."""
        self._dead_letters.add(times, {"stage": STAGE, "code": code.value})

    def lost_letter(self, times: int) -> None:
        """Refused events of which nothing is on the dead-letters topic, since it does not take them."""
        self._lost_letters.add(times, {"stage": STAGE})

    def answered(self, route: str, status: int, seconds: float) -> None:
        """One answer."""
        self._requests.record(seconds, {"route": route, "status": status})
        if status == 503:
            self._unavailable.add(1)
