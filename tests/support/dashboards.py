"""The dashboards on a running pipeline that has processed the scenario: any panel, by its title."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from preview.board import Board, Stores
from preview.tables import TIME, Table
from preview.variables import Choice, Range
from support.processes import wait_for
from support.scenario import END, events, monday_ms
from support.system import System


@dataclass
class Dashboards:
    """Asks panels by dashboard and title, over the scenario's three days unless told otherwise."""

    system: System
    stores: Stores
    monday: int

    def ask(
        self, kind: str, title: str, *, since: int = 0, until: int = END, points: int = 65, **chosen: Choice
    ) -> list[Table]:
        board = Board(kind, self.system.pipeline.names)
        (panel,) = [number for number, panel in board.panels.items() if panel["title"] == title]
        span = Range(self.monday + since, self.monday + until, points)
        return board.ask(panel, self.stores, span, board.choices(self.stores, span, chosen))

    def rows(self, kind: str, title: str, **how: Any) -> list[list[tuple[object, ...]]]:
        """The rows of each target, times in ms since Monday."""
        return [self.since_monday(table) for table in self.ask(kind, title, **how)]

    def since_monday(self, table: Table) -> list[tuple[object, ...]]:
        times = [column.kind == TIME for column in table.columns]
        return [
            tuple(v - self.monday if is_time and v is not None else v for v, is_time in zip(row, times, strict=True))
            for row in table.rows()
        ]


def send_scenario(system: System) -> int:
    """Send all of it and wait until both stores have every click and every session; the Monday in ms."""
    monday = monday_ms()
    sent = events(monday)
    status, answer = system.post("/v1/events/batch", {"events": sent})
    assert (status, answer["accepted"]) == (202, len(sent)), answer
    system.wait_stored(len(sent))
    wait_for(
        lambda: clicks_in_sessions(system) == (len(sent) - 1,) * 2, "all but one are in a session", *system.processes
    )
    return monday


def clicks_in_sessions(system: System) -> tuple[int, int]:
    """By the sessions of Elasticsearch and of PostgreSQL."""
    sessions = system.stores.sessions_es()
    rows = system.stores.sql("SELECT coalesce(sum(events), 0)::int AS n FROM {s}.sessions")
    return sum(each["events"] for each in sessions), rows[0]["n"]
