"""The house style: what a number, a curve, a bar and a table look like on every dashboard.

One accent for what is counted, one for what it is compared with; green and red only for good and bad. Every panel says
in its description what it counts, and in its empty state what to do. Only panel types and options that Grafana 10.0 to
12 know, and none that needs a legend to be read: no pie charts, no gauges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import bargauge, stat, table, timeseries
from grafana_foundation_sdk.builders.common import (
    ReduceDataOptions,
    StackingConfig,
    TableFooterOptions,
    VizLegendOptions,
    VizTextDisplayOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import (
    DashboardSpecialValueMapOptions,
    DynamicConfigValue,
    FieldColorModeId,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMappingResult,
)

from clickstream_dashboards.queries import Target

ACCENT: Final = "#5794F2"
SECOND: Final = "#FFB357"
THIRD: Final = "#B877D9"
GOOD: Final = "#73BF69"
BAD: Final = "#F2495C"
LIVE: Final = "#37D6B0"
SECOND_PALE: Final = "#FFE6C7"
LIVE_PALE: Final = "#B5F2E3"
PINK: Final = "#FF9FC0"
QUIET: Final = "#8E99A8"

SECONDS: Final = "suffix:s"
"""A unit for an axis: Grafana's own would have ticks at 1.67 min."""

OF_SESSIONS: Final = "of the sessions that started in the time range, open ones as they stand"

NO_CLICKS: Final = "No clicks in this time range. Send one (README: Use it), or widen the range."
NO_SESSIONS: Final = (
    "No sessions started in this time range. Widen it, or see in Pipeline health whether the enricher runs."
)
NO_METRICS: Final = "No metrics. Let Prometheus scrape the pods' /metrics, and choose its data source above."


def null_as(text: str) -> SpecialValueMap:
    """A value mapping: the text shown for no value, in a muted colour."""
    shown = ValueMappingResult(text, QUIET, index=0)
    return SpecialValueMap(DashboardSpecialValueMapOptions(SpecialValueMatch.NULL, shown))


Levels = Sequence[tuple[float | None, str]]
"""(from which value, colour); the first has no value."""


def number(
    title: str,
    what: str,
    query: Target,
    *,
    unit: str = "locale",
    colour: str = ACCENT,
    decimals: int | None = None,
    levels: Levels = (),
    calculation: str = "lastNotNull",
    empty: str = "no data",
    width: int = 4,
) -> stat.Panel:
    """One big number, four rows high; where it is NULL, the words of `empty`, muted."""
    panel = (
        stat.Panel()
        .title(title)
        .description(what)
        .datasource(query.source)
        .with_target(query)
        .unit(unit)
        .no_value(empty)
        .mappings([null_as(empty)])
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .text_mode(common.BigValueTextMode.VALUE)
        .justify_mode(common.BigValueJustifyMode.CENTER)
        .text(VizTextDisplayOptions().value_size(38))
        .reduce_options(ReduceDataOptions().calcs([calculation]).fields("").values(False))
        .thresholds(_thresholds(levels or ((None, colour),)))
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .span(width)
        .height(4)
    )
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def curve(
    title: str,
    what: str,
    queries: Sequence[Target],
    *,
    unit: str = "short",
    colours: Mapping[str, str] | None = None,
    bars: bool = False,
    stacked: bool = False,
    empty: str = NO_CLICKS,
    width: int = 12,
    height: int = 8,
) -> timeseries.Panel:
    """Something over time: a line with a soft area, or bars for what is counted per hour or day.

    `colours`: by series name; a single series has the accent.
    """
    style = common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE
    mode = common.StackingMode.NORMAL if stacked else common.StackingMode.NONE
    panel = (
        timeseries.Panel()
        .title(title)
        .description(what)
        .datasource(queries[0].source)
        .unit(unit)
        .min(0)
        .no_value(empty)
        .draw_style(style)
        .line_width(0 if bars else 2)
        .fill_opacity(75 if bars else 0 if colours else 12)
        .line_interpolation(common.LineInterpolation.LINEAR)
        .gradient_mode(common.GraphGradientMode.NONE if bars else common.GraphGradientMode.OPACITY)
        .show_points(common.VisibilityMode.NEVER)
        .bar_alignment(common.BarAlignment.AFTER)  # a bucket's time is its beginning
        .bar_width_factor(0.9)
        .stacking(StackingConfig().mode(mode).group("A"))
        .legend(_legend(shown=len(queries) > 1 or bool(colours) or stacked))
        .tooltip(VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
        .color_scheme(_palette() if colours is not None or stacked else _fixed(ACCENT))
        .span(width)
        .height(height)
    )
    for query in queries:
        panel.with_target(query)
    for name, colour in (colours or {}).items():
        panel.override_by_name(name, [_colour(colour)])
    return panel


def bars(
    title: str,
    what: str,
    query: Target,
    *,
    unit: str = "locale",
    colour: str = ACCENT,
    empty: str = NO_CLICKS,
    width: int = 6,
    height: int = 8,
) -> bargauge.Panel:
    """A bar for each row of a table of a name and a number, for a few short names (else `ranking`)."""
    return (
        bargauge.Panel()
        .title(title)
        .description(what)
        .datasource(query.source)
        .with_target(query)
        .unit(unit)
        .display_name("${__data.fields[0]}")  # otherwise a single row would be without its name
        .min(0)
        .no_value(empty)
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .value_mode(common.BarGaugeValueMode.TEXT)
        .show_unfilled(True)
        .min_viz_height(16)
        .text(VizTextDisplayOptions().title_size(13).value_size(15))
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(True).limit(32))
        .thresholds(_thresholds(((None, colour),)))
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .span(width)
        .height(height)
    )


