"""The preview page in a real Chromium: the dashboards of the scenario, drawn without a Grafana, with the right
numbers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from clickstream.contracts.pipeline import dump_pipeline
from devstack import Stack
from preview.server import SHOWN
from support.dashboards import send_scenario
from support.processes import Process, wait_for
from support.scenario import END, FIREFOX
from support.system import System, system_on

FUNNEL = [("Homepage", "/"), ("Product", "/products/*"), ("Checkout", "/checkout")]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    stack = Stack.up(home=tmp_path_factory.mktemp("servers"))
    funnel = {"name": "checkout", "steps": [{"name": name, "page": page} for name, page in FUNNEL]}
    late = {"lateAfter": "30d"}
    name = f"preview-{os.getpid()}"
    started = system_on(stack, tmp_path_factory.mktemp("system"), name, funnels=[funnel], enricher=late)
    yield started
    started.close()
    stack.down(wipe=True)


@pytest.fixture(scope="module")
def preview(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("preview")
    (folder / "pipeline.json").write_bytes(dump_pipeline(system.pipeline))
    port = folder / "port"
    process = Process(
        "preview",
        [
            sys.executable,
            "-m",
            "preview",
            "--pipeline",
            str(folder / "pipeline.json"),
            "--port-file",
            str(port),
        ],
        folder,
    )
    wait_for(lambda: port.exists() and port.read_text().strip() != "", "the preview listens", process)
    yield f"http://127.0.0.1:{port.read_text().strip()}/"
    assert process.stop() == 0


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    opened = chromium.new_page(viewport={"width": 1500, "height": 1600})
    opened.wrong = []
    opened.on("pageerror", lambda error: opened.wrong.append(str(error)))
    opened.on("console", lambda said: opened.wrong.append(said.text) if said.type == "error" else None)
    yield opened
    assert opened.wrong == []
    opened.close()


def panel(page: Page, title: str):
    return page.locator("section").filter(has=page.locator("h2").get_by_text(title, exact=True)).locator(".content")


def drawn(page: Page, address: str, kind: str) -> None:
    page.goto(f"{address}#{kind}")
    page.wait_for_selector(f"body[data-drawn={kind}]", timeout=60_000)


def test_empty_dashboards_say_what_to_do(preview: str, page: Page) -> None:
    drawn(page, preview, "live")
    assert "No clicks in this time range" in panel(page, "Top 10 pages").inner_text()
    assert panel(page, "Users online").inner_text() == "no data"


def test_the_numbers_of_the_scenario_are_on_the_page(system: System, preview: str, page: Page, tmp_path: Path) -> None:
    monday = send_scenario(system)
    ago = int((datetime.now(UTC).timestamp() * 1_000 - monday) // 86_400_000) + 1
    assert END < ago * 86_400_000 <= 30 * 86_400_000
    address = f"{preview}?from=now-30d"
    shown = {
        "overview": {"Page views": "264", "Unique users": "8", "Sessions": "99", "Average session": "00:02:27"},
        "live": {"Page views": "264"},
        "audience": {"Median duration": "00:03:00", "Bounce rate": "21.2%"},
        "funnels": {"Entered": "90", "Completed": "30", "Conversion": "33.3%"},
    }
    for kind in SHOWN:
        drawn(page, address, kind)
        for title, text in shown.get(kind, {}).items():
            assert panel(page, title).inner_text() == text, (kind, title)
        assert page.locator(".error").all_inner_texts() == [], kind
        page.screenshot(path=tmp_path / f"{kind}.png")
    drawn(page, address, "overview")
    assert panel(page, "Top 10 pages").locator("tr").first.inner_text().split() == ["/", "90"]
    assert panel(page, "Funnel: checkout").locator(".bar b").all_inner_texts() == [
        "1. Homepage",
        "2. Product",
        "3. Checkout",
    ]
    assert panel(page, "Page views over time").locator("rect").count() > 0


def test_a_choice_narrows_what_is_shown(preview: str, page: Page) -> None:
    drawn(page, f"{preview}?from=now-30d", "overview")
    page.get_by_label("Visitors").select_option("Bots")
    panel(page, "Page views").get_by_text("31", exact=True).wait_for(timeout=20_000)
    drawn(page, f"{preview}?from=now-30d", "audience")
    page.get_by_label("Device").select_option("mobile")
    panel(page, "Sessions").get_by_text("30", exact=True).wait_for(timeout=20_000)


def test_the_live_funnel_shows_its_steps_by_name(system: System, preview: str, page: Page) -> None:
    before = system.stores.counts()[1]
    person = {"user_id": "live", "session_id": "tab", "user_agent": FIREFOX}
    for path in ("/", "/products/a"):
        event = person | {"event_id": f"live {path}", "timestamp": datetime.now(UTC).isoformat(), "page": path}
        status, answer = system.post("/v1/events", event)
        assert status == 202, answer
    system.wait_stored(before + 2)

    def steps() -> list[str]:
        page.goto("about:blank")  # the same address again would not ask again
        drawn(page, preview, "funnels")
        return panel(page, "Last 30 minutes, all funnels (unfiltered)").locator(".bar b").all_inner_texts()

    wait_for(lambda: steps() == ["1. Homepage", "2. Product"], "the session is found with both steps")
