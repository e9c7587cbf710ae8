"""Audience and sessions: who comes, who comes back, how long they stay, where they begin and where they leave."""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.builders import stat, table, timeseries

from clickstream_dashboards import cells, frame, style
from clickstream_dashboards.queries import HOURS_SQL, VISITORS_SQL, chosen, sql

_AUDIENCE: Final = f"""{VISITORS_SQL} AND {chosen("device", "device")} AND {chosen("channel", "medium")}
          AND {chosen("country", "country")}"""
_CHOSEN: Final = f"$__timeFilter(started_at) AND {_AUDIENCE}"
_EVERYBODY: Final = "'*' IN (${device:sqlstring}) AND '*' IN (${channel:sqlstring}) AND '*' IN (${country:sqlstring})"
"""Nothing is chosen. Like `VISITORS_SQL` it folds to a constant, and one of two halves of a query is never run."""
_DAYS: Final = """day BETWEEN ($__timeFrom()::timestamptz AT TIME ZONE p.time_zone)::date
                          AND ($__timeTo()::timestamptz AT TIME ZONE p.time_zone)::date"""

_LOCAL: Final = "AT TIME ZONE p.time_zone"
_HALVES: Final = "with a click in it; where a device, channel or country is chosen, users with such a session in it"


def _active_in(grain: str, table: str, when: str) -> str:
    """SQL: (user_id, `grain`) of the users who were active in hours or days that `when` selects; some of them twice.

    The rollup knows no devices, channels and countries: where one is chosen, sessions tell.
    """
    series, each = {
        "hour": ("date_trunc('hour', started_at, p.time_zone), ended_at, interval '1 hour'", "m"),
        "day": (
            f"date_trunc('day', started_at {_LOCAL}), ended_at {_LOCAL}, interval '1 day'",
            "m::date",
        ),
    }[grain]
    return f"""(
            SELECT user_id, {grain} FROM "${{schema}}".{table}, "${{schema}}".pipeline p
            WHERE {when} AND {VISITORS_SQL} AND {_EVERYBODY}
            UNION ALL
            SELECT user_id, {grain} FROM (
                SELECT user_id, {each} AS {grain}
                FROM "${{schema}}".sessions, "${{schema}}".pipeline p,
                     generate_series({series}) m
                WHERE NOT ({_EVERYBODY}) AND {_AUDIENCE}
                  AND ended_at >= $__timeFrom()::timestamptz - interval '8 days'
                  AND started_at <= $__timeTo()::timestamptz + interval '8 days'
            ) s, "${{schema}}".pipeline p
            WHERE {when}
        ) active"""


def _of_sessions(
    title: str,
    what: str,
    expression: str,
    *,
    unit: str = "locale",
    colour: str = style.ACCENT,
    decimals: int | None = None,
) -> stat.Panel:
    query = sql(f"""
        SELECT {expression} AS "{title}"
        FROM "${{schema}}".sessions
        WHERE {_CHOSEN}""")
    return style.number(title, what, query, unit=unit, colour=colour, decimals=decimals)


def sessions() -> stat.Panel:
    return _of_sessions("Sessions", "Sessions that started in the time range.", "count(*)")


def average_duration() -> stat.Panel:
    return _of_sessions(
        "Average duration",
        f"Mean duration {style.OF_SESSIONS}.",
        "avg(extract(epoch FROM duration))::float8",
        unit="dthms",
        colour=style.SECOND,
    )


def median_duration() -> stat.Panel:
    return _of_sessions(
        "Median duration",
        f"Median duration {style.OF_SESSIONS}.",
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM duration))",
        unit="dthms",
        colour=style.SECOND,
    )


def bounce_rate() -> stat.Panel:
    """Sessions with a single page view."""
    return _of_sessions(
        "Bounce rate",
        f"Share {style.OF_SESSIONS} that have at most one page view.",
        "avg(bounce::int)::float8",
        unit="percentunit",
        decimals=1,
    )


