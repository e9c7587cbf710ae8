"""Whether all else in the warehouse agrees with its clicks: `clickstream check` for PostgreSQL.

Everything is read in one snapshot. Clicks and session records travel on different topics, so what was received within
the last moments may be there in one and not yet in the other: sessions with such a click are left for the next check.
The same holds for what the retention has begun to delete. Repair is deliberately absent; a difference is a fault to be
understood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from clickstream.contracts.durations import duration_ms
from clickstream.contracts.pipeline import Pipeline
from clickstream.sinks.postgres.connection import Connection
from clickstream.sinks.postgres.identities import CHECKS

SHOWN: Final = 10
"""Differences of a kind that are named; the others are only counted."""

_SINCE: Final = "(SELECT now() - %(kept)s * interval '1 millisecond')"

_PAGE_VIEWS: Final = f"""
    SELECT minute, page_path, bot, r.views AS stored, coalesce(c.views, 0) AS recomputed
    FROM page_views_minute r
    FULL JOIN (
        SELECT date_trunc('minute', event_time) AS minute, page_path, bot, count(*) AS views
        FROM clicks WHERE type = 'page_view' GROUP BY 1, 2, 3
    ) c USING (minute, page_path, bot)
    WHERE minute >= {_SINCE} AND r.views IS DISTINCT FROM c.views
    ORDER BY 1, 2, 3"""  # noqa: S608 - our own text

_USERS: Final = """
    SELECT period, user_id, bot, r.period_key IS NOT NULL AS stored, c.period_key IS NOT NULL AS recomputed
    FROM (SELECT {period} AS period, user_id, bot, 1 AS period_key FROM {table}) r
    FULL JOIN (
        SELECT DISTINCT {expression} AS period, user_id, bot, 1 AS period_key FROM clicks CROSS JOIN pipeline p
    ) c USING (period, user_id, bot)
    WHERE period > {since} AND (r.period_key IS NULL OR c.period_key IS NULL)
    ORDER BY 1, 2, 3"""

# A session has the user of the click that began it. The clicks do not say which one that was: where the pipeline groups
# by the browser's session, visitors log in within one.
_SESSIONS: Final = f"""
    WITH recomputed AS (
        SELECT resolved_session_id AS session_id, min(event_time) AS started_at, max(event_time) AS ended_at,
               count(*) AS events, count(*) FILTER (WHERE type = 'page_view') AS page_views,
               array_agg(DISTINCT user_id) AS users, max(received_at) AS received_at
        FROM clicks_with_session WHERE session_id IS NOT NULL GROUP BY 1
    )
    SELECT session_id,
           jsonb_build_object('started_at', s.started_at, 'ended_at', s.ended_at, 'events', s.events,
                              'page_views', s.page_views, 'user_id', s.user_id) AS stored,
           jsonb_build_object('started_at', c.started_at, 'ended_at', c.ended_at, 'events', c.events,
                              'page_views', c.page_views,
                              'user_id', CASE WHEN s.user_id = ANY(c.users) THEN s.user_id ELSE c.users[1] END)
               AS recomputed
    FROM sessions s FULL JOIN recomputed c USING (session_id)
    WHERE coalesce(s.started_at, c.started_at) >= {_SINCE}
      AND coalesce(c.received_at, s.ended_at) < now() - %(settle)s * interval '1 second'
      AND ((s.started_at, s.ended_at, s.events, s.page_views)
           IS DISTINCT FROM (c.started_at, c.ended_at, c.events, c.page_views)
           OR (s.user_id = ANY(c.users)) IS NOT TRUE)
    ORDER BY 1"""  # noqa: S608

_GAPS: Final = f"""
    SELECT resolved_session_id, at AS after, waited
    FROM (
        SELECT resolved_session_id, lag(event_time) OVER w AS at, event_time - lag(event_time) OVER w AS waited
        FROM clicks_with_session WHERE session_id IS NOT NULL AND event_time >= {_SINCE}
        WINDOW w AS (PARTITION BY resolved_session_id ORDER BY event_time)
    ) steps
    WHERE waited > %(gap)s * interval '1 millisecond'
    ORDER BY 1, 2"""  # noqa: S608

_FUNNELS: Final = f"""
    WITH views AS (
        SELECT s.session_id, f.funnel, f.steps, f.furthest, d.step, c.event_time AS at
        FROM funnel_sessions f
        JOIN sessions s ON s.session_id = f.session_id AND s.closed
        JOIN clicks_with_session c ON c.resolved_session_id = s.session_id AND c.type = 'page_view'
        JOIN funnels d ON d.funnel = f.funnel AND d.version = f.version AND c.page_path ~ \
page_pattern_regex(d.page_pattern)
        WHERE f.started_at >= {_SINCE} AND s.ended_at < now() - %(settle)s * interval '1 second'
          AND s.funnels ? f.funnel
    )
    SELECT session_id, funnel, furthest, array_agg(step ORDER BY at, step) AS numbers,
           array_agg((extract(epoch FROM at) * 1000)::bigint ORDER BY at, step) AS times
    FROM views GROUP BY session_id, funnel, furthest ORDER BY 1, 2"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference: which part, where in it, what is stored, and what the clicks give."""

    part: str
    where: str
    stored: str
    recomputed: str

    def __str__(self) -> str:
        return f"{self.part}: {self.where}: stored {self.stored}, by the clicks {self.recomputed}"


