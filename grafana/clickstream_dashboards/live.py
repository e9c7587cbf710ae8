"""Live: what happens on the site now, from Elasticsearch, refreshed every five seconds."""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.builders import bargauge, stat, table, timeseries

from clickstream_dashboards import frame, style
from clickstream_dashboards.queries import (
    CLICKS,
    VISITORS,
    at_once,
    by_time,
    by_value,
    count,
    distinct,
    documents,
    last,
    search,
)

_FILTER: Final = f"{VISITORS} AND (page_path:$page) AND (device:$device) AND (country:$country)"
_OF_RANGE: Final = "before the end of the time range, which is now unless another one is chosen"
_VIEWS: Final = f"{_FILTER} AND type:page_view"


def users_online() -> stat.Panel:
    """Distinct users of the last five minutes."""
    return style.number(
        "Users online",
        f"Different users with a click whose event time is in the last 5 minutes {_OF_RANGE}.",
        search(f"{_FILTER} AND {last(5)}", distinct("user_id"), at_once()),
        colour=style.LIVE,
        width=6,
    ).time_from("5m")


def clicks_last_minute() -> stat.Panel:
    """Clicks of the last minute."""
    return style.number(
        "Clicks in the last minute",
        f"Clicks of every type whose event time is in the last minute {_OF_RANGE}.",
        search(f"{_FILTER} AND {last(1)}", count(), at_once()),
        width=6,
    ).time_from("1m")


def page_views() -> stat.Panel:
    """Page views of the range."""
    return style.number(
        "Page views", "Clicks of type page_view in the time range.", search(_VIEWS, count(), at_once()), width=6
    )


def users() -> stat.Panel:
    """Distinct users of the range."""
    return style.number(
        "Unique users",
        "Different users with a click in the time range. Above some 40,000 Elasticsearch counts within a few percent.",
        search(_FILTER, distinct("user_id"), at_once()),
        width=6,
    )


def clicks_per_second() -> timeseries.Panel:
    """Every second of the last five minutes."""
    return style.curve(
        "Clicks per second, last 5 minutes",
        f"Clicks of every type by the second of their event time, in the last 5 minutes {_OF_RANGE}.",
        [search(f"{_FILTER} AND {last(5)}", count(), by_time("1s", empty=False), alias="Clicks")],
        unit="cps",
        bars=True,
    ).time_from("5m")


def views_by_minute() -> timeseries.Panel:
    """Page views by minute."""
    return style.curve(
        "Page views over time",
        "Clicks of type page_view by the minute of their event time; in a long time range by as many as a point "
        "stands for. The last bar still grows.",
        [search(_VIEWS, count(), by_time("auto"), alias="Page views")],
        bars=True,
    ).interval("1m")


def top_pages() -> table.Panel:
    """The ten pages with the most views."""
    return style.ranking(
        "Top 10 pages",
        "The ten pages with the most views in the time range.",
        search(_VIEWS, count(), by_value("page_path")),
        ("page_path", "Count"),
    )


def channels() -> bargauge.Panel:
    """Where visits come from."""
    return style.bars(
        "Channels of page views",
        "Page views that came from elsewhere, by the medium of their referrer or campaign; not those that followed a "
        "page of the site itself.",
        search(f"{_VIEWS} AND NOT medium:internal", count(), by_value("medium")),
        colour=style.THIRD,
        width=8,
        height=11,
    )


def referrers() -> table.Panel:
    """Sites that sent visitors."""
    return style.ranking(
        "Referrers",
        "Page views by the site that they came from.",
        search(f"{_VIEWS} AND NOT medium:internal AND _exists_:referrer_host", count(), by_value("referrer_host")),
        ("referrer_host", "Count"),
        colour=style.THIRD,
        empty="No visit came from another site in this time range.",
    )


def devices() -> bargauge.Panel:
    """Page views by device."""
    return style.bars(
        "Devices",
        "Page views by kind of device.",
        search(_VIEWS, count(), by_value("device")),
        colour=style.SECOND,
        width=8,
        height=6,
    )


def countries() -> bargauge.Panel:
    """Page views by country."""
    return style.bars(
        "Countries",
        "Page views by country of the address. Unknown: the database does not know the address, no address was kept, "
        "or the visitor asked for privacy.",
        search(_VIEWS, count(), by_value("country", missing="unknown")),
        colour=style.SECOND,
        width=8,
        height=6,
    )


def people_and_bots() -> timeseries.Panel:
    """Clicks of people and of bots."""
    others = "(page_path:$page) AND (device:$device) AND (country:$country)"
    return style.curve(
        "People and bots",
        "Clicks of every type by minute, whatever is chosen above for Visitors.",
        [
            search(f"bot:false AND {others}", count(), by_time("auto"), alias="People"),
            search(f"bot:true AND {others}", count(), by_time("auto"), alias="Bots", ref="B"),
        ],
        colours={"People": style.ACCENT, "Bots": style.QUIET},
        bars=True,
        stacked=True,
        width=8,
        height=6,
    ).interval("1m")


def latest() -> table.Panel:
    wanted: dict[str, tuple[str, int | None]] = {
        "event_time": ("Time", 210),
        "user_id": ("User", 220),
        "type": ("Type", 120),
        "page_path": ("Page", None),
        "medium": ("Channel", 110),
        "device": ("Device", 100),
        "os": ("System", 130),
        "browser": ("Browser", 160),
    }
    panel = style.rows(
        "Latest clicks",
        "The 50 newest clicks that the filters above let through.",
        documents(_FILTER, 50),
        {
            name: {"displayName": shown, "mappings": [style.null_as("–")]}
            | ({} if width is None else {"custom.width": width})
            for name, (shown, width) in wanted.items()
        },
        width=24,
        height=10,
    )
    return panel.transformations(frame.only(list(wanted)))


def build() -> dict[str, Any]:
    board = frame.frame(
        "live",
        "Clickstream live",
        "Who is on the site now, what they look at, and where they come from.",
        since="now-15m",
        refresh="5s",
        sources=("clicks",),
    )
    for variable in (
        frame.bots(),
        frame.search_choice("page", "Page", "page_path", CLICKS),
        frame.search_choice("device", "Device", "device", CLICKS),
        frame.search_choice("country", "Country", "country", CLICKS),
    ):
        board.with_variable(variable)
    frame.laid_out(
        board,
        users_online(),
        clicks_last_minute(),
        page_views(),
        users(),
        clicks_per_second(),
        views_by_minute(),
        top_pages(),
        channels(),
        referrers(),
        devices(),
        countries(),
        people_and_bots(),
        latest(),
    )
    return frame.finished(board)
