"""Acquisition: where sessions come from, where they land, what becomes of them, and which orders are owed to whom."""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.builders import stat, table, timeseries

from clickstream_dashboards import cells, frame, style
from clickstream_dashboards.funnels import FUNNEL_NAMES, funnel_annotation
from clickstream_dashboards.queries import AUDIENCE_SQL, bins, sql

_SESSIONS: Final = f"""(
            SELECT s.*, coalesce((s.funnels ->> ${{funnel:sqlstring}})::integer, 0) >= f.steps AS converted
            FROM "${{schema}}".sessions s LEFT JOIN (
                SELECT valid_from, valid_to, max(step) AS steps FROM "${{schema}}".funnels
                WHERE funnel = ${{funnel:sqlstring}} GROUP BY version, valid_from, valid_to
            ) f ON s.started_at >= f.valid_from AND (f.valid_to IS NULL OR s.started_at < f.valid_to)
            WHERE $__timeFilter(started_at) AND {AUDIENCE_SQL}
        ) sessions"""
"""SQL: the chosen sessions; `converted`: whether each reached the last step of the funnel as it was then, else NULL."""
_RANGE: Final = "$__timeFrom()::timestamptz, $__timeTo()::timestamptz"
_CONVERTED: Final = "Converted: reached the last step of the funnel that is chosen above."
_NO_ORDERS: Final = (
    "No orders in this time range: they are events of the type purchase, or Order Completed, with a revenue."
)
CHANNELS: Final = ("search", "social", "ai", "paid", "email", "referral", "direct")
"""Each has a series of its own, in this order; all others are one."""
_COLOURS: Final = dict(
    zip(
        ("Search", "Social", "AI", "Paid", "Email", "Referral", "Direct", "Other"),
        (style.ACCENT, style.THIRD, style.LIVE, style.SECOND, style.GOOD, style.PINK, style.QUIET, style.BAD),
        strict=True,
    )
)


def _number(title: str, what: str, expression: str, **options: Any) -> stat.Panel:
    query = sql(f"""
        SELECT {expression} AS "{title}"
        FROM {_SESSIONS}""")
    return style.number(title, what, query, width=6, **options)


def sessions() -> stat.Panel:
    return _number("Sessions", "Sessions that started in the time range.", "count(*)")


def users() -> stat.Panel:
    return _number("Users", f"Different users {style.OF_SESSIONS}.", "count(DISTINCT user_id)")


def bounced() -> stat.Panel:
    return _number(
        "Bounce rate",
        f"Share {style.OF_SESSIONS} that have at most one page view.",
        "avg(bounce::int)::float8",
        unit="percentunit",
        decimals=1,
    )


def converted() -> stat.Panel:
    return _number(
        "Converted, of all sessions",
        f"Share {style.OF_SESSIONS} that reached the last step of the funnel, of all of them: also of those that never "
        "saw its first step.",
        "avg(converted::int)::float8",
        unit="percentunit",
        decimals=1,
        colour=style.GOOD,
        empty="no funnel",
    )


def sessions_by_channel() -> timeseries.Panel:
    """Sessions over time, by channel."""
    series = ",\n               ".join(
        f"(count(*) FILTER (WHERE medium = '{channel}'))::float8 AS \"{name}\""
        for channel, name in zip(CHANNELS, _COLOURS, strict=False)
    )
    others = ", ".join(f"'{channel}'" for channel in CHANNELS)
    query = sql(
        f"""
        SELECT date_bin(b.width, started_at, b.monday) AS time,
               {series},
               (count(*) FILTER (WHERE medium NOT IN ({others})))::float8 AS "Other"
        FROM {_SESSIONS}, {bins(3600)}
        GROUP BY 1 ORDER BY 1""",
        time_series=True,
    )
    return style.curve(
        "Sessions by channel",
        "Sessions by the hour in which they started, in a long time range by as many hours as a point stands for; the "
        "channel is that of the first click. Other: affiliates, campaigns without a known medium, and sessions that "
        "went on within the site after a pause.",
        [query],
        colours=_COLOURS,
        bars=True,
        stacked=True,
        empty=style.NO_SESSIONS,
        width=16,
    ).interval("1h")


