"""What surrounds the panels: uid, time range, variables, links, annotations, and the order of panels.

The variables `pipeline`, `namespace` and `schema` are hidden constants, and the data sources are chosen by the viewer;
`clickstream.contracts.dashboards` sets all of them for a pipeline. Folders and permissions are the Grafana's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationTarget,
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    Panel,
    VariableOption,
    VariableRefresh,
    VariableSort,
    VariableType,
)

from clickstream_dashboards.queries import POSTGRES, PROMETHEUS

TAG: Final = "clickstream"
PIPELINE_TAG: Final = "clickstream-pipeline"
"""Replaced by one of the pipeline's own, so that the links lead to its own dashboards only."""
BUILT_IN: Final = DataSourceRef("grafana", "-- Grafana --")

BOTS: Final = {"People": "false", "People and bots": "(false OR true)", "Bots": "true"}
_SQL: Final = {"editorMode": "code", "format": "table", "rawQuery": True}
SOURCES: Final = {
    "postgres": ("postgres", "Warehouse"),
    "clicks": ("elasticsearch", "Live clicks"),
    "sessions": ("elasticsearch", "Live sessions"),
    "prometheus": ("prometheus", "Metrics"),
}


def frame(
    kind: str, title: str, what: str, *, since: str, refresh: str, sources: tuple[str, ...]
) -> dashboard.Dashboard:
    """An empty dashboard with its links and annotations, the hidden constants, and the data sources it needs."""
    board = (
        dashboard.Dashboard(title)
        .uid(f"clickstream-{kind}")
        .description(what)
        .tags([TAG, PIPELINE_TAG])
        .timezone("utc")
        .time(since, "now")
        .refresh(refresh)
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Dashboards of this pipeline")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([PIPELINE_TAG])
            .keep_time(True)
            .include_vars(False)
            .as_dropdown(True)
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("Deploys")
            .datasource(BUILT_IN)
            .enable(True)
            .icon_color("#B877D9")
            .target(dashboard.AnnotationTarget().limit(100).match_any(False).tags(["deploy"]).type("tags"))
        )
    )
    for name, value in (("pipeline", "shop"), ("namespace", "default"), ("schema", "shop")):
        board.with_variable(dashboard.ConstantVariable(name).value(value))
    for name in sources:
        plugin, label = SOURCES[name]
        board.with_variable(dashboard.DatasourceVariable(name).type(plugin).label(label).regex(""))
    return board


def bots() -> dashboard.CustomVariable:
    """Whether bots are counted; the value is part of a Lucene query, SQL compares it."""
    options = [VariableOption(value == "false", text, value) for text, value in BOTS.items()]
    return (
        dashboard.CustomVariable("bots")
        .label("Visitors")
        .values(",".join(f"{text} : {value}" for text, value in BOTS.items()))
        .options(options)
        .current(options[0])
    )


def sql_choice(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """Several values out of the warehouse, or all of them; the panels use `queries.chosen`."""
    return _choice(name, label, POSTGRES, " ".join(query.split())).all_value("'*'")


def session_choice(name: str, label: str, column: str) -> dashboard.QueryVariable:
    """Several values of a column of the sessions of the time range, or all of them."""
    query = (
        f"SELECT DISTINCT coalesce({column}, 'unknown') FROM \"${{schema}}\".sessions WHERE $__timeFilter(started_at)"
    )
    return sql_choice(name, label, query)


def sql_one(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """One value out of the warehouse, the first unless chosen otherwise."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(POSTGRES)
        .query(" ".join(query.split()))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.DISABLED)
    )


def search_choice(name: str, label: str, field: str, source: DataSourceRef) -> dashboard.QueryVariable:
    """Several values of a field of the live clicks, or all of them, also where the field is absent.

    There are the 200 most frequent to choose from.
    """
    query = f'{{"find": "terms", "field": "{field}", "size": 200, "orderBy": "doc_count"}}'
    return (
        _choice(name, label, source, query)
        .all_value(f"* OR (NOT _exists_:{field})")
        .sort(VariableSort.DISABLED)  # the most frequent first
    )


def laid_out(board: dashboard.Dashboard, *panels: Builder[Panel]) -> dashboard.Dashboard:
    """Add the panels from left to right, numbered in that order."""
    for number, panel in enumerate(panels, 1):
        panel.build().id_val = number
        board.with_panel(panel)
    return board


def _choice(name: str, label: str, source: DataSourceRef, query: str) -> dashboard.QueryVariable:
    everything = VariableOption(True, ["All"], ["$__all"])
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(source)
        .query(query)
        .multi(True)
        .include_all(True)
        .current(everything)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    )


def only(columns: Sequence[str]) -> list[DataTransformerConfig]:
    """Of whole documents only these columns, in this order: the one transformation that is used."""
    return [
        DataTransformerConfig("filterFieldsByName", options={"include": {"names": list(columns)}}),
        DataTransformerConfig(
            "organize",
            options={
                "excludeByName": {},
                "indexByName": {name: place for place, name in enumerate(columns)},
                "renameByName": {},
            },
        ),
    ]


def sql_annotation(name: str, query: str, colour: str = "#FFB357") -> dashboard.AnnotationQuery:
    """Marks from the warehouse: columns `time` and `text`."""
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(POSTGRES)
        .enable(True)
        .icon_color(colour)
        .target(_Raw({"refId": "Anno", **_SQL, "rawSql": " ".join(query.split())}))
    )


def metric_annotation(name: str, expr: str, text: str, colour: str = "#B877D9") -> dashboard.AnnotationQuery:
    """Marks from Prometheus: wherever the expression has a value above zero."""
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(PROMETHEUS)
        .enable(True)
        .icon_color(colour)
        .expr(expr)
        .target(_Raw({"refId": "Anno", "expr": expr, "titleFormat": name, "textFormat": text, "step": "60s"}))
    )


def finished(board: dashboard.Dashboard) -> dict[str, Any]:
    """The JSON object. A constant's value is also its only option: Grafana wants both, and an id for each variable."""
    built = board.build()
    for variable in built.templating.list_val or []:
        variable.id_val = variable.name  # the SDK gives all of them the same, and Grafana then takes them for one
        if variable.type_val is VariableType.CONSTANT:
            only = VariableOption(True, str(variable.query), str(variable.query))
            variable.current, variable.options = only, [only]
        elif variable.type_val is VariableType.TEXTBOX:
            variable.current = VariableOption(True, str(variable.query), str(variable.query))
    whole: dict[str, Any] = json.loads(JSONEncoder().encode(built))
    for panel in whole["panels"]:
        if "timeFrom" in panel:
            panel["hideTimeOverride"] = True  # the title or the description says it; the SDK does not know it
    return whole


class _Target(AnnotationTarget):
    """The SDK knows only the tags of Grafana's own annotations; other sources take a query there."""

    def __init__(self, query: dict[str, Any]) -> None:
        super().__init__()
        self._query = query

    def to_json(self) -> dict[str, object]:
        return self._query


class _Raw(Builder[AnnotationTarget]):
    def __init__(self, query: dict[str, Any]) -> None:
        self._query = query

    def build(self) -> AnnotationTarget:
        return _Target(self._query)
