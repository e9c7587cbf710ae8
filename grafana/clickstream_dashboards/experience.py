"""Web vitals and errors: how fast pages are for visitors, and what breaks there; by the tracker's modules."""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.builders import stat, table, timeseries

from clickstream_dashboards import frame, style
from clickstream_dashboards.queries import AUDIENCE_SQL, Target, bins, sql

_NO_VITALS: Final = 'No web vitals in this time range. The tracker measures them: data-modules="vitals" in its tag.'
_NO_ERRORS: Final = 'No errors in this time range. The tracker reports them with data-modules="errors" in its tag.'
_WORDS: Final = "Three quarters of the measured page loads of the time range were at least as good (75th percentile)."


def _of(kind: str) -> str:
    return f"""FROM "${{schema}}".clicks
        WHERE $__timeFilter(event_time) AND type = '{kind}' AND {AUDIENCE_SQL}"""


def _p75(name: str) -> str:
    """SQL: the 75th percentile of a property; what is no number does not count."""
    return f"percentile_cont(0.75) WITHIN GROUP (ORDER BY \"${{schema}}\".amount(properties -> '{name}')::float8)"


def _vital(title: str, what: str, name: str, unit: str, good: float, poor: float, decimals: int = 0) -> stat.Panel:
    query = sql(f"""
        SELECT {_p75(name)} AS "{title}"
        {_of("web_vitals")}""")
    levels = ((None, style.GOOD), (good, style.SECOND), (poor, style.BAD))
    said = f"{what} {_WORDS} Orange from {good:g}, red from {poor:g}, as web.dev has it."
    return style.number(title, said, query, unit=unit, decimals=decimals, levels=levels, width=6)


def lcp() -> stat.Panel:
    return _vital(
        "Largest paint (LCP)", "When the page's largest element was drawn.", "lcp_ms", "suffix:ms", 2_500, 4_000
    )


def inp() -> stat.Panel:
    return _vital(
        "Slowest interaction (INP)", "How long the page's slowest interaction took.", "inp_ms", "suffix:ms", 200, 500
    )


def cls() -> stat.Panel:
    return _vital("Layout shift (CLS)", "How much of the page moved by itself.", "cls", "none", 0.1, 0.25, 3)


def ttfb() -> stat.Panel:
    return _vital("First byte (TTFB)", "When the answer began to arrive.", "ttfb_ms", "suffix:ms", 800, 1_800)


def _series(kind: str, columns: str) -> Target:
    return sql(
        f"""
        SELECT date_bin(b.width, event_time, b.monday) AS time, {columns}
        FROM "${{schema}}".clicks, {bins(300)}
        WHERE $__timeFilter(event_time) AND type = '{kind}' AND {AUDIENCE_SQL}
        GROUP BY 1 ORDER BY 1""",
        time_series=True,
    )


def over_time() -> timeseries.Panel:
    """LCP, INP and TTFB over time."""
    columns = f'{_p75("lcp_ms")} AS "LCP", {_p75("inp_ms")} AS "INP", {_p75("ttfb_ms")} AS "TTFB"'
    return style.curve(
        "Web vitals over time",
        "75th percentiles by five minutes, in a long time range by as many as a point stands for.",
        [_series("web_vitals", columns)],
        unit="suffix:ms",
        colours={"LCP": style.ACCENT, "INP": style.SECOND, "TTFB": style.THIRD},
        empty=_NO_VITALS,
    ).interval("5m")


def errors_over_time() -> timeseries.Panel:
    """Errors over time."""
    return style.curve(
        "JavaScript errors over time",
        "Errors that nobody caught, by five minutes, in a long time range by as many as a point stands for; at most "
        "ten of a page load are reported.",
        [_series("js_error", 'count(*)::float8 AS "Errors"')],
        colours={"Errors": style.BAD},
        bars=True,
        empty=_NO_ERRORS,
    ).interval("5m")


def pages() -> table.Panel:
    """Web vitals by page."""
    query = sql(f"""
        SELECT page_path AS "Page", count(*) AS "Loads", {_p75("lcp_ms")} AS "LCP", {_p75("inp_ms")} AS "INP",
               {_p75("cls")} AS "CLS", {_p75("ttfb_ms")} AS "TTFB"
        {_of("web_vitals")}
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20""")
    ms = {"unit": "suffix:ms", "decimals": 0, "custom.width": 85}
    return style.rows(
        "Web vitals by page",
        "75th percentiles of the 20 pages with the most measured loads.",
        query,
        {
            "Loads": {"custom.width": 75, "unit": "locale"},
            "LCP": ms,
            "INP": ms,
            "CLS": {"unit": "none", "decimals": 3, "custom.width": 75},
            "TTFB": ms,
        },
        empty=_NO_VITALS,
        height=11,
    )


def errors() -> table.Panel:
    """The most frequent errors."""
    query = sql(f"""
        SELECT properties ->> 'message' AS "Message", properties ->> 'file' AS "File", count(*) AS "Times",
               count(DISTINCT user_id) AS "Users", max(event_time) AS "Last"
        {_of("js_error")}
        GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 20""")
    return style.rows(
        "JavaScript errors",
        "The 20 most frequent errors, by message and file.",
        query,
        {
            "Times": {"custom.width": 75, "unit": "locale"},
            "Users": {"custom.width": 75, "unit": "locale"},
            "Last": {"custom.width": 170, "unit": "dateTimeAsIso"},
        },
        empty=_NO_ERRORS,
        height=11,
    )


def build() -> dict[str, Any]:
    board = frame.frame(
        "experience",
        "Clickstream web vitals and errors",
        "How fast pages are for visitors, and which errors they meet.",
        since="now-24h",
        refresh="1m",
        sources=("postgres",),
    )
    for variable in (
        frame.bots(),
        frame.session_choice("device", "Device", "device"),
        frame.session_choice("country", "Country", "country"),
    ):
        board.with_variable(variable)
    frame.laid_out(board, lcp(), inp(), cls(), ttfb(), over_time(), errors_over_time(), pages(), errors())
    return frame.finished(board)
