"""The tracker in a real Chromium against an API that answers as the test wants: retries, identities, page views."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from e2e.tracker_site import Api, told
from support.processes import wait_for


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


def test_a_long_title_is_cut_between_characters(page, api):
    page.goto(f"{api.site}/a")
    settled(page, api, 1)
    page.evaluate("document.title = 'x' + '😀'.repeat(1500); window.clickstream.track('t')")
    assert settled(page, api, 2)[1]["title"] == "x" + "😀" * 1_023


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


SET_CLOCK = """(ms) => { const real = Date.now.bind(Date); Date.now = () => real() + ms; }"""
HOUR = 3_600_000


def left_behind(page, ages_in_hours: dict[str, float], now: str = "Date.now()") -> None:
    """What an earlier page left in the queue, and when it made it."""
    page.evaluate(
        """([ages, now]) => { for (const [type, hours] of Object.entries(ages)) {
          const made = eval(now) - hours * 3600000, id = Math.random().toString(16).slice(2, 10);
          const event = {event_id: "left-" + type, type, timestamp: new Date(made).toISOString()};
          localStorage.setItem(`clickstream.k.event.${made}.000000.${id}`, JSON.stringify(event));
        }}""",
        [ages_in_hours, now],
    )


def types(events: list[dict]) -> list[str]:
    return [event["type"] for event in events]


def test_what_has_waited_for_more_than_a_day_is_given_up_and_told(page, api):
    """Its session is over, and its id is forgotten: it would count as another click."""
    lines = told(page)
    page.goto(api.site)
    settled(page, api, 1)
    left_behind(page, {"week": 168, "two-days": 48, "day-and-a-bit": 24.1, "almost-a-day": 23.9, "hour": 1})
    page.evaluate("clickstream.flush()")
    assert types(settled(page, api, 3)) == ["page_view", "almost-a-day", "hour"]
    assert lines == ["clickstream: 3 events given up, older than a day"]


def test_a_clock_that_was_never_set_or_was_set_back_makes_no_event_old(page, api):
    page.goto(api.site)
    settled(page, api, 1)
    left_behind(page, {"tomorrow": -48, "now": 0})
    left_behind(page, {"epoch": 0}, "60000")
    left_behind(page, {"firmware": 0}, "Date.UTC(2019, 0)")
    page.evaluate("clickstream.flush()")
    assert sorted(types(settled(page, api, 5))) == ["epoch", "firmware", "now", "page_view", "tomorrow"]


def test_a_clock_that_leaps_while_the_page_is_open_does_not_age_the_pages_own_events(page, api):
    api.answers = [(503, {"Retry-After": "1"})]
    lines = told(page)
    page.goto(api.site)
    wait_for(lambda: page.wait_for_timeout(20) or len(api.batches) == 1, "the first is refused", timeout=20)
    page.evaluate(SET_CLOCK, 72 * HOUR)
    page.evaluate("clickstream.track('after')")
    assert types(settled(page, api, 3)) == ["page_view", "page_view", "after"]
    assert lines == []


def test_what_an_open_page_itself_made_is_given_up_after_a_day(page, api):
    api.answers = [(503, {"Retry-After": "1"})]
    lines = told(page)
    page.goto(api.site)
    wait_for(lambda: page.wait_for_timeout(20) or len(api.batches) == 1, "the first is refused", timeout=20)
    page.evaluate(
        "(ms) => { const real = performance.now.bind(performance); performance.now = () => real() + ms; }", 25 * HOUR
    )
    page.evaluate("clickstream.track('after')")
    assert types(settled(page, api, 2)) == ["page_view", "after"]
    assert lines == ["clickstream: 1 events given up, older than a day"]


def test_of_more_than_five_hundred_the_oldest_are_given_up_and_told(page, api):
    api.answers = [(503, {"Retry-After": "1"})]
    lines = told(page)
    page.goto(api.site)
    wait_for(lambda: page.wait_for_timeout(20) or len(api.batches) == 1, "the first is refused", timeout=20)
    page.evaluate("for (let n = 0; n < 501; n++) clickstream.track('many', {n})")
    events = settled(page, api, 501)
    assert [event["properties"]["n"] for event in events[1:]] == list(range(1, 501))
    assert lines == ["clickstream: 1 events given up, too many"] * 2


def test_a_visitor_keeps_the_id_and_the_session_across_pages_and_can_be_named(page, api):
    page.goto(f"{api.site}/1")
    settled(page, api, 1)
    page.goto(f"{api.site}/2")
    page.wait_for_function("window.clickstream")
    page.evaluate("clickstream.identify('customer-42'); clickstream.track('named')")
    page.goto(f"{api.site}/3")
    wait_for(lambda: page.wait_for_timeout(20) or len(api.events) == 4, "all are sent", timeout=20)
    events = {event["event_id"]: event for event in api.events}.values()

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
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('forbidden'); }}); delete "
        "Crypto.prototype.randomUUID;"
    )
    for number in (1, 2):
        page.goto(f"{api.site}/{number}")
        wait_for(lambda: page.wait_for_timeout(20) or len(api.events) >= number, f"page {number} is sent", timeout=20)  # noqa: B023
    first, second = api.events
    assert first["user_id"] == second["user_id"]
    assert first["session_id"] == second["session_id"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", second["event_id"])
