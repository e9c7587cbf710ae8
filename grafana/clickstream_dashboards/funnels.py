"""The funnels: how far sessions get, where they leave, how long each step takes, and for whom it goes better.

History comes from the warehouse: sessions are read with the definition that was in force when they started, so that a
funnel changed yesterday still shows what it was before (variable Version). The last half hour comes from Elasticsearch.
"""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.builders import bargauge, dashboard, stat, table, timeseries

from clickstream_dashboards import cells, frame, style
from clickstream_dashboards.queries import (
    LAST_DAY_SQL,
    SESSIONS,
    VISITORS,
    VISITORS_SQL,
    by_key,
    chosen,
    count,
    last,
    search,
    sql,
)

FUNNEL_NAMES: Final = 'SELECT DISTINCT funnel FROM "${schema}".funnels ORDER BY 1'
_VERSIONS: Final = """
    SELECT DISTINCT version FROM "${schema}".funnels WHERE funnel = ${funnel:sqlstring} ORDER BY 1 DESC"""
_NO_FUNNEL: Final = "No funnel is declared: add one to the pipeline's spec.funnels."

_CHOSEN: Final = f"""funnel = ${{funnel:sqlstring}} AND version = ${{version:raw}} AND $__timeFilter(started_at)
          AND {VISITORS_SQL} AND {chosen("device", "device")}
          AND {chosen("channel", "medium")} AND {chosen("country", "country")}"""

_WHO_LEFT: Final = cells.link(
    "Who left after it", "sessions", funnel="${funnel:percentencode}", left='${__data.fields["No."]}'
)


def funnel_annotation() -> dashboard.AnnotationQuery:
    """A mark where a funnel was changed."""
    return frame.sql_annotation(
        "Funnel changes",
        """
        SELECT valid_from AS time, 'Funnel ' || funnel || ', version ' || version AS text
        FROM "${schema}".funnels WHERE version > 1 AND step = 1 AND $__timeFilter(valid_from)""",
    )


def entered() -> stat.Panel:
    """Sessions at the first step."""
    query = sql(f"""
        SELECT count(*) FILTER (WHERE furthest >= 1) AS "Entered"
        FROM "${{schema}}".funnel_sessions
        WHERE {_CHOSEN}""")
    return style.number("Entered", "Sessions that reached the first step.", query, width=6)


def completed() -> stat.Panel:
    """Sessions at the last step."""
    query = sql(f"""
        SELECT count(*) FILTER (WHERE furthest >= steps) AS "Completed"
        FROM "${{schema}}".funnel_sessions
        WHERE {_CHOSEN}""")
    return style.number("Completed", "Sessions that reached the last step.", query, colour=style.GOOD, width=6)


def conversion() -> stat.Panel:
    """The share that completes."""
    query = sql(f"""
        SELECT count(*) FILTER (WHERE furthest >= steps)::float8 / nullif(count(*) FILTER (WHERE furthest >= 1), 0)
            AS "Conversion"
        FROM "${{schema}}".funnel_sessions
        WHERE {_CHOSEN}""")
    return style.number(
        "Conversion", "Completed of entered.", query, unit="percentunit", decimals=1, colour=style.GOOD, width=6
    )


def not_entered() -> stat.Panel:
    """Sessions that never saw the first step."""
    query = sql(f"""
        SELECT count(*) FILTER (WHERE furthest = 0)::float8 / nullif(count(*), 0) AS "Outside"
        FROM "${{schema}}".funnel_sessions
        WHERE {_CHOSEN}""")
    return style.number(
        "Outside the funnel",
        "Sessions that never reached the first step, of all sessions.",
        query,
        unit="percentunit",
        decimals=1,
        colour=style.QUIET,
        width=6,
    )


