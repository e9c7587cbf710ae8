"""Sessions: who was there, one by one, and what they did; where the links of the other dashboards lead."""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard, table

from clickstream_dashboards import cells, frame, style
from clickstream_dashboards.queries import VISITORS_SQL, sql

ANY: Final = "*"
_ROWS: Final = 100


def text_box(name: str, label: str, what: str) -> dashboard.TextBoxVariable:
    """Something to type; `*` is anything."""
    return dashboard.TextBoxVariable(name).label(label).description(what).default_value(ANY)


def sessions() -> table.Panel:
    """The newest sessions that fit what was typed."""
    query = sql(f"""
        SELECT started_at AS "Start", user_id AS "User", extract(epoch FROM duration)::float8 AS "Duration",
               page_views AS "Views", entry_page AS "Entry page", exit_page AS "Exit page", medium AS "Channel",
               campaign AS "Campaign", country AS "Country", device AS "Device", session_id AS "Session"
        FROM "${{schema}}".sessions
        WHERE $__timeFilter(started_at) AND {VISITORS_SQL}
          AND ({_any("user")} OR user_id = ${{user:sqlstring}})
          AND ({_any("left")} OR coalesce(funnels ->> ${{funnel:sqlstring}}, '0') = ${{left:sqlstring}})
          AND ({_any("page")} OR session_id IN (
              SELECT coalesce(a.merged_into, c.session_id)
              FROM "${{schema}}".clicks c LEFT JOIN "${{schema}}".session_aliases a ON a.session_id = c.session_id
              WHERE c.event_time >= $__timeFrom()::timestamptz AND c.type = 'page_view'
                AND c.page_path ~ "${{schema}}".page_pattern_regex(${{page:sqlstring}})))
        ORDER BY started_at DESC, session_id LIMIT {_ROWS}""")
    return style.rows(
        f"The newest {_ROWS} sessions",
        "Sessions that started in the time range and fit what is typed above, open ones as they stand. A session's id "
        "shows its events below.",
        query,
        {
            "Start": {"unit": "dateTimeAsIso", "custom.width": 165},
            "User": {
                "custom.width": 190,
                "links": [cells.link("Sessions of this user", "sessions", user="${__value.raw:percentencode}")],
            },
            "Duration": {"unit": "dthms", "custom.width": 90},
            "Views": {"unit": "locale", "custom.width": 65},
            "Channel": {"custom.width": 90},
            "Country": {"custom.width": 80},
            "Device": {"custom.width": 90},
            "Session": {
                "custom.width": 230,
                "links": [cells.link("Events of this session", "sessions", session="${__value.raw:percentencode}")],
            },
        },
        empty="No session of this time range fits what is typed above.",
        width=24,
        height=12,
    )


def events() -> table.Panel:
    """What happened in one session."""
    query = sql("""
        SELECT c.event_time AS "Time", c.type AS "Type", c.page_path AS "Page", c.title AS "Title",
               nullif(c.properties::text, '{}') AS "Properties"
        FROM "${schema}".sessions s
        JOIN "${schema}".clicks c ON c.event_time BETWEEN s.started_at AND s.ended_at
        LEFT JOIN "${schema}".session_aliases a ON a.session_id = c.session_id
        WHERE s.session_id = ${session:sqlstring} AND coalesce(a.merged_into, c.session_id) = s.session_id
        ORDER BY c.event_time, c.event_id LIMIT 1000""")
    return style.rows(
        "Events of the session",
        "Every event of the session that is chosen above, in the order of their times; the first 1,000.",
        query,
        {
            "Time": {"unit": "dateTimeAsIso", "custom.width": 165},
            "Type": {"custom.width": 130},
            "Page": {"custom.width": 320},
            "Title": {"custom.width": 260},
        },
        empty="No session is chosen: click on one's id in the table above.",
        width=24,
        height=12,
    )


def _any(name: str) -> str:
    return f"${{{name}:sqlstring}} IN ('', '{ANY}')"


def build() -> dict[str, Any]:
    board = frame.frame(
        "sessions",
        "Clickstream sessions",
        "Sessions one by one: who, from where, what they did and where they left.",
        since="now-24h",
        refresh="",
        sources=("postgres",),
    )
    for variable in (
        frame.bots(),
        text_box("page", "Viewed page", "A page's path; * is any run of characters."),
        text_box("user", "User", "A user id."),
        text_box("funnel", "Funnel", "Name of a funnel, for the next field."),
        text_box("left", "Left after step", "Number of the last step of the funnel that was reached; 0: none."),
        text_box("session", "Session", "Id of the session whose events are shown."),
    ):
        board.with_variable(variable)
    frame.laid_out(board, sessions(), events())
    return frame.finished(board)
