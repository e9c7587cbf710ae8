"""Segment's libraries for browsers, in a real Chromium through an API that is killed, and for Go."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from clickstream.contracts.clicks import PAGE_VIEW
from devstack import Stack
from e2e.tracker_site import served
from support.processes import wait_for
from support.segment import install_node, snippet
from support.system import KEY, System, system_on

# The package's own build for browsers is no module: the import map names one that hands it on.
PAGE = """<!doctype html><title>A page</title><script src="/index.js"></script>
<script type="importmap">{"imports": {"@segment/analytics-next": "/module.js"}}</script>
<script type="module">%s
window.analytics = analytics;</script>"""
MODULE = "export const { AnalyticsBrowser } = window.AnalyticsNext;"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A site's origin, and the folder of its files, which has the library's build."""
    modules = tmp_path_factory.mktemp("node")
    install_node(modules)
    folder = modules / "node_modules" / "@segment" / "analytics-next" / "dist" / "umd"
    with served(folder) as origin:
        yield origin, folder


@pytest.fixture(scope="module")
def system(stack: Stack, site: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    sources = [
        {"name": "web", "writeKey": KEY, "allowedOrigins": [site[0]]},
        {"name": "go", "writeKey": "key-of-go"},
    ]
    started = system_on(stack, tmp_path_factory.mktemp("system"), f"segment-{os.getpid()}", sources=sources)
    yield started
    started.close()


def clicks_of(system: System, source: str) -> list[list[dict[str, Any]]]:
    """What both stores have of a source."""
    both = (system.stores.clicks_es(), system.stores.clicks_pg())
    return [[click for click in clicks if click["source"] == source] for clicks in both]


def test_a_visit_is_stored_once_although_the_api_was_killed_meanwhile(
    chromium: Browser, system: System, site: tuple[str, Path]
) -> None:
    origin, folder = site
    (folder / "index.html").write_text(PAGE % snippet("@segment/analytics-next", system.url, KEY))
    (folder / "module.js").write_text(MODULE)
    page = chromium.new_context(locale="de-DE").new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    url = f"{origin}/?utm_source=mail&utm_campaign=spring"
    page.goto(url)

    def stored(count: int) -> bool:
        page.wait_for_timeout(50)  # lets the browser's messages through
        return [len(clicks) for clicks in clicks_of(system, "web")] == [count, count]

    wait_for(lambda: stored(2), "page and track of the snippet", *system.processes)
    with system.without_api():
        for call in (
            "identify('u-17', { plan: 'pro' })",
            "group('g-1', { seats: 3 })",
            "track('Added', { products: [{ sku: 'x' }] })",
            "screen('Cart')",
            "alias('u-18')",
        ):
            page.evaluate(f"void window.analytics.{call}")
        page.evaluate("window.analytics.ready(() => undefined)")
    wait_for(lambda: stored(7), "what was said meanwhile", *system.processes)

    for clicks in clicks_of(system, "web"):
        by_type = {click["type"]: click for click in clicks if click["page"] == url}
        assert by_type.keys() == {PAGE_VIEW, "Order Completed", "identify", "group", "Added", "alias"}
        view, added = by_type[PAGE_VIEW], by_type["Added"]
        assert (view["title"], view["browser"], view["ip"]) == ("A page", "Chrome", "127.0.0.0")
        assert (view["campaign"], view["campaign_source"], view["medium"]) == ("spring", "mail", "campaign")
        assert view["properties"]["language"] == "de-DE"
        assert view["user_id"] == view["client_session_id"] == view["properties"]["visitor_id"]
        assert (added["user_id"], added["client_session_id"]) == ("u-17", view["user_id"])
        assert added["properties"]["products"] == '[{"sku":"x"}]'
        assert by_type["identify"]["properties"]["plan"] == "pro"
        assert by_type["group"]["properties"]["group_id"] == "g-1"
        # Of whoever is identified the library names the present user in every call, in this one, too.
        assert (by_type["alias"]["user_id"], by_type["alias"]["properties"]["previous_id"]) == ("u-17", "u-17")
        [screen] = [click for click in clicks if click["page"] == "Cart"]
        assert screen["type"] == PAGE_VIEW
    assert errors == []
    page.context.close()


def test_segments_library_for_go_needs_another_endpoint_only(system: System) -> None:
    rounds, kinds = 10, {"track", "page", "screen", "identify", "group", "alias"}
    command = ["go", "run", "-mod=readonly", ".", system.url, "key-of-go", str(rounds)]
    folder = Path(__file__).with_name("segment_go")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for(lambda: min(map(len, clicks_of(system, "go"))) >= rounds * len(kinds), "all of it", *system.processes)
    for clicks in clicks_of(system, "go"):
        ids = [click["event_id"] for click in clicks]
        assert sorted(ids) == sorted(f"go-{kind}-{number}" for kind in kinds for number in range(rounds))
        [track] = [click for click in clicks if click["event_id"] == "go-track-0"]
        assert (track["type"], track["page"]) == ("Order Completed", "https://shop.example/p")
        assert (track["properties"]["revenue"], track["properties"]["language"]) == (68.5, "de-DE")
        assert "analytics-go" in track["properties"]["context"], "the batch's own context is merged"
        [alias] = [click for click in clicks if click["event_id"] == "go-alias-0"]
        assert alias["properties"]["previous_id"] == "visitor"