def pages_per_session() -> stat.Panel:
    return _of_sessions(
        "Pages per session",
        f"Mean number of page views {style.OF_SESSIONS}.",
        "avg(page_views)::float8",
        unit="none",
        decimals=2,
    )


def new_share() -> stat.Panel:
    """Users that were never seen before."""
    query = sql(f"""
        SELECT CASE WHEN EXISTS (
                   SELECT FROM "${{schema}}".active_users_day, "${{schema}}".pipeline p
                   WHERE day < ($__timeFrom()::timestamptz AT TIME ZONE p.time_zone)::date AND {VISITORS_SQL}
               ) THEN avg((first_day = day)::int)::float8 END AS "New users"
        FROM (SELECT user_id, min(day) AS first_day FROM "${{schema}}".active_users_day WHERE {VISITORS_SQL} GROUP BY \
user_id) u
        JOIN (
            SELECT user_id, min(day) AS day FROM {_active_in("day", "active_users_day", _DAYS)} GROUP BY user_id
        ) seen USING (user_id)""")
    return style.number(
        "New users",
        "Of the users of the days in the time range, those whose first day is one of them (as far as the retention "
        "reaches). Without data from before the time range nobody can be told to be new.",
        query,
        unit="percentunit",
        decimals=1,
        colour=style.GOOD,
        empty="no data before",
    )


def _active(title: str, what: str, time: str, grain: str, table: str, when: str, interval: str) -> timeseries.Panel:
    query = sql(
        f"""
        SELECT {time} AS time, count(DISTINCT user_id)::float8 AS "Users"
        FROM {_active_in(grain, table, when)}, "${{schema}}".pipeline p
        GROUP BY 1 ORDER BY 1""",
        time_series=True,
    )
    return style.curve(title, what, [query], bars=True, width=8).interval(interval)


def hourly_users() -> timeseries.Panel:
    return _active(
        "Active users by hour",
        f"Different users by hour, {_HALVES}.",
        "hour",
        "hour",
        "active_users_hour",
        HOURS_SQL,
        "1h",
    )


def daily_users() -> timeseries.Panel:
    return _active(
        "Active users by day",
        f"Different users by day of the reporting time zone, {_HALVES}.",
        "day::timestamp AT TIME ZONE p.time_zone",
        "day",
        "active_users_day",
        _DAYS,
        "1d",
    )


def weekly_users() -> timeseries.Panel:
    return _active(
        "Active users by week",
        f"Different users by week, Monday to Sunday, {_HALVES}. Weeks that are partly in the time range are whole.",
        "date_trunc('week', day::timestamp) AT TIME ZONE p.time_zone",
        "day",
        "active_users_day",
        """day BETWEEN date_trunc('week', $__timeFrom()::timestamptz AT TIME ZONE p.time_zone)::date
                          AND date_trunc('week', $__timeTo()::timestamptz AT TIME ZONE p.time_zone)::date + 6""",
        "7d",
    )


def new_and_returning() -> timeseries.Panel:
    """Users of each day, by whether it is their first."""
    query = sql(
        f"""
        SELECT day::timestamp AT TIME ZONE p.time_zone AS time,
               (count(*) FILTER (WHERE day = first_day))::float8 AS "New",
               (count(*) FILTER (WHERE day > first_day))::float8 AS "Returning"
        FROM (SELECT DISTINCT user_id, day FROM {_active_in("day", "active_users_day", _DAYS)}) seen
        JOIN (
            SELECT user_id, min(day) AS first_day FROM "${{schema}}".active_users_day WHERE {VISITORS_SQL} GROUP BY \
user_id
        ) u USING (user_id), "${{schema}}".pipeline p
        GROUP BY 1 ORDER BY 1""",
        time_series=True,
    )
    return style.curve(
        "New and returning users by day",
        "Users of each day; new on the first day on which they were ever seen (as far as the retention reaches). "
        "Where a device, channel or country is chosen, users with such a session on the day.",
        [query],
        colours={"New": style.GOOD, "Returning": style.ACCENT},
        bars=True,
        stacked=True,
    ).interval("1d")


