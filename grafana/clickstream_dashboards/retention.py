"""Retention and paths: who comes back in the weeks after their first, how visits begin, and where people go next."""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.builders import table

from clickstream_dashboards import frame, style
from clickstream_dashboards.queries import LAST_DAY_SQL, sql

WEEKS: Final = 8
_PAGES: Final = """
    SELECT page_path FROM "${schema}".page_views_minute
    WHERE minute BETWEEN greatest($__timeFrom()::timestamptz, $__timeTo()::timestamptz - interval '1 day')
                     AND $__timeTo()::timestamptz AND NOT bot
    GROUP BY page_path ORDER BY sum(views) DESC, page_path LIMIT 200"""


def cohorts() -> table.Panel:
    """Shares of those who came back, by the week in which they were new."""
    shares = ",\n               ".join(
        f'max(share) FILTER (WHERE age = {age}) AS "Week {age}"' for age in range(1, WEEKS + 1)
    )
    query = sql(f"""
        SELECT cohort::timestamp AT TIME ZONE p.time_zone AS "Week of", max(users) AS "New",
               {shares}
        FROM "${{schema}}".pipeline p, "${{schema}}".retention(
            date_trunc('week', $__timeFrom()::timestamptz AT TIME ZONE p.time_zone)::date,
            ($__timeTo()::timestamptz AT TIME ZONE p.time_zone)::date + 1, 'week')
        GROUP BY cohort, p.time_zone ORDER BY cohort""")
    share: dict[str, Any] = {
        "unit": "percentunit",
        "decimals": 0,
        "min": 0,
        "max": 1,
        "custom.width": 95,
        "custom.align": "center",
        "custom.cellOptions": {"type": "color-background", "mode": "basic"},
        "color": {"mode": "thresholds"},
        "thresholds": {
            "mode": "absolute",
            "steps": [
                {"color": "transparent", "value": None},
                {"color": "#1F3A5F", "value": 0.000001},
                {"color": "#28558F", "value": 0.1},
                {"color": "#3470BF", "value": 0.2},
                {"color": "#5794F2", "value": 0.4},
            ],
        },
    }
    columns: dict[str, dict[str, Any]] = {
        "Week of": {"unit": "time:YYYY-MM-DD"},
        "New": {"custom.width": 95, "unit": "locale"},
    }
    columns |= {f"Week {age}": share for age in range(1, WEEKS + 1)}
    return style.rows(
        "Who comes back, by week",
        "People by the week in which they were first seen (Monday to Sunday), and the share of them with a click one "
        "to eight weeks after it. First seen: as far as the retention of the data reaches. The latest week goes on.",
        query,
        columns,
        width=24,
        height=10,
    )


def paths() -> table.Panel:
    """How sessions begin."""
    query = sql(f"""
        SELECT array_to_string(pages, ' → ') AS "First pages", sessions AS "Sessions", share AS "Share"
        FROM "${{schema}}".page_paths({LAST_DAY_SQL}, 3) LIMIT 20""")
    return style.rows(
        "How sessions begin, last day",
        "The first three pages of people's sessions of the last day of the time range, fewer of shorter ones; "
        "recomputed from the clicks (function page_paths).",
        query,
        {
            "Sessions": {"custom.width": 90, "unit": "locale"},
            "Share": {"custom.width": 80, "unit": "percentunit", "decimals": 1},
        },
        empty=style.NO_SESSIONS,
        width=14,
        height=11,
    )


def next_pages() -> table.Panel:
    """Where people go from a page."""
    query = sql(f"""
        SELECT coalesce(page_path, '(left)') AS "Next page", views AS "Views", share AS "Share"
        FROM "${{schema}}".next_pages(${{page:sqlstring}}, {LAST_DAY_SQL}) LIMIT 20""")
    return style.rows(
        "After ${page}, last day",
        "What people viewed next in the same session, after this page, in the last day of the time range; recomputed "
        "from the clicks (function next_pages).",
        query,
        {
            "Views": {"custom.width": 90, "unit": "locale"},
            "Share": {"custom.width": 80, "unit": "percentunit", "decimals": 1},
        },
        empty="Nobody viewed this page in the last day of this time range.",
        width=10,
        height=11,
    )


def build() -> dict[str, Any]:
    board = frame.frame(
        "retention",
        "Clickstream retention and paths",
        "Who comes back in the weeks after their first, how sessions begin, and where people go from a page.",
        since="now-56d",
        refresh="5m",
        sources=("postgres",),
    )
    board.with_variable(frame.sql_one("page", "Page", _PAGES))
    frame.laid_out(board, cohorts(), paths(), next_pages())
    return frame.finished(board)
