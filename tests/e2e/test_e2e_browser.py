"""A visitor in a real Chromium: the example shop, the tracker, and what both stores know of the visit afterwards."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from devstack import Stack
from e2e.tracker_site import wait
from support.processes import Process, clickstream, wait_for
from support.system import KEY, System, system_on

SHOP = Path(__file__).resolve().parents[2] / "apps" / "shop" / "server.py"
HALF_A_MINUTE_LATER = """() => {
  for (const [name, text] of Object.entries(localStorage)) {
    if (name.includes(".event.")) localStorage.setItem(name, text.replace(/^\\d+/, (ms) => ms - 30000));
  }
}"""
DEBUGGING = """([src, key]) => {
  const tag = Object.assign(document.createElement("script"), { src });
  Object.assign(tag.dataset, { key, debug: "", global: "debugged" });
  document.head.append(tag);
}"""
FUNNEL = [("Homepage", "/"), ("Product", "/products/*"), ("Checkout", "/checkout")]


@pytest.fixture(scope="module")
def shop_port() -> int:
    """The shop's port, chosen before it starts: the pipeline must know the origin, and the shop the API's address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def system(stack: Stack, shop_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The whole data plane, for pages of the shop's origin only."""
    origin = f"http://127.0.0.1:{shop_port}"
    sources = [{"name": "web", "writeKey": KEY, "allowedOrigins": [origin]}]
    funnel = {"name": "checkout", "steps": [{"name": name, "page": page} for name, page in FUNNEL]}
    name = f"browser-{os.getpid()}"
    started = system_on(stack, tmp_path_factory.mktemp("system"), name, sources=sources, funnels=[funnel])
    yield started
    started.close()


@pytest.fixture(scope="module")
def shop(system: System, shop_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The shop's origin, its pages loading the tracker from the tracking API."""
    command = [sys.executable, str(SHOP), "--port", str(shop_port), "--port-file", "{ops_port_file}"]
    command += ["--tracker-url", system.url, "--write-key", KEY]
    process = Process("shop", command, tmp_path_factory.mktemp("shop"))
    process.wait_ready("/")
    yield f"http://127.0.0.1:{shop_port}"
    assert process.stop() == 0


class Visitor:
    """One browser profile, new to the shop. `complaints` are the errors that its pages have thrown."""

    def __init__(self, context: BrowserContext, system: System) -> None:
        self.context = context
        self.system = system
        self.complaints: list[str] = []

    def page(self) -> Page:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def id(self, page: Page) -> str:
        found = page.evaluate(f"localStorage.getItem('clickstream.{KEY}.visitor')")
        assert isinstance(found, str)
        return found

    def clicks(self, user: str) -> tuple[list[dict], list[dict]]:
        """This visitor's clicks in Elasticsearch and in PostgreSQL, in the order in which they happened."""
        documents = self.system.stores.clicks_es({"term": {"user_id": user}})
        rows = self.system.stores.sql("SELECT * FROM {s}.clicks WHERE user_id = %s ORDER BY event_time", user)
        return sorted(documents, key=lambda document: document["event_time"]), rows

    def wait_for_clicks(self, user: str, number: int) -> tuple[list[dict], list[dict]]:
        """Wait until both stores have so many of this visitor's clicks; exactly so many, each once."""
        wait_for(
            lambda: all(len(found) >= number for found in self.clicks(user)),
            f"{number} clicks of {user} are in both stores; there are {self.clicks(user)}",
            *self.system.processes,
        )
        documents, rows = self.clicks(user)
        assert len({d["event_id"] for d in documents}) == len(documents) == number
        assert {row["event_id"] for row in rows} == {d["event_id"] for d in documents}
        assert len(rows) == number
        return documents, rows


@pytest.fixture
def visitor(chromium: Browser, system: System) -> Iterator[Visitor]:
    """A new visitor with an empty browser profile."""
    context = chromium.new_context()
    made = Visitor(context, system)
    yield made
    context.close()
    assert made.complaints == []


def until(condition: Callable[[], bool], what: str) -> None:
    wait_for(condition, what, timeout=20)


def test_homepage_product_checkout_is_one_session_with_its_duration_and_a_completed_funnel(visitor, system, shop):
    page = visitor.page()
    begun = time.monotonic()
    page.goto(shop)
    user = _tracked(page, visitor)
    page.wait_for_timeout(1_200)
    page.click("#browse")  # a full page load
    page.click("#item-7")  # from here on the history API
    page.wait_for_timeout(1_200)
    page.click("#add")
    page.click("#checkout")  # a full page load again
    page.wait_for_selector("#order")
    documents, rows = visitor.wait_for_clicks(user, 6)
    elapsed = time.monotonic() - begun

    paths = ["/", "/products", "/products/item-7", "/products/item-7", "/cart", "/checkout"]
    assert [row["page_path"] for row in rows] == paths
    assert [document["page_path"] for document in documents] == paths
    assert [row["type"] for row in rows] == ["page_view"] * 3 + ["add_to_cart"] + ["page_view"] * 2
    assert {row["browser"] for row in rows} == {"Chrome"}
    assert {row["bot"] for row in rows} == {False}
    assert {row["source"] for row in rows} == {"web"}
    assert {str(row["ip"]) for row in rows} == {"127.0.0.0"}
    assert [row["title"] for row in rows if row["page_path"] == "/cart"] == ["Cart · Fieldnote Goods"]
    assert rows[4]["referrer"] == f"{shop}/products/item-7"
    assert len({row["client_session_id"] for row in rows}) == 1

    def sessions() -> tuple[list[dict], list[dict]]:
        found = system.stores.sql("SELECT * FROM {s}.sessions WHERE user_id = %s", user)
        return [s for s in system.stores.sessions_es() if s["user_id"] == user], found

    wait_for(
        lambda: all([s["events"] for s in found] == [6] for found in sessions()),
        "the session with all clicks is in both stores",
        *system.processes,
    )
    [[document], [row]] = sessions()
    first, last = rows[0]["event_time"], rows[-1]["event_time"]
    assert row["duration"] == last - first
    assert 2.4 <= row["duration"].total_seconds() <= elapsed
    assert document["duration"] == round((last - first).total_seconds() * 1000)
    assert (row["page_views"], document["page_views"]) == (5, 5)
    assert (row["entry_page"], row["exit_page"]) == ("/", "/checkout")
    assert (document["entry_page"], document["exit_page"]) == ("/", "/checkout")
    assert row["funnels"] == {"checkout": 3}
    assert document["funnel_steps"] == ["checkout:1", "checkout:2", "checkout:3"]
    assert {r["session_id"] for r in rows} == {row["session_id"]}


def test_what_happened_just_before_a_page_is_left_arrives_and_sent_again_it_stays_one(visitor, shop):
    page = visitor.page()
    page.goto(shop)
    user = _tracked(page, visitor)
    visitor.wait_for_clicks(user, 1)
    page.evaluate("clickstream.track('last_words', {said: 'farewell'}); location.href = 'about:blank'")

    documents, rows = visitor.wait_for_clicks(user, 2)
    assert rows[-1]["type"] == documents[-1]["type"] == "last_words"
    assert rows[-1]["properties"]["said"] == "farewell"

    # The next page still has it queued, for nobody told it of an answer; after half a minute it sends it again.
    page.goto(f"{shop}/products")
    visitor.wait_for_clicks(user, 3)
    assert len(_queued(page)) == 1
    page.evaluate(HALF_A_MINUTE_LATER)
    until(lambda: page.evaluate("clickstream.flush()") or _queued(page) == [], "the queue is empty")
    visitor.wait_for_clicks(user, 3)


def test_who_debugs_reads_in_the_console_what_the_pipeline_makes_of_each_event(visitor, system, shop):
    page, told = visitor.page(), []
    page.on("console", lambda message: told.append((message.type, message.text)))
    page.goto(f"{shop}/products/item-7?token=secret")
    user = _tracked(page, visitor)
    visitor.wait_for_clicks(user, 1)
    # Beside the shop's own tag, with a global object of its own: it records the view once more.
    page.evaluate(DEBUGGING, [f"{system.url}/tracker.js", KEY])
    good = f"clickstream: page_view {shop}/products/item-7?token=secret: accepted, checkout step 2 (Product)"
    wait(
        page, lambda: any(kind == "info" and text.startswith(good) for kind, text in told), f"the view's verdict {told}"
    )
    assert ("info", f"clickstream: debugging {KEY} at {system.url}/; signals honoured") in told
    assert any("page_path: /products/item-7" in text for _, text in told), "what the enricher would find"

    page.evaluate("debugged.beforeSend = (e) => (e.type === 'dropped' ? null : e); debugged.track('dropped')")
    page.evaluate("debugged.track('nested', {cart: {items: 2}})")
    faults = "nested", "not_flat"
    wait(page, lambda: any(kind == "warning" and all(f in text for f in faults) for kind, text in told), "the fault")
    assert any(text.startswith("clickstream: beforeSend dropped dropped") for _, text in told)
    # Nothing is stored by a verdict: the views are there once each, and without the token.
    _, rows = visitor.wait_for_clicks(user, 2)
    assert [row["page"] for row in rows] == [f"{shop}/products/item-7?token="] * 2


def test_a_reload_while_the_api_is_away_loses_nothing(visitor, system, shop, tmp_path):
    page = visitor.page()
    page.goto(shop)
    user = _tracked(page, visitor)
    visitor.wait_for_clicks(user, 1)
    port = system.url.rpartition(":")[2]
    assert system.api.stop() == 0

    page.evaluate("clickstream.track('first')")
    page.click(".card")  # the history API
    page.wait_for_selector("#add")
    until(lambda: len(_queued(page)) == 2, "both events wait")
    waiting = _queued(page)
    page.reload()
    page.wait_for_selector("#add")
    assert set(waiting) <= set(_queued(page))

    document = tmp_path / "pipeline.json"
    document.write_bytes(msgspec.json.encode(system.pipeline))
    command = clickstream("tracking-api", "--pipeline", str(document), "--host", "127.0.0.1", "--port", port)
    again = Process("tracking-api-again", command, tmp_path)
    try:
        wait_for(lambda: system.get("/readyz")[0] == 200, "the tracking API is back", again)
        page.goto(f"{shop}/thank-you")
        wait_for(
            lambda: all("/thank-you" in {e["page_path"] for e in found} for found in visitor.clicks(user)),
            "the page after the outage is in both stores",
            again,
            *system.processes,
        )
        wait_for(lambda: _queued(page) == [], "the queue is empty")
        wait_for(
            lambda: all({e["event_id"] for e in found} >= set(waiting) for found in visitor.clicks(user)),
            "what waited is in both stores",
            *system.processes,
        )
        documents, rows = visitor.clicks(user)
        assert {row["event_id"] for row in rows} == {d["event_id"] for d in documents}
        assert len({row["event_id"] for row in rows}) == len(rows) == len(documents)
    finally:
        assert again.stop() == 0


def _tracked(page: Page, visitor: Visitor) -> str:
    """The visitor's id, once the tracker has run."""
    page.wait_for_function("window.clickstream")
    return visitor.id(page)


def _queued(page: Page) -> list[str]:
    """event_ids of what waits in the page's localStorage."""
    texts = page.evaluate(
        "Object.entries(localStorage).filter(([name]) => name.includes('.event.'))"
        ".map(([, text]) => text.slice(text.indexOf('{')))"
    )
    return [json.loads(text)["event_id"] for text in texts]