def steps() -> bargauge.Panel:
    """Sessions that reached each step."""
    query = sql(f"""
        SELECT f.step || '. ' || f.step_name AS "Step", count(s.session_id) AS "Sessions"
        FROM "${{schema}}".funnels f
        LEFT JOIN (
            SELECT session_id, furthest FROM "${{schema}}".funnel_sessions
            WHERE {_CHOSEN}
        ) s ON s.furthest >= f.step
        WHERE f.funnel = ${{funnel:sqlstring}} AND f.version = ${{version:raw}}
        GROUP BY f.step, f.step_name ORDER BY f.step""")
    return style.bars(
        "Sessions by step",
        "Sessions that reached each step in order.",
        query,
        colour=style.GOOD,
        empty=_NO_FUNNEL,
        width=8,
    )


def drop_off() -> table.Panel:
    """Conversion and loss from step to step."""
    query = sql(f"""
        SELECT step AS "No.", step_name AS "Step", sessions AS "Sessions",
               sessions::float8 / nullif(first_value(sessions) OVER w, 0) AS "Of first",
               sessions::float8 / nullif(lag(sessions) OVER w, 0) AS "Of previous",
               sessions - lead(sessions) OVER w AS "Left"
        FROM (
            SELECT f.step, f.step_name, count(s.session_id) AS sessions
            FROM "${{schema}}".funnels f
            LEFT JOIN (
                SELECT session_id, furthest FROM "${{schema}}".funnel_sessions
                WHERE {_CHOSEN}
            ) s ON s.furthest >= f.step
            WHERE f.funnel = ${{funnel:sqlstring}} AND f.version = ${{version:raw}}
            GROUP BY f.step, f.step_name
        ) reached
        WINDOW w AS (ORDER BY step) ORDER BY step""")
    return style.rows(
        "From step to step",
        "How many of the first and of the previous step came to each, and how many left after it: a click shows them.",
        query,
        {
            "Of first": cells.share_cell(style.GOOD) | {"custom.width": 112},
            "Of previous": cells.share_cell() | {"custom.width": 112},
            "Sessions": {"custom.width": 85, "unit": "locale"},
            "No.": {"custom.width": 42},
            "Left": {"custom.width": 65, "unit": "locale", "links": [_WHO_LEFT]},
        },
        empty=_NO_FUNNEL,
        width=10,
    )


def step_times() -> bargauge.Panel:
    """Median time from step to step, recomputed from the clicks."""
    query = sql(f"""
        SELECT d.step || '. ' || d.step_name AS "Step", f.seconds_from_previous AS "Median"
        FROM "${{schema}}".funnel(
            ARRAY(SELECT page_pattern FROM "${{schema}}".funnels
                  WHERE funnel = ${{funnel:sqlstring}} AND version = ${{version:raw}} ORDER BY step),
            {LAST_DAY_SQL}) f
        JOIN "${{schema}}".funnels d ON d.funnel = ${{funnel:sqlstring}} AND d.version = ${{version:raw}} \
AND d.step = f.step
        WHERE f.step > 1 ORDER BY f.step""")
    return style.bars(
        "Time to the step, last day (unfiltered)",
        "Median time from the previous step, of all people's sessions of the last day of the time range; recomputed "
        "from the clicks by the function funnel(). Of the choices above only Funnel and Version count.",
        query,
        unit="dthms",
        colour=style.SECOND,
        empty="No session of the last day of this time range went from one step to the next.",
    )


def conversion_by_day() -> timeseries.Panel:
    """Conversion of each day."""
    query = sql(
        f"""
        SELECT date_trunc('day', started_at, p.time_zone) AS time,
               count(*) FILTER (WHERE furthest >= steps)::float8 / nullif(count(*) FILTER (WHERE furthest >= 1), 0)
                   AS "Conversion"
        FROM "${{schema}}".funnel_sessions, "${{schema}}".pipeline p
        WHERE {_CHOSEN}
        GROUP BY 1 ORDER BY 1""",
        time_series=True,
    )
    return style.curve(
        "Conversion by day",
        "Completed of entered, by the day on which the session started.",
        [query],
        unit="percentunit",
        bars=True,
        empty=style.NO_SESSIONS,
    ).interval("1d")


