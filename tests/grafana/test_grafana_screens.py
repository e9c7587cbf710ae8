"""Every dashboard in a real browser, with weeks of history and live traffic: no panel shows an error; pictures to look
at.

The pictures go to GRAFANA_PICTURES (a folder) when it is set, otherwise to the test's own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from clickstream.contracts.dashboards import KINDS
from demo.countries import country_database
from preview.board import FOLDER
from support.history import history
from support.processes import Process, clickstream, wait_for
from support.system import KEY, System

RANGES = dict.fromkeys(KINDS, "now-7d") | {"live": "now-5m", "health": "now-5m", "retention": "now-28d"}
LIVE_SECONDS = 45


@pytest.fixture(scope="module")
def shop(new_system) -> System:
    """Four weeks of history."""
    database, told = country_database()
    assert database is not None, told
    system = new_system("shop", geoip=str(database))
    events = history(12_000, 28)
    for start in range(0, len(events), 500):
        status, answer = system.post("/v1/events/batch", {"events": events[start : start + 500]})
        assert (status, answer["rejected"]) == (202, [])
    system.wait_stored(len(events), timeout=120)
    return system


@pytest.fixture(scope="module")
def grafana(shop: System, run_grafana, tmp_path_factory):
    """Watched while visitors are in the shop."""
    running = run_grafana(shop)
    visitors = Process(
        "simulator",
        clickstream("simulate", "--url", shop.url, "--rate", "20", "--time-scale", "0.5", "--seconds", "600"),
        tmp_path_factory.mktemp("visitors"),
        {"CLICKSTREAM_WRITE_KEY": KEY},
    )
    before = shop.stores.counts()[1]
    wait_for(
        lambda: shop.stores.counts()[1] > before + 20 * LIVE_SECONDS, "there is live traffic", visitors, timeout=180
    )
    yield running
    visitors.kill()


@pytest.mark.parametrize("kind", KINDS)
def test_every_panel_is_drawn_without_an_error(kind: str, grafana, chromium: Browser, tmp_path: Path) -> None:
    dashboard = json.loads((FOLDER / f"{kind}.json").read_text())
    height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in dashboard["panels"]) * 38 + 24
    page = chromium.new_page(viewport={"width": 1500, "height": height})
    url = grafana.grafana.dashboard_url(grafana.pipeline.names, kind)
    page.goto(f"{url}?kiosk&from={RANGES[kind]}&to=now")
    page.wait_for_load_state("networkidle", timeout=60_000)
    titles = [p["title"].replace("${funnel}", "checkout").replace("${page}", "/products") for p in dashboard["panels"]]
    for title in titles:
        page.get_by_text(title, exact=True).first.wait_for(timeout=30_000)
    page.wait_for_timeout(2_000)  # animations
    folder = Path(os.environ.get("GRAFANA_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{kind}.png")
    assert page.locator('[data-testid="data-testid Panel status error"]').count() == 0
    assert page.get_by_role("alert").count() == 0, page.get_by_role("alert").all_inner_texts()
    if kind == "funnels":  # by step, and live, where Elasticsearch has only numbers
        assert [page.get_by_text(text, exact=True).count() for text in ("1. Homepage", "checkout:1")] == [2, 0]
    page.close()
