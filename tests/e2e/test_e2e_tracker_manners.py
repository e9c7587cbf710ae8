"""The tracker among strangers: sandboxes, full and forbidden storage, slow APIs, several tabs, frameworks, mistakes.

It never throws into the page, never sends again what is under way, never fills the site's storage, and says once what
is wrong.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest

from e2e.tracker_site import told, wait


def test_with_every_interface_absent_or_throwing_the_page_goes_on(page, api):
    """Each in turn: its getter throws, then it is not there."""
    thrown: list[str] = []
    use = (
        "const c = window.clickstream; if (c) { c.track('a'); c.identify('u', {plan: 'x'}); c.group('g'); c.page();"
        " c.flush(); c.reset(); c.optOut(); c.optIn(); c.isOptedIn(); }"
    )
    api.others["/page"] = (
        "<!doctype html><script src='http://localhost:{port}/tracker.js' data-key='k'></script>"
        f"<script>{use}; new Image().src = '/used';</script>"
    )
    requests: list[str] = []
    for name in (
        "localStorage", "crypto", "navigator.locks", "navigator.sendBeacon", "fetch", "performance", "Blob",
        "document.cookie", "document.referrer", "history.pushState", "navigation", "AbortSignal", "Intl", "screen",
        "console.warn", "document.currentScript", "JSON.stringify", "Date.now", "setTimeout", "top",
    ):  # fmt: skip
        owner, _, member = name.rpartition(".")
        for how in ("get() { throw new Error('forbidden'); }", "value: undefined"):
            own = page.context.new_page()
            own.on("pageerror", lambda error, name=name, how=how: thrown.append(f"{name}, {how}: {error}"))
            own.on("request", lambda request: requests.append(request.url))
            own.add_init_script(
                f"try {{ Object.defineProperty({owner or 'window'}, '{member}', "
                f"{{configurable: true, {how}}}); }} catch {{}}"
            )
            own.goto(f"{api.site}/page", wait_until="load")
            assert any("/used" in each for each in requests), f"{name}, {how}: the page did not go on"
            requests.clear()
            own.close()
    assert thrown == []


@pytest.mark.parametrize("how", ["src", "srcdoc"])
def test_in_a_sandboxed_frame_nothing_is_thrown_and_clicks_are_sent(page, api, how):
    tag = "<script src='http://localhost:{port}/tracker.js' data-key='inner'></script>"
    inner = f"<!doctype html>{tag}<script>clickstream.track('inside')</script>"
    api.others["/inner"] = inner
    content = "src='/inner'" if how == "src" else f'srcdoc="{inner}"'
    api.body = f"<iframe sandbox='allow-scripts' {content}></iframe>"
    page.goto(f"{api.site}/outer")
    wait(page, lambda: any(e["type"] == "inside" for e in api.events), "the frame's click is sent")
    [inside] = [each for each in api.events if each["type"] == "inside"]
    assert inside["page"].startswith(api.site), inside["page"]


def test_a_slow_api_gets_each_event_at_most_twice_however_many_pages_come(page, api):
    api.delay = 2.0
    for number in range(6):
        page.goto(f"{api.site}/{number}")
        page.wait_for_timeout(700)
    wait(page, lambda: len({e["event_id"] for e in api.events}) == 6, "all views are sent", 60)
    copies = Counter(event["event_id"] for event in api.events)
    assert max(copies.values()) <= 2
    assert len(api.batches) <= 7


def test_all_pages_and_tabs_keep_to_the_pause_that_the_api_asks_for(context, page, api):
    api.answers = [(503, {"Retry-After": "6"})]
    page.goto(f"{api.site}/0")
    wait(page, lambda: api.batches, "the first request")
    other = context.new_page()
    for number in range(1, 4):
        page.goto(f"{api.site}/{number}")
        other.goto(f"{api.site}/tab/{number}")
        page.wait_for_timeout(500)
    assert len(api.batches) == 1
    wait(page, lambda: len({e["event_id"] for e in api.events}) == 7, "all are sent afterwards")
    assert api.times[1] - api.times[0] >= 6


def test_four_tabs_send_each_event_once(context, api):
    pages = [context.new_page() for _ in range(4)]
    for number, each in enumerate(pages):
        each.goto(f"{api.site}/{number}")
    for each in pages:
        each.evaluate("for (let n = 0; n < 6; n++) clickstream.track('t', {n})")
    wait(pages[0], lambda: len({e["event_id"] for e in api.events}) == 28, "all are sent")
    pages[0].wait_for_timeout(1_500)
    assert len(api.events) == 28


def test_what_is_tracked_before_a_navigation_is_sent_once(page, api):
    page.goto(f"{api.site}/product")
    wait(page, lambda: len(api.events) == 1, "the view")
    page.evaluate("clickstream.track('add_to_cart'); location.href = '/cart'")
    wait(page, lambda: len({e["event_id"] for e in api.events}) == 3, "click and view")
    page.wait_for_timeout(2_000)
    assert Counter(event["type"] for event in api.events) == {"page_view": 2, "add_to_cart": 1}


def test_nothing_is_sent_while_a_page_is_prerendered_and_one_view_afterwards(page, api):
    page.add_init_script(
        "Object.defineProperty(document, 'prerendering', {get: () => !window.shown, configurable: true});"
    )
    page.goto(f"{api.site}/later")
    page.evaluate("history.replaceState(null, '', '/router'); clickstream.track('early')")
    page.wait_for_timeout(1_000)
    assert api.batches == []
    page.evaluate("window.shown = true; document.dispatchEvent(new Event('prerenderingchange'))")
    wait(page, lambda: len(api.events) == 2, "view and event")
    assert sorted(each["type"] for each in api.events) == ["early", "page_view"]
    assert {each["page"] for each in api.events} == {f"{api.site}/router"}


def test_a_view_has_the_title_that_its_framework_sets_a_moment_later(page, api):
    page.goto(f"{api.site}/a")
    wait(page, lambda: len(api.events) == 1, "the first view")  # else the second may be sent with it, at once
    page.evaluate("history.pushState(null, '', '/b'); setTimeout(() => { document.title = 'B' }, 100);")
    wait(page, lambda: len(api.events) == 2, "both views")
    assert [(e["page"].removeprefix(api.site), e["title"]) for e in api.events] == [("/a", "A page"), ("/b", "B")]


def test_an_intercepted_navigation_is_a_view(page, api):
    page.goto(f"{api.site}/one")
    page.evaluate(
        """() => { navigation.addEventListener("navigate", (event) => event.intercept({handler: async () => {}}));
        navigation.navigate("/two"); }"""
    )
    wait(page, lambda: len(api.events) == 2, "both views")
    assert api.events[1]["page"] == f"{api.site}/two"


def test_without_the_navigation_api_the_history_is_watched(page, api):
    page.add_init_script("Object.defineProperty(window, 'navigation', {value: undefined})")
    page.goto(f"{api.site}/one")
    page.evaluate("history.pushState(null, '', '/two')")
    wait(page, lambda: len(api.events) == 2, "both views")


def test_hash_routes_are_pages_when_asked_for(page, api):
    api.tag = "data-key='k' data-hash-routing"
    page.goto(f"{api.site}/app#/a")
    page.evaluate("location.hash = '#/b'")
    wait(page, lambda: len(api.events) == 2, "both views")
    assert [e["page"].removeprefix(api.site) for e in api.events] == ["/app#/a", "/app#/b"]


@pytest.mark.parametrize("given", ["undefined", "null", "{}", "''", "'x'.repeat(300)", "['a']", "NaN.x"])
def test_an_identity_that_is_none_is_told_and_ignored(page, api, given):
    lines = told(page)
    page.goto(api.site)
    page.evaluate(f"clickstream.identify({given}); clickstream.track('t')")
    wait(page, lambda: len(api.events) == 2, "both")
    assert api.events[1]["user_id"] == api.events[1]["properties"]["visitor_id"]
    assert lines == ["clickstream: identify() takes a text of 1 to 256 characters: ignored"]


def test_reset_makes_another_visitor(page, api):
    page.goto(api.site)
    page.evaluate("clickstream.identify('anna'); clickstream.track('a'); clickstream.reset(); clickstream.track('b')")
    wait(page, lambda: len(api.events) == 3, "all")
    first, named, after = api.events
    assert named["user_id"] == "anna"
    assert after["user_id"] not in {"anna", first["user_id"]}
    assert after["session_id"] != first["session_id"]


def test_each_reason_of_a_refusal_is_told_once(page, api):
    rejected = {
        "accepted": 0,
        "rejected": [{"index": 0, "code": "not_flat", "path": "properties.x", "message": "flat!"}],
    }
    api.answers = [(202, {"body": json.dumps(rejected)})] * 3 + [
        (403, {"body": json.dumps({"error": {"code": "unknown_key", "path": "", "message": "no such key"}})})
    ]
    lines = told(page)
    page.goto(api.site)
    for number in range(4):
        wait(page, lambda n=number: len(api.batches) == n + 1, "a request")
        page.evaluate("clickstream.track('next')")
    wait(page, lambda: len(api.batches) == 5, "the last")
    assert lines == [
        "clickstream: refused: not_flat properties.x flat!",
        "clickstream: refused: unknown_key no such key",
    ]


def test_an_api_that_cannot_be_reached_is_told_once_and_the_events_wait(page, api):
    lines = told(page)
    api.answers = [None] * 4
    page.goto(api.site)
    wait(page, lambda: lines, "a line in the console", 30)
    assert lines == ["clickstream: the API cannot be reached: is it up, and in the page's connect-src?"]
    wait(page, lambda: len(api.batches) >= 5, "it goes on", 60)


def test_a_tag_without_a_key_says_so(page, api):
    lines = told(page)
    api.tag = ""
    page.goto(api.site)
    wait(page, lambda: lines, "a line in the console")
    assert lines == ['clickstream: the script tag lacks data-key="WRITE_KEY"']


def test_two_keys_on_a_page_are_two_trackers_and_the_same_key_is_one(page, api):
    tag = "<script src='http://localhost:{port}/tracker.js' data-key='%s'></script>"
    api.body = tag % "other" + tag % "k"
    page.goto(api.site)
    wait(page, lambda: len(api.events) == 2, "a view of each")
    page.wait_for_timeout(500)
    assert sorted(batch["path"] for batch in api.batches) == [f"/v1/events/batch?key={key}" for key in ("k", "other")]
    page.evaluate("clickstream.trackers.other.track('mine')")
    wait(page, lambda: api.batches[-1]["path"].endswith("other") and len(api.events) == 3, "the other's event")


def test_calls_before_the_script_has_loaded_are_kept_and_an_element_of_that_name_is_no_tracker(page, api):
    api.others["/stub"] = (
        "<!doctype html><div id='clickstream'></div><script>window.clickstream = {q: [['identify', ['anna']],"
        " ['track', ['early', {n: 1}]]]}</script><script async src='http://localhost:{port}/tracker.js' data-key='k'>"
        "</script>"
    )
    page.goto(f"{api.site}/stub")
    wait(page, lambda: len(api.events) == 2, "the view and the early event")
    assert {e["type"]: e["user_id"] for e in api.events}["early"] == "anna"
    api.others["/element"] = (
        "<!doctype html><div id='clickstream'></div>"
        "<script async src='http://localhost:{port}/tracker.js' data-key='k'></script>"
    )
    page.goto(f"{api.site}/element")
    page.wait_for_function("!!window.clickstream.track")


def test_in_an_outage_the_sites_own_storage_has_room(page, api):
    api.answers = [(503, {"Retry-After": "60"})] * 100
    page.goto(api.site)
    page.evaluate("for (let n = 0; n < 200; n++) clickstream.track('big', {x: 'x'.repeat(8000)})")
    used = page.evaluate("Object.entries(localStorage).reduce((sum, [k, v]) => sum + k.length + v.length, 0)")
    assert used < 300 * 1024
    page.evaluate("localStorage.setItem('cart', 'x'.repeat(1024 * 1024))")


def test_the_sites_own_cookies_are_not_taken_for_ours(page, api):
    page.context.add_cookies(
        [
            {"name": name, "value": value, "url": api.site}
            for name, value in (("cs_user", "50%off"), ("cs_visitor", "x"))
        ]
    )
    page.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('forbidden'); }})")
    page.goto(api.site)
    wait(page, lambda: api.events, "the view")
    assert len(api.events[0]["user_id"]) == 36


def test_when_the_storage_is_full_what_is_said_last_counts(page, api):
    page.goto(api.site)
    page.evaluate("clickstream.identify('A')")
    page.evaluate(
        "Storage.prototype.setItem = function () { throw new DOMException('full', 'QuotaExceededError'); };"
        "clickstream.identify('somebody else'); clickstream.track('t')"
    )
    wait(page, lambda: len(api.events) == 2, "both")
    assert api.events[-1]["user_id"] == "somebody else"


def test_nothing_is_kept_or_sent_before_consent_and_all_of_it_afterwards(page, api):
    api.tag = "data-key='k' data-consent='required'"
    page.goto(f"{api.site}/first")
    page.evaluate("clickstream.track('early')")
    page.wait_for_timeout(600)
    assert (api.batches, page.evaluate("localStorage.length"), page.evaluate("document.cookie")) == ([], 0, "")
    page.evaluate("clickstream.optIn()")
    wait(page, lambda: len(api.events) == 2, "what was held back")
    page.goto(f"{api.site}/second")
    wait(page, lambda: len(api.events) == 3, "the decision is remembered")
    page.evaluate("clickstream.optOut(); clickstream.track('never')")
    page.wait_for_timeout(600)
    page.goto(f"{api.site}/third")
    page.wait_for_timeout(600)
    assert len(api.events) == 3
    assert page.evaluate("Object.keys(localStorage)") == ["clickstream.k.consent"]


@pytest.mark.parametrize(
    "signal",
    [
        "Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})",
        "Object.defineProperty(navigator, 'doNotTrack', {value: '1'})",
    ],
)
def test_who_asks_not_to_be_tracked_is_another_visitor_on_each_page(page, api, signal):
    page.add_init_script(signal)
    for number in range(2):
        page.goto(f"{api.site}/{number}")
        wait(page, lambda n=number: len(api.events) == n + 1, "a view")
    first, second = api.events
    assert first["user_id"] != second["user_id"]
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_excluded_pages_are_not_sent_and_excluded_parameters_are_cut(page, api):
    api.tag = "data-key='k' data-exclude='/admin/* /private' data-exclude-query='token, email'"
    page.goto(f"{api.site}/admin/users")
    page.goto(f"{api.site}/private")
    page.goto(f"{api.site}/open?token=secret&x=1&email=a%40b.example")
    wait(page, lambda: api.events, "the open page")
    page.goto(f"{api.site}/next", referer=f"{api.site}/open?token=secret&x=1")
    wait(page, lambda: len(api.events) == 2, "the next page")
    assert [e["page"] for e in api.events] == [f"{api.site}/open?x=1", f"{api.site}/next"]
    assert "secret" not in json.dumps(api.events)


def test_what_is_sent_can_be_changed_or_held_back(page, api):
    page.goto(api.site)
    page.evaluate(
        """() => { clickstream.beforeSend = (event) => event.type === "secret" ? null :
        {...event, properties: {...event.properties, seen: true}};
        clickstream.track("secret"); clickstream.track("open"); }"""
    )
    wait(page, lambda: len(api.events) == 2, "view and event")
    assert [e["type"] for e in api.events] == ["page_view", "open"]
    assert api.events[1]["properties"]["seen"] is True


def test_a_frame_of_the_same_site_is_no_page_of_its_own(page, api):
    api.others["/inner"] = "<!doctype html><script src='http://localhost:{port}/tracker.js' data-key='k'></script>"
    api.body = "<iframe src='/inner'></iframe>"
    page.goto(f"{api.site}/outer")
    page.wait_for_timeout(1_500)
    assert [e["page"] for e in api.events] == [f"{api.site}/outer"]


def test_an_event_costs_as_much_when_hundreds_wait_as_when_none_does_and_none_is_lost(page, api):
    page.goto(api.site)
    wait(page, lambda: api.events, "the view")
    first, last = page.evaluate(
        """() => {
          const fifty = () => {
            const begin = performance.now();
            for (let n = 0; n < 50; n++) clickstream.track('n', {n});
            return performance.now() - begin;
          };
          fifty();
          const rounds = [1, 2, 3, 4, 5, 6, 7].map(fifty);
          return [Math.min(...rounds.slice(0, 2)), Math.min(...rounds.slice(-2))];
        }"""
    )
    wait(page, lambda: len(api.events) == 401, "all are sent")
    assert last < 3 * first + 2, f"{first / 50:.2f} ms a call at first, {last / 50:.2f} ms with 300 waiting"