def orders() -> table.Panel:
    """Orders and revenue, by currency."""
    query = sql(f"""
        SELECT coalesce(currency, 'unknown') AS "Currency", count(*) AS "Orders",
               coalesce(sum(revenue), 0)::float8 AS "Revenue", avg(revenue)::float8 AS "Average order"
        FROM (
            SELECT p.currency, p.revenue, s.device, s.country, coalesce(s.bot, false) AS bot
            FROM "${{schema}}".purchases({_RANGE}) p LEFT JOIN "${{schema}}".sessions s USING (session_id)
        ) orders
        WHERE {AUDIENCE_SQL}
        GROUP BY 1 ORDER BY 2 DESC, 1""")
    money = {"unit": "locale", "decimals": 2}
    return style.rows(
        "Orders and revenue",
        "Orders of the time range, one for each order id; nothing is converted between currencies.",
        query,
        {
            "Orders": {"custom.width": 80, "unit": "locale"},
            "Revenue": money | {"custom.width": 110},
            "Average order": money | {"custom.width": 120},
        },
        empty=_NO_ORDERS,
        width=8,
    )


def _by(title: str, what: str, column: str, name: str, *, where: str = "true") -> table.Panel:
    query = sql(f"""
        SELECT {column} AS "{name}", count(*) AS "Sessions", count(DISTINCT user_id) AS "Users",
               avg(bounce::int)::float8 AS "Bounced", avg(converted::int)::float8 AS "Converted"
        FROM {_SESSIONS}
        WHERE {where}
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20""")
    return style.rows(
        title,
        f"{what} {_CONVERTED}",
        query,
        {
            "Page": cells.page_link(),
            "Sessions": {"custom.width": 85, "unit": "locale"},
            "Users": {"custom.width": 75, "unit": "locale"},
            "Bounced": {"custom.width": 85, "unit": "percentunit", "decimals": 1},
            "Converted": cells.share_cell(style.GOOD) | {"custom.width": 140},
        },
        empty=style.NO_SESSIONS,
    )


def channels() -> table.Panel:
    return _by("Channels", "The channel of a session's first click.", "medium", "Channel")


def campaigns() -> table.Panel:
    return _by(
        "Campaigns",
        "The campaign (utm_campaign) of a session's first click.",
        "campaign",
        "Campaign",
        where="campaign IS NOT NULL",
    )


def referrers() -> table.Panel:
    return _by(
        "Referrers",
        "The site that a session's first click came from.",
        "referrer_host",
        "Site",
        where="referrer_host IS NOT NULL AND medium <> 'internal'",
    )


def landing_pages() -> table.Panel:
    return _by("Landing pages", "The page of a session's first click.", "entry_page", "Page")


def attributed() -> table.Panel:
    """Revenue by channel, by three models."""
    query = sql(f"""
        SELECT medium AS "Channel", coalesce(currency, 'unknown') AS "Currency",
               sum(orders_last)::float8 AS "Orders, last",
               sum(revenue_last)::float8 AS "Last", sum(revenue_first)::float8 AS "First",
               sum(revenue_linear)::float8 AS "Linear"
        FROM "${{schema}}".attribution({_RANGE})
        GROUP BY 1, 2 ORDER BY 4 DESC, 1, 2""")
    money = {"unit": "locale", "decimals": 2, "custom.width": 95}
    return style.rows(
        "Revenue by channel (unfiltered)",
        "Which channel the orders of the time range are owed to, by the person's sessions of the 30 days before each: "
        "the last one that was neither direct nor internal, the first, or all alike (function attribution).",
        query,
        {
            "Currency": {"custom.width": 80},
            "Orders, last": {"unit": "locale", "custom.width": 100},
            "Last": money,
            "First": money,
            "Linear": money,
        },
        empty=_NO_ORDERS,
    )


def countries() -> table.Panel:
    return _by("Countries", "The country of a session's first click.", "coalesce(country, 'unknown')", "Country")


def build() -> dict[str, Any]:
    board = frame.frame(
        "acquisition",
        "Clickstream acquisition",
        "Channels, campaigns, referrers and landing pages, with conversion and revenue.",
        since="now-7d",
        refresh="1m",
        sources=("postgres",),
    )
    for variable in (
        frame.sql_one("funnel", "Funnel", FUNNEL_NAMES),
        frame.bots(),
        frame.session_choice("device", "Device", "device"),
        frame.session_choice("country", "Country", "country"),
    ):
        board.with_variable(variable)
    board.annotation(funnel_annotation())
    frame.laid_out(
        board,
        sessions(),
        users(),
        bounced(),
        converted(),
        sessions_by_channel(),
        orders(),
        channels(),
        attributed(),
        campaigns(),
        referrers(),
        landing_pages(),
        countries(),
    )
    return frame.finished(board)
