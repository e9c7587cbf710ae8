"""The metrics of the tracking API. Labels come from closed lists: codes, source names, routes and statuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from clickstream.runtime.telemetry import ACCEPTED, DEAD_LETTERS, REJECTED, Telemetry
from clickstream.tracking_api.rate_limits import Limit, SourceLimits
from clickstream.tracking_api.records import STAGE
from clickstream.tracking_api.rejections import Code

REQUESTS: Final = "clickstream.http.request.duration"
UNAVAILABLE: Final = "clickstream.http.unavailable"
LIMITED: Final = "clickstream.http.limited"
VALIDATED: Final = "clickstream.http.validated"
OVER_BUDGET: Final = "clickstream.dead_letters.over_budget"
_FORGOTTEN: Final = "clickstream.http.forgotten_addresses"
_QUEUE: Final = "clickstream.producer.queue.records"
_DEAD_LETTERS_LOST: Final = "clickstream.dead_letters.refused"
_BUCKETS: Final = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counts what happened; each method is called once a request with the number of events."""

    def __init__(self, telemetry: Telemetry, queued: Callable[[], int]) -> None:
        self._accepted = telemetry.counter(ACCEPTED, "events that the brokers have, by source")
        self._rejected = telemetry.counter(REJECTED, "events (or whole requests) refused, by code")
        self._dead_letters = telemetry.counter(DEAD_LETTERS, "records written to dead-letters, by stage and code")
        self._dead_letters_lost = telemetry.counter(
            _DEAD_LETTERS_LOST, "refused events that dead-letters does not take, by stage"
        )
        self._over_budget = telemetry.counter(
            OVER_BUDGET, "refused events over their source's budget of dead letters, not written, by stage and source"
        )
        self._unavailable = telemetry.counter(UNAVAILABLE, "requests answered with 503")
        self._limited = telemetry.counter(LIMITED, "requests answered with 429, by source and limit")
        self._validated = telemetry.counter(VALIDATED, "events that /v1/validate judged, by source and verdict")
        self._requests = telemetry.histogram(REQUESTS, "time to answer, by route and status", _BUCKETS)
        # Series that exist from the start: a rate over a counter that appears with its first error misses that error.
        self._unavailable.add(0)
        self._dead_letters_lost.add(0, {"stage": STAGE})
        for code in Code:
            self._rejected.add(0, {"code": code.value})
        self._telemetry = telemetry
        telemetry.gauge(_QUEUE, "records that wait for delivery", lambda: [(float(queued()), {})])

    def watch_limits(self, sources: Mapping[str, SourceLimits]) -> None:
        """Begin the series of limits, by the name of each source."""
        for source, limits in sources.items():
            self._over_budget.add(0, {"stage": STAGE, "source": source})
            for kind in limits.kinds:
                self._limited.add(0, {"source": source, "limit": kind.value})
        addresses = {name: limits.addresses for name, limits in sources.items() if limits.addresses is not None}
        self._telemetry.observed_counter(
            _FORGOTTEN,
            "addresses whose bucket was given up before it was full, since there were too many, by source",
            lambda: [(float(buckets.forgotten), {"source": name}) for name, buckets in addresses.items()],
        )

    def accepted(self, source: str, events: int) -> None:
        """Events that got a 2xx."""
        self._accepted.add(events, {"source": source})

    def rejected(self, code: Code, times: int = 1) -> None:
        """Events, or requests rejected as a whole."""
        self._rejected.add(times, {"code": code.value})

    def dead_letter(self, code: Code, times: int) -> None:
        """Records that are on the dead-letters topic."""
        self._dead_letters.add(times, {"stage": STAGE, "code": code.value})

    def dead_letters_lost(self, times: int) -> None:
        """Rejected events that are too large for the dead-letters topic, so that nothing is stored of them."""
        self._dead_letters_lost.add(times, {"stage": STAGE})

    def dead_letters_over_budget(self, source: str, times: int) -> None:
        """Rejected events over the source's budget, so that nothing is stored of them."""
        self._over_budget.add(times, {"stage": STAGE, "source": source})

    def limited(self, source: str, limit: Limit) -> None:
        """One request that a limit refuses."""
        self._limited.add(1, {"source": source, "limit": limit.value})
        self.rejected(Code.RATE_LIMITED)

    def validated(self, source: str, accepted: int, rejected: int) -> None:
        """Events that were judged; they count nowhere else."""
        for verdict, events in (("accepted", accepted), ("rejected", rejected)):
            if events:
                self._validated.add(events, {"source": source, "verdict": verdict})

    def answered(self, route: str, status: int, seconds: float) -> None:
        self._requests.record(seconds, {"route": route, "status": status})
        if status == 503:
            self._unavailable.add(1)