def recompute(
    connection: Connection, pipeline: Pipeline, settle: float, tell: Callable[[str], None]
) -> Iterator[Difference]:
    """Every difference. `settle`: seconds that a click has had for both topics. Raises psycopg.Error."""
    assert pipeline.sinks.postgres is not None
    values = {
        # A day of safety: retention deletes rollups to the millisecond, and clicks by whole storage days.
        "kept": max(0, duration_ms(pipeline.sinks.postgres.retention) - 86_400_000),
        "gap": duration_ms(pipeline.enricher.session_gap),
        "settle": settle,
    }
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for part, query in _PARTS.items():
            tell(f"recomputing {part}")
            for row in connection.execute(query.encode(), values):
                yield _difference(part, row)
        tell("recomputing funnels")
        for session, funnel, furthest, numbers, times in connection.execute(_FUNNELS.encode(), values):
            reached = _furthest(numbers, times)
            if reached != furthest:
                yield Difference("funnels", f"session {session}, funnel {funnel}", str(furthest), str(reached))


def _difference(part: str, row: tuple[Any, ...]) -> Difference:
    if part == "sessions":
        session, stored, found = row
        names = [name for name in stored if stored[name] != found[name]]
        return Difference(
            part,
            f"session {session}",
            ", ".join(f"{name} {stored[name]}" for name in names),
            ", ".join(f"{name} {found[name]}" for name in names),
        )
    if part == "session gaps":
        session, after, waited = row
        return Difference(part, f"session {session} after {after}", "one session", f"a gap of {waited}")
    *where, stored, found = row
    return Difference(part, " ".join(str(each) for each in where), str(stored), str(found))


def _furthest(numbers: list[int], times: list[int]) -> int:
    """The furthest step in order; sorted by time (the rule of the enricher's funnels)."""
    reached, after = 0, -1
    for number, time in zip(numbers, times, strict=True):
        if number == reached + 1 and time > after:
            reached, after = number, time
    return reached


_PARTS: Final = {
    "page_views_minute": _PAGE_VIEWS,
    "active_users_hour": _USERS.format(
        period="hour",
        table="active_users_hour",
        expression="date_trunc('hour', event_time, p.time_zone)",
        since=_SINCE,
    ),
    "active_users_day": _USERS.format(
        period="day",
        table="active_users_day",
        expression="(event_time AT TIME ZONE p.time_zone)::date",
        since=_SINCE,
    ),
    "sessions": _SESSIONS,
    "session gaps": _GAPS,
} | CHECKS
