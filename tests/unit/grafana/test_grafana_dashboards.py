"""The committed dashboards: generated, whole, known to every Grafana from 10.0 on, and each pipeline's own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from clickstream.contracts.dashboards import KINDS, dashboard_of, dashboard_uid, source_uid
from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import Funnel, FunnelStep
from clickstream_dashboards.__main__ import DASHBOARDS, main, text

FOLDER = Path(__file__).parents[3] / "grafana" / "dashboards"
PANELS = {"stat", "timeseries", "bargauge", "table"}


def committed(kind: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8"))


def test_generating_again_changes_nothing_and_leaves_nothing_over(tmp_path: Path) -> None:
    (tmp_path / "a-dashboard-that-is-no-more.json").write_text("{}")
    main(tmp_path)
    generated = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    assert generated == {file.name: file.read_text(encoding="utf-8") for file in FOLDER.iterdir()}, (
        "run `make dashboards`"
    )
    assert tuple(DASHBOARDS) == KINDS
    assert text("live") == text("live")


@pytest.mark.parametrize("kind", KINDS)
def test_every_panel_says_what_it_counts_and_what_to_do_when_it_is_empty(kind: str) -> None:
    dashboard = committed(kind)
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["type"] in PANELS, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["noValue"], panel["title"]
        assert panel["targets"], panel["title"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_panels_fill_rows_of_24_columns_without_holes(kind: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in committed(kind)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    height = max(y for _, y in taken) + 1
    assert len(taken) == 24 * height


@pytest.mark.parametrize("kind", KINDS)
def test_every_variable_that_a_query_uses_is_there(kind: str) -> None:
    dashboard = committed(kind)
    declared = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(
        re.findall(r"\$\{?(?!__)([a-z_]+)", json.dumps(dashboard["panels"]) + json.dumps(dashboard["annotations"]))
    )
    assert used <= declared, used - declared


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipelines_copy_is_its_own_and_the_committed_one_stays_as_it_is(kind: str) -> None:
    document = committed(kind)
    names = Names("team-a", "my-shop")
    made = dashboard_of(document, names, {"prometheus": "the-prometheus"})
    assert document == committed(kind)
    assert made["uid"] == dashboard_uid(names, kind)
    assert len(made["uid"]) <= 40
    assert made["uid"] != dashboard_of(document, Names("team-b", "my-shop"))["uid"]
    assert "team-a/my-shop" in made["title"]
    values = {
        v["name"]: v["current"]["value"] for v in made["templating"]["list"] if v["type"] in {"constant", "datasource"}
    }
    expected = {"pipeline": "my-shop", "namespace": "team-a", "schema": "my_shop", "prometheus": "the-prometheus"} | {
        source: source_uid(names, source) for source in ("postgres", "clicks", "sessions")
    }
    assert values.items() <= expected.items()
    assert "clickstream-pipeline" not in json.dumps(made)
    assert {tag for link in made["links"] for tag in link["tags"]} <= set(made["tags"])


def test_without_a_data_source_of_its_own_the_reader_chooses() -> None:
    made = dashboard_of(committed("funnels"), Names("a", "b"), {"postgres": None})
    kinds = {variable["name"]: variable["type"] for variable in made["templating"]["list"]}
    assert (kinds["postgres"], kinds["sessions"]) == ("datasource", "constant")


def live_funnel(*funnels: Funnel) -> list[dict[str, Any]]:
    made = dashboard_of(committed("funnels"), Names("a", "b"), funnels=funnels)
    (panel,) = [panel for panel in made["panels"] if panel["title"] == "Last 30 minutes, all funnels (unfiltered)"]
    return panel["fieldConfig"]["defaults"].get("mappings", [])


def test_the_steps_that_elasticsearch_numbers_are_shown_by_name() -> None:
    checkout = Funnel("checkout", [FunnelStep("Homepage", "/"), FunnelStep("Checkout", "/checkout")])
    assert live_funnel() == []
    shown = {
        "checkout:1": {"index": 0, "text": "1. Homepage"},
        "checkout:2": {"index": 1, "text": "2. Checkout"},
    }
    assert live_funnel(checkout) == [{"type": "value", "options": shown}]
    (mapping,) = live_funnel(checkout, Funnel("signup", [FunnelStep("Form", "/signup")]))
    assert {value: option["text"] for value, option in mapping["options"].items()} == {
        "checkout:1": "checkout: 1. Homepage",
        "checkout:2": "checkout: 2. Checkout",
        "signup:1": "signup: 1. Form",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_panel_of_the_last_minutes_is_that_under_an_absolute_range_too(kind: str) -> None:
    """Grafana ignores a panel's own `timeFrom` there, so the query says it as well."""
    for panel in committed(kind)["panels"]:
        queries = [target.get("rawSql") or target.get("query") or "" for target in panel["targets"]]
        if "timeFrom" in panel:
            minutes = panel["timeFrom"]
            assert all(f'["${{__to}}||-{minutes}" TO "${{__to}}"]' in each for each in queries), panel["title"]
        if re.search(r"\bnow\b", panel["title"]):
            assert all("now()" in each and "$__time" not in each for each in queries), panel["title"]
        for target in panel["targets"]:
            for bucket in target.get("bucketAggs", ()):
                fixed = bucket["type"] == "date_histogram" and bucket["settings"]["interval"] != "auto"
                assert not fixed or bucket["settings"]["min_doc_count"] == "1", "65,536 buckets are the most"