def live() -> bargauge.Panel:
    """Steps reached by sessions of the last half hour, of all funnels."""
    query = search(f"{VISITORS} AND {last(30, 'start')}", count(), by_key("funnel_steps", 64), source=SESSIONS)
    return style.bars(
        "Last 30 minutes, all funnels (unfiltered)",
        "Sessions that started in the last 30 minutes of the time range and reached each step of each funnel "
        "(funnel:step), from Elasticsearch. Of the choices above only Visitors counts.",
        query,
        colour=style.LIVE,
        empty="No session reached a step of a funnel in the last 30 minutes of this time range.",
        width=12,
    ).time_from("30m")


def _by(title: str, column: str, name: str) -> table.Panel:
    query = sql(f"""
        SELECT coalesce({column}, 'unknown') AS "{name}", count(*) FILTER (WHERE furthest >= 1) AS "Entered",
               count(*) FILTER (WHERE furthest >= steps) AS "Completed",
               count(*) FILTER (WHERE furthest >= steps)::float8 / nullif(count(*) FILTER (WHERE furthest >= 1), 0)
                   AS "Conversion"
        FROM "${{schema}}".funnel_sessions
        WHERE {_CHOSEN}
        GROUP BY 1 HAVING count(*) FILTER (WHERE furthest >= 1) > 0 ORDER BY 2 DESC, 1 LIMIT 20""")
    return style.rows(
        title,
        f"Entered, completed and conversion by {name.lower()}.",
        query,
        {
            "Conversion": cells.share_cell(style.GOOD),
            "Entered": {"custom.width": 80, "unit": "locale"},
            "Completed": {"custom.width": 95, "unit": "locale"},
        },
        empty=style.NO_SESSIONS,
        width=8,
    )


def versions() -> table.Panel:
    """Every definition that the funnel had."""
    query = sql("""
        SELECT version AS "Version", string_agg(step_name || ' (' || page_pattern || ')', ' → ' ORDER BY step) AS \
"Steps",
               nullif(valid_from, timestamptz 'epoch') AS "In force from", valid_to AS "Until"
        FROM "${schema}".funnels WHERE funnel = ${funnel:sqlstring}
        GROUP BY version, valid_from, valid_to ORDER BY version DESC""")
    return style.rows(
        "Versions",
        "Every definition that this funnel had; a session counts in the one in force when it started.",
        query,
        {
            "Version": {"custom.width": 80},
            "In force from": {"unit": "dateTimeAsIso", "custom.width": 170, "noValue": "the beginning"},
            "Until": {"unit": "dateTimeAsIso", "custom.width": 170, "noValue": "now"},
        },
        empty=_NO_FUNNEL,
        width=24,
        height=5,
    )


def build() -> dict[str, Any]:
    board = frame.frame(
        "funnels",
        "Clickstream funnels",
        "Conversion and drop-off of each declared funnel, over time and by audience.",
        since="now-7d",
        refresh="1m",
        sources=("postgres", "sessions"),
    )
    for variable in (
        frame.sql_one("funnel", "Funnel", FUNNEL_NAMES),
        frame.sql_one("version", "Version", _VERSIONS),
        frame.bots(),
        frame.session_choice("device", "Device", "device"),
        frame.session_choice("channel", "Channel", "medium"),
        frame.session_choice("country", "Country", "country"),
    ):
        board.with_variable(variable)
    board.annotation(funnel_annotation())
    frame.laid_out(
        board,
        entered(),
        completed(),
        conversion(),
        not_entered(),
        steps(),
        drop_off(),
        step_times(),
        conversion_by_day(),
        live(),
        _by("By device", "device", "Device"),
        _by("By channel", "medium", "Channel"),
        _by("By country", "country", "Country"),
        versions(),
    )
    return frame.finished(board)
