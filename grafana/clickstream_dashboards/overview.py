"""The overview: the platform's six numbers, on one screen.

All of it comes from the warehouse, exactly. Hours and days are those of the pipeline's reporting time zone.
"""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import bargauge, stat, table, timeseries

from clickstream_dashboards import cells, frame, style
from clickstream_dashboards.funnels import FUNNEL_NAMES, funnel_annotation
from clickstream_dashboards.queries import HOURS_SQL, VISITORS_SQL, bins, sql


def users_online() -> stat.Panel:
    """Distinct users of the last five minutes."""
    query = sql(f"""
        SELECT count(DISTINCT user_id) AS "Users"
        FROM "${{schema}}".sessions
        WHERE ended_at > now() - interval '5 minutes' AND ended_at < now() + interval '5 minutes' AND {VISITORS_SQL}""")
    return style.number(
        "Users online now",
        "Different users whose last click was in the last 5 minutes, whatever the time range above.",
        query,
        colour=style.LIVE,
    )


def page_views() -> stat.Panel:
    """Page views in the range."""
    query = sql(f"""
        SELECT coalesce(sum(views), 0)::bigint AS "Page views"
        FROM "${{schema}}".page_views_minute
        WHERE $__timeFilter(minute) AND {VISITORS_SQL}""")
    return style.number("Page views", "Clicks of type page_view in the time range.", query)


def unique_users() -> stat.Panel:
    """Distinct users of the days in the range."""
    query = sql(f"""
        SELECT count(DISTINCT user_id) AS "Users"
        FROM "${{schema}}".active_users_hour
        WHERE {HOURS_SQL} AND {VISITORS_SQL}""")
    return style.number(
        "Unique users",
        "Different users with a click in the hours of the time range, the first and the last one whole.",
        query,
    )


def sessions() -> stat.Panel:
    """Sessions that started in the range."""
    query = sql(f"""
        SELECT count(*) AS "Sessions"
        FROM "${{schema}}".sessions
        WHERE $__timeFilter(started_at) AND {VISITORS_SQL}""")
    return style.number("Sessions", "Sessions that started in the time range, open ones included.", query)


def session_duration() -> stat.Panel:
    """Mean duration of sessions that started in the range."""
    query = sql(f"""
        SELECT avg(extract(epoch FROM duration))::float8 AS "Duration"
        FROM "${{schema}}".sessions
        WHERE $__timeFilter(started_at) AND {VISITORS_SQL}""")
    return style.number(
        "Average session",
        "Mean time from the first to the last click of the sessions that started in the time range, open ones as "
        "they stand.",
        query,
        unit="dthms",
        colour=style.SECOND,
    )


def conversion() -> stat.Panel:
    """Share of the funnel's first step that reached its last."""
    query = sql(f"""
        SELECT count(*) FILTER (WHERE furthest >= steps)::float8 / nullif(count(*) FILTER (WHERE furthest >= 1), 0)
            AS "Conversion"
        FROM "${{schema}}".funnel_sessions
        WHERE $__timeFilter(started_at) AND funnel = ${{funnel:sqlstring}} AND {VISITORS_SQL}""")
    return style.number(
        "Conversion",
        "Sessions that reached the funnel's last step, of those that reached its first.",
        query,
        unit="percentunit",
        decimals=1,
        colour=style.GOOD,
    )


def page_views_over_time() -> timeseries.Panel:
    """Page views by minute, or by longer buckets in a long range."""
    query = sql(
        f"""
        SELECT date_bin(b.width, minute, b.monday) AS time, sum(views)::float8 AS "Page views"
        FROM "${{schema}}".page_views_minute, {bins(60)}
        WHERE $__timeFilter(minute) AND {VISITORS_SQL}
        GROUP BY 1 ORDER BY 1""",
        time_series=True,
    )
    return style.curve(
        "Page views over time",
        "Page views by minute; in a long time range by as many minutes as a point stands for.",
        [query],
        bars=True,
        width=24,
        height=7,
    ).interval("1m")


def users_by_hour() -> timeseries.Panel:
    """Distinct users of each hour."""
    query = sql(
        f"""
        SELECT hour AS time, count(DISTINCT user_id)::float8 AS "Users"
        FROM "${{schema}}".active_users_hour
        WHERE {HOURS_SQL} AND {VISITORS_SQL}
        GROUP BY 1 ORDER BY 1""",
        time_series=True,
    )
    return style.curve(
        "Unique users by hour", "Different users with a click in each hour.", [query], bars=True
    ).interval("1h")


def users_by_day() -> timeseries.Panel:
    """Distinct users of each day."""
    query = sql(
        f"""
        SELECT day::timestamp AT TIME ZONE p.time_zone AS time, count(DISTINCT user_id)::float8 AS "Users"
        FROM "${{schema}}".active_users_day, "${{schema}}".pipeline p
        WHERE day BETWEEN ($__timeFrom()::timestamptz AT TIME ZONE p.time_zone)::date
                      AND ($__timeTo()::timestamptz AT TIME ZONE p.time_zone)::date AND {VISITORS_SQL}
        GROUP BY 1 ORDER BY 1""",
        time_series=True,
    )
    return style.curve(
        "Unique users by day",
        "Different users with a click on each day, days of the reporting time zone, also those that are only partly "
        "in the time range.",
        [query],
        bars=True,
    ).interval("1d")


def funnel() -> bargauge.Panel:
    """Sessions that reached each step of the funnel."""
    query = sql(f"""
        SELECT f.step || '. ' || f.step_name AS "Step", count(s.session_id) AS "Sessions"
        FROM "${{schema}}".funnels f
        LEFT JOIN (
            SELECT session_id, version, furthest FROM "${{schema}}".funnel_sessions
            WHERE funnel = ${{funnel:sqlstring}} AND $__timeFilter(started_at) AND {VISITORS_SQL}
        ) s ON s.version = f.version AND s.furthest >= f.step
        WHERE f.funnel = ${{funnel:sqlstring}} AND f.valid_to IS NULL
        GROUP BY f.step, f.step_name ORDER BY f.step""")
    return style.bars(
        "Funnel: ${funnel}",
        "Sessions of the time range that reached each step in order, by the funnel's present definition.",
        query,
        colour=style.GOOD,
        empty="No funnel is declared: add one to the pipeline's spec.funnels.",
        width=12,
        height=11,
    )


def top_pages() -> table.Panel:
    """The ten pages with the most views."""
    query = sql(f"""
        SELECT page_path AS "Page", sum(views)::bigint AS "Views"
        FROM "${{schema}}".page_views_minute
        WHERE $__timeFilter(minute) AND {VISITORS_SQL}
        GROUP BY page_path ORDER BY sum(views) DESC, page_path LIMIT 10""")
    return style.ranking(
        "Top 10 pages",
        "The ten pages with the most views in the time range.",
        query,
        ("Page", "Views"),
        named_cell=cells.page_link(),
        width=12,
    )


def build() -> dict[str, Any]:
    board = frame.frame(
        "overview",
        "Clickstream overview",
        "Page views, unique users, session duration, the funnel, popular pages and who is online now.",
        since="now-7d",
        refresh="30s",
        sources=("postgres",),
    )
    board.with_variable(frame.sql_one("funnel", "Funnel", FUNNEL_NAMES)).with_variable(frame.bots())
    board.annotation(funnel_annotation())
    frame.laid_out(
        board,
        users_online(),
        page_views(),
        unique_users(),
        sessions(),
        session_duration(),
        conversion(),
        page_views_over_time(),
        users_by_hour(),
        users_by_day(),
        funnel(),
        top_pages(),
    )
    return frame.finished(board)