def sessions_by_hour() -> timeseries.Panel:
    """Sessions that started in each hour."""
    query = sql(
        f"""
        SELECT date_trunc('hour', started_at, p.time_zone) AS time, count(*)::float8 AS "Sessions"
        FROM "${{schema}}".sessions, "${{schema}}".pipeline p
        WHERE {_CHOSEN}
        GROUP BY 1 ORDER BY 1""",
        time_series=True,
    )
    return style.curve(
        "Sessions by hour", "Sessions by the hour in which they started.", [query], bars=True, empty=style.NO_SESSIONS
    ).interval("1h")


def _pages(title: str, what: str, column: str) -> table.Panel:
    query = sql(f"""
        SELECT {column} AS "Page", count(*) AS "Sessions"
        FROM "${{schema}}".sessions
        WHERE {_CHOSEN}
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10""")
    return style.ranking(
        title,
        what,
        query,
        ("Page", "Sessions"),
        colour=style.THIRD,
        empty=style.NO_SESSIONS,
        named_cell=cells.page_link(),
        width=6,
    )


def entry_pages() -> table.Panel:
    return _pages("Entry pages", f"First page {style.OF_SESSIONS}.", "entry_page")


def exit_pages() -> table.Panel:
    return _pages("Exit pages", f"Last page {style.OF_SESSIONS}.", "exit_page")


def top_pages() -> table.Panel:
    """Pages with the most views, beside the same length of time before."""
    query = sql(f"""
        SELECT page_path AS "Page", sum(views) FILTER (WHERE minute >= r.since)::bigint AS "Views",
               coalesce(sum(views) FILTER (WHERE minute < r.since), 0)::bigint AS "Before",
               CASE WHEN sum(views) FILTER (WHERE minute < r.since) >= 20 THEN
                   (sum(views) FILTER (WHERE minute >= r.since))::float8
                       / sum(views) FILTER (WHERE minute < r.since) - 1 END AS "Change"
        FROM "${{schema}}".page_views_minute,
             (SELECT $__timeFrom()::timestamptz AS since, $__timeTo()::timestamptz AS until) r
        WHERE minute >= r.since - (r.until - r.since) AND minute <= r.until AND {VISITORS_SQL}
        GROUP BY page_path HAVING sum(views) FILTER (WHERE minute >= r.since) > 0 ORDER BY 2 DESC, 1 LIMIT 20""")
    return style.rows(
        "Top pages and their trend (unfiltered)",
        "Page views of the time range, of the same length of time before it, and the change where there were at least "
        "20 before. Of the choices above only Visitors counts.",
        query,
        {
            "Page": cells.page_link(),
            "Views": {"custom.width": 90, "unit": "locale"},
            "Before": {"custom.width": 90, "unit": "locale"},
            "Change": cells.change_cell(),
        },
        height=11,
    )


def build() -> dict[str, Any]:
    board = frame.frame(
        "audience",
        "Clickstream audience and sessions",
        "Active users, new and returning, sessions, their length, and the pages where they begin and end.",
        since="now-7d",
        refresh="1m",
        sources=("postgres",),
    )
    for variable in (
        frame.bots(),
        frame.session_choice("device", "Device", "device"),
        frame.session_choice("channel", "Channel", "medium"),
        frame.session_choice("country", "Country", "country"),
    ):
        board.with_variable(variable)
    frame.laid_out(
        board,
        sessions(),
        average_duration(),
        median_duration(),
        bounce_rate(),
        pages_per_session(),
        new_share(),
        hourly_users(),
        daily_users(),
        weekly_users(),
        new_and_returning(),
        sessions_by_hour(),
        entry_pages(),
        exit_pages(),
        top_pages(),
    )
    return frame.finished(board)