def rows(
    title: str,
    what: str,
    query: Target,
    columns: Mapping[str, Mapping[str, Any]],
    *,
    header: bool = True,
    empty: str = NO_CLICKS,
    width: int = 12,
    height: int = 8,
) -> table.Panel:
    """A table. `columns`: by name, what differs from plain text: {"unit": …, "custom.width": …}."""
    panel = (
        table.Panel()
        .title(title)
        .description(what)
        .datasource(query.source)
        .with_target(query)
        .no_value(empty)
        .show_header(header)
        .footer(TableFooterOptions().show(False).count_rows(False).reducer(["sum"]))
        .span(width)
        .height(height)
    )
    # The panel's own words are for an empty table, not for an empty cell.
    panel.override_by_regexp("/.*/", [DynamicConfigValue("noValue", "–")])
    for name, properties in columns.items():
        panel.override_by_name(name, [DynamicConfigValue(key, value) for key, value in properties.items()])
    return panel


def ranking(
    title: str,
    what: str,
    query: Target,
    names: tuple[str, str],
    *,
    colour: str = ACCENT,
    empty: str = NO_CLICKS,
    named_cell: Mapping[str, Any] | None = None,
    width: int = 8,
) -> table.Panel:
    """The ten most frequent: names in full, numbers as bars. `names`: the columns of the name and of the number.

    `named_cell`: what a name's cell looks like, and where it leads.
    """
    named, counted = names
    cell = {
        "unit": "locale",
        "min": 0,
        "custom.cellOptions": {"type": "gauge", "mode": "basic"},
        "color": {"mode": "fixed", "fixedColor": colour},
    }
    return rows(
        title, what, query, {named: named_cell or {}, counted: cell}, header=False, empty=empty, width=width, height=11
    )


def _thresholds(levels: Levels) -> ThresholdsConfig:
    return (
        ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(value, colour) for value, colour in levels])
    )


def _legend(*, shown: bool) -> VizLegendOptions:
    return (
        VizLegendOptions()
        .show_legend(shown)
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
    )


def _fixed(colour: str) -> FieldColor:
    return FieldColor().mode(FieldColorModeId.FIXED).fixed_color(colour)


def _palette() -> FieldColor:
    return FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC)


def _colour(colour: str) -> DynamicConfigValue:
    return DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})
