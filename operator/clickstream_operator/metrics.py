"""The operator's metrics: passes by result, their duration, writes by verb and kind, and how each pipeline stands.

What is told of a pipeline are gauges with its namespace and name: bounded by what there is, and gone when it is gone.
They are there when all of its pods are down.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from clickstream.runtime.telemetry import Telemetry
from clickstream_operator.naming import Key
from clickstream_operator.status import READY, Condition, Figures, Report

RECONCILIATIONS: Final = "clickstream.operator.reconciliations"
DURATION: Final = "clickstream.operator.reconciliation.duration"
WRITES: Final = "clickstream.operator.writes"
PIPELINES: Final = "clickstream.operator.pipelines"
CONDITION: Final = "clickstream.operator.condition"
FAILING: Final = "clickstream.operator.failing"
SINCE_LAST: Final = "clickstream.operator.since.last.reconciliation"
AVAILABLE: Final = "clickstream.operator.component.available"
AT_MAXIMUM: Final = "clickstream.operator.autoscaler.at.maximum"
TIME_TO_DATA_LOSS: Final = "clickstream.operator.time.to.data.loss"
RETENTION: Final = "clickstream.operator.retention"

_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Rows = list[tuple[float, dict[str, str]]]


@dataclass(slots=True)
class _Pipeline:
    """What the last passes found out. `at`: when the last one ended, on the monotonic clock."""

    at: float
    failing: bool
    conditions: dict[str, Condition]
    figures: Figures


class Metrics:
    """Thread-safe. `clock`: seconds since 1970; `passing`: a monotonic one."""

    def __init__(
        self,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.time,
        passing: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._passing = passing
        self._lock = threading.Lock()
        self._pipelines: dict[Key, _Pipeline] = {}
        self._passes = telemetry.counter(RECONCILIATIONS, "Passes over a pipeline, by result")
        self._seconds = telemetry.histogram(DURATION, "Duration of a pass", _BUCKETS)
        self._writes = telemetry.counter(WRITES, "Writes to the API server, by verb and kind")
        telemetry.gauge(PIPELINES, "Pipelines by readiness", self._by_readiness)
        telemetry.gauge(
            CONDITION,
            "Whether a condition of a pipeline is true, with its reason",
            lambda: self._rows(
                lambda each: (
                    (float(one.status), {"condition": one.type, "reason": one.reason})
                    for one in each.conditions.values()
                )
            ),
        )
        telemetry.gauge(
            FAILING,
            "Whether the last pass over a pipeline failed",
            lambda: self._rows(lambda each: [(float(each.failing), {})]),
        )
        telemetry.gauge(
            SINCE_LAST,
            "Time since the last pass over a pipeline",
            lambda: self._rows(lambda each: [(self._passing() - each.at, {})]),
            "s",
        )
        telemetry.gauge(
            AVAILABLE,
            "Available replicas of a component that is meant to run",
            lambda: self._rows(lambda each: _by_component(each.figures.available.items())),
        )
        telemetry.gauge(
            AT_MAXIMUM,
            "Whether a component's autoscaler wants more replicas than it may have",
            lambda: self._rows(lambda each: _by_component(each.figures.at_maximum.items())),
        )
        telemetry.gauge(
            TIME_TO_DATA_LOSS,
            "How long Kafka keeps the oldest record that a consumer has not processed, at least",
            lambda: self._rows(
                lambda each: _by_component(
                    (name, max(0.0, until - self._clock())) for name, until in each.figures.kept_until.items()
                )
            ),
            "s",
        )
        telemetry.gauge(
            RETENTION,
            "How long Kafka keeps a record for a consumer",
            lambda: self._rows(lambda each: _by_component(each.figures.retention.items())),
            "s",
        )

    def count_write(self, verb: str, kind: str) -> None:
        self._writes.add(1, {"verb": verb, "kind": kind})

    def reconciled(self, result: str, seconds: float) -> None:
        """One pass; `result` is `done`, `failed` or `unchanged`, where there was nothing to look at."""
        self._passes.add(1, {"result": result})
        self._seconds.record(seconds)

    def found(self, pipeline: Key, report: Report | None, *, failed: bool) -> None:
        """What a pass found out, None: nothing. What it could not look at is told as before."""
        with self._lock:
            known = self._pipelines.get(pipeline)
            conditions = dict(known.conditions) if known is not None else {}
            figures = known.figures if known is not None else Figures()
            if report is not None and report.parts is not None:
                conditions = {}
            if report is not None:
                conditions |= {each.type: each for each in report.conditions}
                figures = report.figures or figures
            if report is None or (failed and conditions[READY].status):
                conditions[READY] = Condition(READY, False, "PassFailed", "")
            self._pipelines[pipeline] = _Pipeline(self._passing(), failed, conditions, figures)

    def unchanged(self, pipeline: Key) -> None:
        """A pass had nothing to find out: all is told as before."""
        with self._lock:
            known = self._pipelines.get(pipeline)
            if known is not None:
                self._pipelines[pipeline] = replace(known, at=self._passing(), failing=False)

    def forget(self, pipeline: Key) -> None:
        """The pipeline is gone."""
        with self._lock:
            self._pipelines.pop(pipeline, None)

    def _by_readiness(self) -> Rows:
        with self._lock:
            counts = Counter(each.conditions[READY].status for each in self._pipelines.values())
        return [(float(counts[ready]), {"ready": str(ready).lower()}) for ready in (True, False)]

    def _rows(self, of: Callable[[_Pipeline], Iterable[tuple[float, dict[str, str]]]]) -> Rows:
        with self._lock:
            known = list(self._pipelines.items())
        return [
            (value, {"namespace": namespace, "pipeline": name} | labels)
            for (namespace, name), each in known
            for value, labels in of(each)
        ]


def _by_component(values: Iterable[tuple[str, float]]) -> Iterator[tuple[float, dict[str, str]]]:
    for component, value in values:
        yield float(value), {"component": component}
