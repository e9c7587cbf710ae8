"""Grafana itself, asked what each panel shows: no error anywhere, and the numbers that were worked out by hand."""

from __future__ import annotations

import time
from typing import Any

import pytest

from clickstream.contracts.dashboards import KINDS, dashboard_uid, source_uid
from preview.board import Board
from preview.variables import Range, Variables, duration_ms
from support.processes import wait_for
from support.scenario import END, MINUTE
from support.scenario_expected import EXPECTED, ZEROS_LEFT_OUT


@pytest.fixture(scope="module")
def grafana(dashboards, run_grafana):
    return run_grafana(dashboards.system)


def asked(board: Board, panel: dict[str, Any], variables: Variables, span: Range) -> dict[str, Any]:
    """The request that Grafana's page sends for a panel."""
    if "timeFrom" in panel:
        span = Range(span.until_ms - duration_ms(panel["timeFrom"]), span.until_ms, span.points)
    queries = []
    for target in panel["targets"]:
        source = {"type": target["datasource"]["type"], "uid": variables.replace(target["datasource"]["uid"])}
        query = dict(target) | {
            "datasource": source,
            "intervalMs": span.interval_ms(panel.get("interval")),
            "maxDataPoints": span.points,
        }
        for name, default in (("rawSql", "raw"), ("query", "lucene"), ("expr", "raw")):
            if name in query:
                query[name] = variables.replace(query[name], default).replace("${__to}", str(span.until_ms))
        queries.append(query)
    return {"queries": queries, "from": str(span.since_ms), "to": str(span.until_ms)}


def answered(grafana, body: dict[str, Any]) -> list[list[tuple[Any, ...]]]:
    status, answer = grafana.post("/api/ds/query", body)
    assert status == 200, answer
    found = []
    for query in body["queries"]:
        result = answer["results"][query["refId"]]
        assert "error" not in result, result
        frames = result["frames"]
        found.append([row for frame in frames for row in zip(*frame["data"]["values"], strict=True)])
    return found


def test_every_dashboard_is_there_and_its_data_sources_are_the_pipelines_own(grafana) -> None:
    names = grafana.pipeline.names
    for kind in KINDS:
        path = f"/api/dashboards/uid/{dashboard_uid(names, kind)}"
        wait_for(lambda: grafana.get(path)[0] == 200, f"{kind} is provisioned")  # noqa: B023
        _, answer = grafana.get(path)
        assert answer["meta"]["folderTitle"] == "Clickstream"
        assert answer["dashboard"]["panels"]
    status, answer = grafana.get(f"/api/datasources/uid/{source_uid(names, 'clicks')}")
    assert status in {200, 403}, answer  # a viewer may not read settings


@pytest.mark.parametrize(("kind", "title"), EXPECTED)
def test_grafana_shows_what_was_worked_out_by_hand(grafana, dashboards, kind: str, title: str) -> None:
    board = Board(kind, grafana.pipeline.names)
    (panel,) = [panel for panel in board.panels.values() if panel["title"] == title]
    span = Range(dashboards.monday, dashboards.monday + END, 65)
    variables = Variables(board.dashboard, board.choices(dashboards.stores, span, {}))
    seen = answered(grafana, asked(board, panel, variables, span))
    timed = panel["type"] == "timeseries"
    if timed:
        seen = [[(row[0] - dashboards.monday, *row[1:]) for row in rows] for rows in seen]
    elif title == "Versions":
        seen = [
            [row[:2] + tuple(None if v is None else v - dashboards.monday for v in row[2:]) for row in rows]
            for rows in seen
        ]
    elif title == "Who comes back, by week":
        seen = [[(row[0] - dashboards.monday, *row[1:]) for row in rows] for rows in seen]
    if title in ZEROS_LEFT_OUT:
        seen = [[row for row in rows if row[1]] for rows in seen]
    for rows, wanted in zip(seen, EXPECTED[kind, title], strict=True):
        assert [pytest.approx(row) for row in wanted] == rows


def test_the_latest_clicks_come_as_a_table(grafana, dashboards) -> None:
    board = Board("live", grafana.pipeline.names)
    (panel,) = [panel for panel in board.panels.values() if panel["title"] == "Latest clicks"]
    span = Range(dashboards.monday, dashboards.monday + END)
    variables = Variables(board.dashboard, board.choices(dashboards.stores, span, {}))
    (rows,) = answered(grafana, asked(board, panel, variables, span))
    assert len(rows) == 50


def test_every_health_panel_answers_and_the_accepted_events_are_the_scenarios(grafana, dashboards) -> None:
    board = Board("health", grafana.pipeline.names)
    now = int(time.time() * 1_000)
    variables = Variables(board.dashboard, {"prometheus": source_uid(grafana.pipeline.names, "prometheus")})

    def seen(title: str) -> list[list[tuple[Any, ...]]]:
        until = int(time.time() * 1_000)
        (panel,) = [panel for panel in board.panels.values() if panel["title"] == title]
        return answered(grafana, asked(board, panel, variables, Range(until - 5 * MINUTE, until)))

    wait_for(lambda: bool(seen("Lag")[0]), "Prometheus has scraped")
    for panel in board.panels.values():
        answered(grafana, asked(board, panel, variables, Range(now - 5 * MINUTE, now)))
    assert seen("Lag")[0][-1][-1] == 0
    assert {row[-1] for row in seen("Lag in records")[0]} == {0}
