"""Looking at the running pipeline: the processes' /metrics once a second, the six numbers from both stores.

Why it exists: the live view needs figures that are read beside the traffic, each at its own pace; a question to a store
that takes long is asked less often, so that looking never becomes the load. Deliberately absent: drawing (`view`).
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import psycopg

from clickstream.contracts.pipeline import Pipeline
from devstack.demo.metrics import Sample, scrape, values
from devstack.demo.numbers import elasticsearch_numbers, postgres_numbers
from devstack.demo.search import Search
from devstack.demo.snapshot import Numbers, Stage
from devstack.errors import DevstackError

_METRICS_S: Final = 1.0
_NUMBERS_S: Final = 2.0
_PATIENCE: Final = 20
_LONGEST_PAUSE_S: Final = 6.0
"""A question that took t seconds is asked again after 20 t, so that asking stays a small share, but not much later."""
_MOMENTS: Final = 60
_SMOOTH: Final = 3

_COUNTERS: Final[Mapping[str, tuple[str, dict[str, str]]]] = {
    "tracking-api": ("clickstream_events_accepted_total", {}),
    "enricher": ("clickstream_events_processed_total", {}),
    "elasticsearch": ("clickstream_events_stored_total", {"kind": "click"}),
    "postgres": ("clickstream_events_stored_total", {"kind": "click"}),
}


class Gauge:
    """One process's counter over time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: deque[tuple[float, float]] = deque(maxlen=_MOMENTS + _SMOOTH)
        self._lag_records: int | None = None
        self._lag_seconds: float | None = None

    def take(self, samples: list[Sample], now: float) -> None:
        """Note what a scrape at `now` (monotonic) found."""
        name, labels = _COUNTERS[self._name]
        if samples:
            self._seen.append((now, sum(values(samples, name, **labels))))
            records = values(samples, "clickstream_consumer_lag_records")
            seconds = values(samples, "clickstream_consumer_lag_seconds")
            self._lag_records = int(sum(records)) if records else None
            self._lag_seconds = max(seconds) if seconds else None

    def stage(self) -> Stage:
        """As the view wants it; rates are over three seconds, the history has a value every two."""
        seen = list(self._seen)
        rates = [_rate(seen[max(0, end - _SMOOTH)], seen[end]) for end in range(1, len(seen))]
        return Stage(
            name=self._name,
            total=int(seen[-1][1]) if seen else 0,
            per_second=rates[-1] if rates else 0.0,
            history=tuple(rates[::-2][::-1]),
            lag_records=self._lag_records,
            lag_seconds=self._lag_seconds,
        )


def _rate(before: tuple[float, float], now: tuple[float, float]) -> float:
    return max(0.0, (now[1] - before[1]) / (now[0] - before[0]))


class Observer:
    """Threads that look, from `start` to `stop`. `ports`: the HTTP port of each process."""

    def __init__(self, pipeline: Pipeline, elasticsearch: str, postgres: str, ports: Mapping[str, int]) -> None:
        self._pipeline, self._ports = pipeline, ports
        self._gauges = {name: Gauge(name) for name in _COUNTERS}
        self._stopped = threading.Event()
        self.elasticsearch = Numbers()
        self.postgres = Numbers()
        search = Search(elasticsearch, timeout=30)
        looks = (
            self._look_at_metrics,
            lambda: self._look_at_elasticsearch(search),
            lambda: self._look_at_postgres(postgres),
        )
        paces = (_METRICS_S, _NUMBERS_S, _NUMBERS_S)
        self._threads = [
            threading.Thread(target=self._repeat, args=each, name="observer", daemon=True)
            for each in zip(looks, paces, strict=True)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(5)

    def stages(self) -> tuple[Stage, ...]:
        """All processes, in the order of the stream."""
        return tuple(gauge.stage() for gauge in self._gauges.values())

    def _repeat(self, look: Callable[[], None], pace: float) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            began = time.monotonic()
            try:
                look()
            except (OSError, http.client.HTTPException, DevstackError, psycopg.Error):
                pause = _NUMBERS_S  # it is shown as it was; if it stays away, the check will say so
                continue
            took = time.monotonic() - began
            pause = max(pace - took, min(took * _PATIENCE, _LONGEST_PAUSE_S) if pace == _NUMBERS_S else 0.0)

    def _look_at_metrics(self) -> None:
        for name, gauge in self._gauges.items():
            gauge.take(scrape(self._ports[name]), time.monotonic())

    def _look_at_elasticsearch(self, search: Search) -> None:
        self.elasticsearch = elasticsearch_numbers(search, self._pipeline)

    def _look_at_postgres(self, dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            self.postgres = postgres_numbers(connection, self._pipeline)
