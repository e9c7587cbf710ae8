"""The tracker in a real Chromium against an API that answers as the test wants: retries, identities, page views."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from support.processes import wait_for

import clickstream.tracking_api

SCRIPT = Path(clickstream.tracking_api.__file__).parent / "static" / "tracker.js"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PAGE = b"<!doctype html><title>A page</title><script async src='http://localhost:%d/tracker.js' data-key='k'></script>"


class Api:
    """Site and API: pages at 127.0.0.1, the API at localhost, which is another origin. `answers` are used up in turn."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]] | None] = []
        self.batches: list[dict] = []
        self.times: list[float] = []
        self.methods: list[str] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/tracker.js":
                    self.answer(200, {"Content-Type": "text/javascript"}, SCRIPT.read_bytes())
                else:
                    self.answer(200, {"Content-Type": "text/html"}, PAGE % self.server.server_address[1])

            def do_OPTIONS(self) -> None:
                api.methods.append("OPTIONS")
                self.answer(403, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api.methods.append("POST")
                api.times.append(time.monotonic())
                api.batches.append(json.loads(body) | {"path": self.path, "cookie": self.headers.get("Cookie")})
                answer = api.answers.pop(0) if api.answers else (202, {})
                if answer is None:
                    self.close_connection = True  # no answer at all
                    return
                self.answer(*answer)

            def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
                self.send_response(status)
                shared = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
                for name, value in (shared | headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.site = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def events(self) -> list[dict]:
        return [event for batch in self.batches for event in batch["events"]]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    yield made
    made.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "no Chromium found: install it (Debian: apt-get install chromium) or set CHROMIUM to its path"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context()
    made = context.new_page()
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    yield made
    context.close()
    assert errors == []


def settled(page: Page, api: Api, events: int) -> list[dict]:
    """Wait until so many events were sent and none waits in the page any more."""
    waiting = "Object.keys(localStorage).filter((name) => name.includes('.event.')).length"

    def done() -> bool:
        page.wait_for_timeout(20)  # lets playwright's own loop run
        return len(api.events) >= events and page.evaluate(waiting) == 0

    wait_for(done, f"{events} events are settled; {len(api.events)} were sent", timeout=20)
    return api.events


def test_a_page_view_is_sent_without_preflight_and_without_cookies(page, api):
    page.goto(f"{api.site}/some/page?x=1#part", referer="https://www.google.com/")
    [event] = settled(page, api, 1)
    [batch] = api.batches

    assert event["page"] == f"{api.site}/some/page?x=1"
    assert (event["type"], event["title"], event["referrer"]) == ("page_view", "A page", "https://www.google.com/")
    assert event["user_id"] == event["properties"]["visitor_id"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", event["event_id"])
    assert event["timestamp"] <= batch["sent_at"]
    assert batch["path"] == "/v1/events/batch?key=k"
    assert batch["cookie"] is None
    assert api.methods == ["POST"]


def test_navigation_within_an_application_is_a_page_view_unless_the_address_stays_the_same(page, api):
    page.goto(f"{api.site}/a")
    settled(page, api, 1)
    for script in (
        "history.pushState(null, '', '/b')",
        "history.pushState(null, '', '/b')",
        "history.replaceState({}, '', '/b#part')",
        "history.replaceState(null, '', '/c')",
        "location.hash = 'part'",
        "history.go(-2)",
    ):
        page.evaluate(script)
        page.wait_for_timeout(300)
    events = settled(page, api, 4)

    assert [event["page"].removeprefix(api.site) for event in events] == ["/a", "/b", "/c", "/b"]
    assert [event["referrer"].removeprefix(api.site) for event in events] == ["", "/a", "/b", "/c"]


@pytest.mark.parametrize(
    ("answer", "least"),
    [
        ((503, {"Retry-After": "2"}), 2.0),
        ((500, {}), 1.0),
        ((429, {"Retry-After": "1"}), 1.0),
        ((408, {}), 1.0),
        (None, 1.0),
    ],
    ids=["503", "500", "429", "408", "no answer"],
)
def test_what_may_succeed_later_is_sent_again_with_the_same_ids(page, api, answer, least):
    api.answers = [answer]
    page.goto(api.site)
    events = settled(page, api, 2)

    assert events[0] == events[1]
    assert api.batches[0]["sent_at"] < api.batches[1]["sent_at"]
    assert least <= api.times[1] - api.times[0] < 2 * least + 1


def test_each_failure_makes_it_wait_longer(page, api):
    api.answers = [(503, {}), (503, {})]
    page.goto(api.site)
    settled(page, api, 3)
    first, second = (later - earlier for earlier, later in zip(api.times, api.times[1:], strict=False))
    assert 1 <= first < 2.5
    assert 2 <= second < 4.5


@pytest.mark.parametrize("status", [400, 403, 413, 422])
def test_what_is_refused_for_good_is_not_sent_again(page, api, status):
    api.answers = [(status, {})]
    page.goto(api.site)
    settled(page, api, 1)
    page.evaluate("clickstream.track('next')")
    assert [event["type"] for event in settled(page, api, 2)] == ["page_view", "next"]


def test_many_events_go_in_batches_of_fifty_and_none_is_lost(page, api):
    page.goto(api.site)
    settled(page, api, 1)
    page.evaluate("for (let n = 0; n < 170; n++) clickstream.track('many', {n})")
    events = settled(page, api, 171)
    assert [event["properties"]["n"] for event in events[1:]] == list(range(170))
    assert max(len(batch["events"]) for batch in api.batches) == 50


def test_an_event_that_no_api_would_take_does_not_hold_up_the_others(page, api):
    page.goto(api.site)
    settled(page, api, 1)
    page.evaluate("clickstream.track('huge', {x: 'x'.repeat(40000)}); clickstream.track('small')")
    assert [event["type"] for event in settled(page, api, 2)] == ["page_view", "small"]


def test_a_visitor_keeps_the_id_and_the_session_across_pages_and_can_be_named(page, api):
    page.goto(f"{api.site}/1")
    settled(page, api, 1)
    page.goto(f"{api.site}/2")
    page.wait_for_function("window.clickstream")
    page.evaluate("clickstream.identify('customer-42'); clickstream.track('named')")
    page.goto(f"{api.site}/3")
    events = {event["event_id"]: event for event in settled(page, api, 4)}.values()

    assert len({event["properties"]["visitor_id"] for event in events}) == 1
    assert len({event["session_id"] for event in events}) == 1
    assert [event["user_id"] == "customer-42" for event in events] == [False, False, True, True]


def test_after_half_an_hour_of_silence_a_new_session_begins(page, api):
    page.goto(api.site)
    settled(page, api, 1)
    for minutes in (29, 31):
        page.evaluate(
            """(minutes) => {
              const [id, last] = localStorage.getItem("clickstream.k.session").split(" ");
              localStorage.setItem("clickstream.k.session", id + " " + (last - minutes * 60000));
              clickstream.track("back");
            }""",
            minutes,
        )
    first, still, new = (event["session_id"] for event in settled(page, api, 3))
    assert first == still != new


def test_without_local_storage_and_random_uuid_it_works_with_cookies(page, api):
    page.context.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('forbidden'); }}); delete Crypto.prototype.randomUUID;"
    )
    for number in (1, 2):
        page.goto(f"{api.site}/{number}")
        wait_for(lambda: page.wait_for_timeout(20) or len(api.events) >= number, f"page {number} is sent", timeout=20)  # noqa: B023
    first, second = api.events
    assert first["user_id"] == second["user_id"]
    assert first["session_id"] == second["session_id"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", second["event_id"])
