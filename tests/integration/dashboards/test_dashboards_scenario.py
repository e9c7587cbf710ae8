"""Every dashboard number of a written scenario equals the table that was worked out by hand.

The clicks go through the real pipeline into the real stores; each panel's own query, taken from the committed JSON, is
run with its variables replaced as Grafana replaces them.
"""

from __future__ import annotations

import json
import re

import pytest

from clickstream.contracts.dashboards import KINDS
from preview.board import FOLDER, Board
from preview.variables import Range
from support.scenario import END, HOUR, MON, TUE, WED, events
from support.scenario_expected import EXPECTED, ZEROS_LEFT_OUT

# They have tests of their own.
NOT_IN_THE_TABLE = {
    ("live", "Latest clicks"),
    ("overview", "Users online now"),
    ("sessions", "The newest 100 sessions"),
    ("sessions", "Events of the session"),
}


def test_the_table_has_every_panel_of_the_stores() -> None:
    panels = set()
    for kind in KINDS:
        dashboard = json.loads((FOLDER / f"{kind}.json").read_text())
        panels |= {(kind, p["title"]) for p in dashboard["panels"] if p["datasource"]["type"] != "prometheus"}
    assert panels == EXPECTED.keys() | NOT_IN_THE_TABLE
    assert len(events(0)) == 303


@pytest.mark.parametrize(("kind", "title"), EXPECTED)
def test_the_panel_shows_what_was_worked_out_by_hand(dashboards, kind: str, title: str) -> None:
    seen = dashboards.rows(kind, title)
    if title in ZEROS_LEFT_OUT:
        seen = [[row for row in rows if row[1]] for rows in seen]  # empty buckets are drawn as zero
    expected = EXPECTED[kind, title]
    assert len(seen) == len(expected)
    for rows, wanted in zip(seen, expected, strict=True):
        assert [pytest.approx(row) for row in wanted] == rows


def test_the_latest_clicks_are_the_newest_fifty_of_people(dashboards) -> None:
    (table,) = dashboards.ask("live", "Latest clicks")
    rows = dashboards.since_monday(table)
    assert len(rows) == 50
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), reverse=True)
    assert rows[0][0] == END - 20_000
    assert table.column("user_id").values[:4] == ["eve", "dan", "eve", "cat"]
    assert not any(table.column("bot").values)


def test_sessions_are_found_one_by_one_with_what_they_did(dashboards) -> None:
    def found(**typed: str) -> list[tuple[object, ...]]:
        (rows,) = dashboards.rows("sessions", "The newest 100 sessions", **typed)
        return rows

    newest = found()
    assert len(newest) == 99
    assert [row[0] for row in newest] == sorted((row[0] for row in newest), reverse=True)
    assert newest[0][:7] == (END - 30_000, "dan", 0, 1, "/", "/", "direct")
    assert len(found(user="eve")) == 10 + 8 + 1
    assert len(found(page="/cart")) == 28
    assert len(found(page="/products/*", user="bob")) == 11
    assert found(page="/nowhere") == found(user="O'Brien") == []
    # Who left after which step: as the funnel has it.
    assert [len(found(funnel="checkout", left=str(step))) for step in range(4)] == [9, 30, 30, 30]

    (kim,) = found(user="kim")
    (did,) = dashboards.rows("sessions", "Events of the session", session=str(kim[10]))
    noon = (WED + 12) * HOUR
    assert [row[:3] for row in did] == [
        (noon, "page_view", "/"),
        (noon + 540_000, "page_view", "/products/a"),
        (noon + 1_080_000, "page_view", "/checkout"),
    ]
    assert dashboards.rows("sessions", "Events of the session") == [[]]


@pytest.mark.parametrize(
    ("kind", "title", "bots_alone", "with_bots"),
    [
        ("overview", "Page views", 31, 295),
        ("overview", "Unique users", 1, 9),
        ("overview", "Sessions", 11, 110),
        ("live", "Users online", 1, 4),
        ("live", "Page views", 31, 295),
        ("live", "Clicks in the last minute", 1, 4),
        ("audience", "Sessions", 11, 110),
        ("funnels", "Entered", 0, 90),
    ],
)
def test_bots_are_counted_when_asked_for(dashboards, kind, title, bots_alone, with_bots) -> None:
    def shown(bots: str) -> object:
        return dashboards.rows(kind, title, bots=bots)[0][0][-1]

    assert (shown("true"), shown("(false OR true)")) == (bots_alone, with_bots)


def test_one_day_is_cut_at_its_midnights(dashboards) -> None:
    tuesday = {"since": TUE * HOUR, "until": WED * HOUR - 1}
    assert dashboards.rows("overview", "Page views", **tuesday) == [[(92,)]]
    assert dashboards.rows("overview", "Unique users", **tuesday) == [[(5,)]]
    assert dashboards.rows("overview", "Sessions", **tuesday) == [[(31,)]]
    assert dashboards.rows("overview", "Average session", **tuesday) == [[(pytest.approx(5400 / 31),)]]
    assert dashboards.rows("audience", "New users", **tuesday) == [[(pytest.approx(2 / 5),)]]
    # Beside Monday: "/" 31 to 31, "/products/a" 20 to 21.
    trend = {
        row[0]: row[1:] for row in dashboards.rows("audience", "Top pages and their trend (unfiltered)", **tuesday)[0]
    }
    assert trend["/"] == (31, 31, 0)
    assert trend["/products/a"] == (21, 20, pytest.approx(0.05))
    assert trend["/about"] == (10, 0, None)


def test_the_choices_of_page_device_channel_and_country_narrow_what_is_shown(dashboards) -> None:
    assert dashboards.rows("live", "Page views", page=["/cart", "/about"]) == [[("all", 39)]]
    assert dashboards.rows("live", "Page views", device=["mobile"]) == [[("all", 87)]]
    assert dashboards.rows("live", "Page views", country=["DE"]) == [[]]
    assert dashboards.rows("audience", "Sessions", device=["mobile"]) == [[(30,)]]  # bob 10 + 1, eve 10 + 8 + 1
    assert dashboards.rows("audience", "Sessions", channel=["search"], country=["unknown"]) == [[(10,)]]
    assert dashboards.rows("funnels", "Completed", device=["desktop"]) == [[(21,)]]


def test_what_there_is_to_choose_comes_from_the_stores(dashboards) -> None:
    span = Range(dashboards.monday + MON, dashboards.monday + END)

    def options(kind: str, name: str, **chosen: str) -> list[str]:
        return Board(kind, dashboards.system.pipeline.names).options(name, dashboards.stores, span, chosen)

    assert options("overview", "funnel") == ["checkout"]
    assert options("funnels", "version", funnel="checkout") == ["1"]
    assert set(options("funnels", "device")) == {"desktop", "mobile", "bot"}
    assert set(options("live", "device")) >= {"desktop", "mobile"}
    assert "/late" in options("live", "page")


def test_the_metrics_that_the_health_dashboard_asks_for_are_exported(dashboards) -> None:
    text = (FOLDER / "health.json").read_text()
    wanted = set(re.findall(r"clickstream_[a-z_]+", text))
    system = dashboards.system
    exported = "".join(process.get("/metrics", ops=True)[1] for process in system.processes)
    # Families are announced before their first series.
    families = set(re.findall(r"# TYPE (clickstream_[a-z_]+)", exported))
    missing = {name for name in wanted if name.removesuffix("_bucket") not in families}
    assert not missing
