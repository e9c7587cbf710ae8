"""The operator's metrics: passes by result, their duration, writes by verb and kind, pipelines by readiness."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

from clickstream.contracts.telemetry import Telemetry

RECONCILIATIONS: Final = "clickstream.operator.reconciliations"
DURATION: Final = "clickstream.operator.reconciliation.duration"
WRITES: Final = "clickstream.operator.writes"
PIPELINES: Final = "clickstream.operator.pipelines"

_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Meters:
    """Thread-safe."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._passes = telemetry.counter(RECONCILIATIONS, "Passes over a pipeline, by result")
        self._seconds = telemetry.histogram(DURATION, "Duration of a pass", _BUCKETS)
        self._writes = telemetry.counter(WRITES, "Writes to the API server, by verb and kind")
        self._lock = threading.Lock()
        self._ready: dict[tuple[str, str], bool] = {}
        telemetry.gauge(PIPELINES, "Pipelines by readiness", self._observe)

    def wrote(self, verb: str, kind: str) -> None:
        """One write."""
        self._writes.add(1, {"verb": verb, "kind": kind})

    def passed(self, result: str, seconds: float) -> None:
        """One pass: `done` or `failed`."""
        self._passes.add(1, {"result": result})
        self._seconds.record(seconds)

    def stands(self, pipeline: tuple[str, str], *, ready: bool) -> None:
        """Whether a pipeline is ready."""
        with self._lock:
            self._ready[pipeline] = ready

    def gone(self, pipeline: tuple[str, str]) -> None:
        """A pipeline is no more."""
        with self._lock:
            self._ready.pop(pipeline, None)

    def _observe(self) -> list[tuple[float, dict[str, str]]]:
        with self._lock:
            counts = Counter(self._ready.values())
        return [(float(counts[ready]), {"ready": str(ready).lower()}) for ready in (True, False)]
