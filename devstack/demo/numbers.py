"""The six numbers that the platform exists for, asked of each store.

Page views, in total and per page; unique users by hour and day; average session duration; the funnel; popular pages;
users online. Bots are left out; hours and days are the current ones, UTC. Deliberately absent: history, which is what
dashboards are for.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql

from clickstream.contracts.pipeline import Pipeline
from devstack.demo.search import Search
from devstack.demo.snapshot import Numbers

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
    SELECT page_path, sum(views)::bigint AS views FROM {schema}.page_views GROUP BY page_path ORDER BY views DESC LIMIT 10"""
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
