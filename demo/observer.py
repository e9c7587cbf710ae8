"""Observes the running pipeline: the processes' /metrics once a second, the six numbers from both stores.

A slow query is repeated less often, so that observing never becomes the load.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import psycopg
from psycopg import sql

from clickstream.contracts.pipeline import Pipeline
from demo.metrics import Sample, scrape, values
from demo.view import Numbers, Stage
from devstack.errors import DevstackError
from preview.search import Search

_METRICS_S: Final = 1.0
_NUMBERS_S: Final = 2.0
_PATIENCE: Final = 20
_LONGEST_PAUSE_S: Final = 6.0
"""A query that took t seconds is repeated after 20 t, so that observing stays a small share of the load, but not much
later."""
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
        """For the view; rates are over three seconds, the history has a value every two."""
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
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
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
                pause = _NUMBERS_S  # its last numbers stay; if it stays away, the check fails
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


_PEOPLE: Final = {"term": {"bot": False}}
_ONLINE: Final = "5m"


def elasticsearch_numbers(search: Search, pipeline: Pipeline) -> Numbers:
    """What a dashboard would ask Elasticsearch for. Users are counted approximately above some ten thousand."""
    users = {"users": {"cardinality": {"field": "user_id", "precision_threshold": 10_000}}}

    def since(moment: str) -> dict[str, Any]:
        return {"filter": {"range": {"event_time": {"gte": moment}}}, "aggs": users}

    pages = {"terms": {"field": "page_path", "size": 10}}
    clicks = search.search(
        pipeline.names.clicks_alias,
        {
            "size": 0,
            "track_total_hits": False,
            "query": {"bool": {"filter": [_PEOPLE]}},
            "aggs": {
                "views": {"filter": {"term": {"type": "page_view"}}, "aggs": {"pages": pages}},
                "hour": since("now/h"),
                "day": since("now/d"),
                "online": since(f"now-{_ONLINE}"),
            },
        },
    ).get("aggregations")
    if clicks is None:  # no index yet
        return Numbers()
    funnel = pipeline.funnels[0]
    steps = [f"{funnel.name}:{number}" for number in range(1, len(funnel.steps) + 1)]
    sessions = search.search(
        pipeline.names.sessions_alias,
        {
            "size": 0,
            "track_total_hits": False,
            "query": {"bool": {"filter": [_PEOPLE]}},
            "aggs": {
                "duration": {"avg": {"field": "duration"}},
                "steps": {"terms": {"field": "funnel_steps", "size": len(steps), "include": steps}},
            },
        },
    ).get("aggregations", {})
    reached = {bucket["key"]: bucket["doc_count"] for bucket in sessions.get("steps", {}).get("buckets", [])}
    return Numbers(
        page_views=clicks["views"]["doc_count"],
        users_hour=clicks["hour"]["users"]["value"],
        users_day=clicks["day"]["users"]["value"],
        session_ms=sessions.get("duration", {}).get("value"),
        users_online=clicks["online"]["users"]["value"],
        top_pages=tuple((each["key"], each["doc_count"]) for each in clicks["views"]["pages"]["buckets"]),
        funnel=tuple((step.name, reached.get(key, 0)) for step, key in zip(funnel.steps, steps, strict=True)),
    )


_SCALARS: Final = """
    SELECT (SELECT sum(views)::bigint FROM {schema}.page_views),
           (SELECT count(*) FROM {schema}.active_users_hour WHERE NOT bot AND hour = date_trunc('hour', now(), 'UTC')),
           (SELECT count(*) FROM {schema}.active_users_day WHERE NOT bot AND day = (now() AT TIME ZONE 'UTC')::date),
           (SELECT avg(extract(epoch FROM duration) * 1000)::float8 FROM {schema}.sessions WHERE NOT bot),
           (SELECT count(DISTINCT user_id) FROM {schema}.clicks
            WHERE NOT bot AND event_time > now() - interval '5 minutes')"""
_PAGES: Final = """
    SELECT page_path, sum(views)::bigint AS views FROM {schema}.page_views GROUP BY page_path ORDER BY views DESC \
LIMIT 10"""
_FUNNEL: Final = """
    SELECT step_name, sum(sessions)::bigint FROM {schema}.funnel_results WHERE funnel = %s GROUP BY step, step_name
    ORDER BY step"""


def postgres_numbers(connection: psycopg.Connection[Any], pipeline: Pipeline) -> Numbers:
    """What an analyst would ask PostgreSQL for, exactly. Raises psycopg.Error."""
    schema = sql.Identifier(pipeline.names.schema)

    def ask(query: str, *values: object) -> list[tuple[Any, ...]]:
        return connection.execute(sql.SQL(query).format(schema=schema), values or None).fetchall()

    views, hour, day, duration, online = ask(_SCALARS)[0]
    return Numbers(
        page_views=views or 0,
        users_hour=hour,
        users_day=day,
        session_ms=duration,
        users_online=online,
        top_pages=tuple(ask(_PAGES)),
        funnel=tuple(ask(_FUNNEL, pipeline.funnels[0].name)),
    )