@pytest.mark.parametrize("kind", KINDS)
def test_bars_stand_behind_the_beginning_of_their_bucket(kind: str) -> None:
    curves = [panel for panel in committed(kind)["panels"] if panel["type"] == "timeseries"]
    assert all(panel["fieldConfig"]["defaults"]["custom"]["barAlignment"] == 1 for panel in curves)


@pytest.mark.parametrize("kind", KINDS)
def test_every_choice_above_counts_in_every_panel_or_the_title_says_that_it_does_not(kind: str) -> None:
    dashboard = committed(kind)
    choices = {v["name"] for v in dashboard["templating"]["list"] if v["type"] in {"query", "custom"}}
    own = {("live", "People and bots"): {"bots"}}  # it shows both, and says so
    # Panels that show no funnel, and those that are not about the page that is chosen.
    of_some = {"overview": {"funnel"}, "acquisition": {"funnel"}, "retention": {"page"}}.get(kind, set())
    own[("sessions", "Events of the session")] = {"bots"}
    for panel in dashboard["panels"]:
        title = panel["title"]
        used = set(re.findall(r"\$\{?(?!__)([a-z_]+)", title + json.dumps(panel["targets"])))
        left_out = choices - used - own.get((kind, title), set())
        if "(unfiltered)" not in title and title not in {"Versions", "Users online now"}:
            assert left_out <= of_some, (title, left_out)


def test_links_lead_to_dashboards_of_the_same_pipeline_and_to_variables_that_they_have() -> None:
    names = Names("team", "shop")
    variables = {
        dashboard_uid(names, kind): {each["name"] for each in committed(kind)["templating"]["list"]} for kind in KINDS
    }
    linked = 0
    for kind in KINDS:
        for panel in dashboard_of(committed(kind), names)["panels"]:
            for override in panel["fieldConfig"]["overrides"]:
                for each in (each for each in override["properties"] if each["id"] == "links"):
                    for link in each["value"]:
                        uid = link["url"].removeprefix("/d/").partition("?")[0]
                        assert set(re.findall(r"var-(\w+)=", link["url"])) <= variables[uid], link
                        linked += 1
    assert linked >= 8


def test_times_are_those_of_the_pipelines_time_zone() -> None:
    for kind in KINDS:
        assert dashboard_of(committed(kind), Names("a", "b"))["timezone"] == "utc"
        made = dashboard_of(committed(kind), Names("a", "b"), time_zone="Asia/Kolkata")
        assert made["timezone"] == "Asia/Kolkata"
        zones = {
            bucket["settings"]["timeZone"]
            for panel in made["panels"]
            for target in panel["targets"]
            for bucket in target.get("bucketAggs", ())
            if bucket["type"] == "date_histogram"
        }
        assert zones <= {"Asia/Kolkata"}
        assert zones or kind != "live"


def test_names_as_long_as_allowed_still_make_uids_that_grafana_takes() -> None:
    names = Names("n" * 63, "p" * 40)
    assert max(len(dashboard_uid(names, kind)) for kind in KINDS) <= 40
    assert len(source_uid(names, "sessions")) <= 40
