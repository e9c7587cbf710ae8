"""What a tag may ask for beside page views: links, forms, declared events, engagement, vitals, errors, domains."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page

from clickstream.tracking_api.script import MODULES
from e2e.tracker_site import Api, told, wait


def of(api: Api, kind: str) -> list[dict]:
    return [event for event in api.events if event["type"] == kind]


def visit(page: Page, api: Api, modules: str, body: str, path: str = "/page") -> None:
    """Open a page whose tag asks for these modules, and wait until they are at work."""
    api.others[path] = (
        "<!doctype html><title>A page</title><script src='http://localhost:{port}/tracker.js' data-key='k' "
        f"data-modules='{modules}'></script>{body}"
    )
    with_modules = [
        page.expect_response(lambda answer, name=name: f"/{name}.js" in answer.url) for name in modules.split()
    ]
    for each in with_modules:
        each.__enter__()
    page.goto(f"{api.site}{path}")
    for each in with_modules:
        each.__exit__(None, None, None)
    page.wait_for_load_state("networkidle")
    wait(page, lambda: of(api, "page_view"), "the view")


def test_links_to_elsewhere_and_files_are_recorded_and_links_within_are_not(page, api):
    visit(
        page,
        api,
        "links",
        "<a id=out href='http://elsewhere.invalid/x?token=1#part' target=_blank><b>out</b></a>"
        "<a id=file href='/price-list.PDF' target=_blank>file</a> <a id=within href='#there'>within</a>"
        "<a id=mail href='mailto:a@b.invalid'>mail</a>"
        "<script>addEventListener('click', e => e.preventDefault())</script>",
    )
    for name in ("out", "file", "within", "mail"):
        page.click(f"#{name}")
    page.click("#out", button="middle")
    wait(page, lambda: len(of(api, "outbound_link")) == 2, "both clicks")
    assert [e["properties"]["url"] for e in of(api, "outbound_link")] == ["http://elsewhere.invalid/x?token=1#part"] * 2
    assert [e["properties"]["url"] for e in of(api, "download")] == [f"{api.site}/price-list.PDF"]
    assert all(e["page"] == f"{api.site}/page" for e in api.events)


def test_elements_declare_events_also_within_a_shadow_root(page, api):
    visit(
        page,
        api,
        "elements",
        "<button data-clickstream-event=add_to_cart data-clickstream-product-id=7><i>add</i></button>"
        "<div id=host></div><form data-clickstream-event=search data-clickstream-where=top><input><button>go</button>"
        "</form><script>addEventListener('submit', e => e.preventDefault());"
        "host.attachShadow({mode: 'open'}).innerHTML = '<b id=deep data-clickstream-event=deep>x</b>'</script>",
    )
    page.click("i")
    page.click("#deep")
    page.click("input")
    page.click("form button")
    wait(page, lambda: of(api, "search"), "the form's event")
    ours = {e["type"]: e["properties"] for e in api.events}
    assert ours["add_to_cart"]["product_id"] == "7"
    assert ours["search"]["where"] == "top"
    assert sorted(e["type"] for e in api.events) == ["add_to_cart", "deep", "page_view", "search"]


def test_a_submitted_form_is_recorded_without_what_was_filled_in(page, api):
    visit(
        page,
        api,
        "forms",
        "<form id=order action='/buy?step=2' method=post><input name=id value=secret><input name=action value=secret>"
        "<button>buy</button></form><script>addEventListener('submit', e => e.preventDefault())</script>",
    )
    page.click("button")
    wait(page, lambda: of(api, "form_submit"), "the submit")
    (event,) = of(api, "form_submit")
    assert {name: event["properties"][name] for name in ("form", "action")} == {
        "form": "order",
        "action": f"{api.site}/buy?step=2",
    }
    assert "secret" not in str(event)


def test_engagement_belongs_to_the_page_that_was_read_and_adds_up(page, api):
    visit(page, api, "engagement", "<div style='height: 4000px'></div>")
    page.evaluate("scrollTo(0, 1500)")
    page.mouse.move(10, 10)
    page.wait_for_timeout(2_500)
    page.evaluate("history.pushState({}, '', '/next')")
    wait(page, lambda: of(api, "engagement"), "the first page's engagement")
    first = of(api, "engagement")[0]
    assert first["page"] == f"{api.site}/page"
    assert first["properties"]["engaged_seconds"] >= 1
    assert 40 <= first["properties"]["scroll_percent"] <= 70
    page.evaluate("scrollTo(0, 4000)")
    page.wait_for_timeout(1_500)
    page.goto("about:blank")
    wait(page, lambda: len(of(api, "engagement")) == 2, "the second page's, as it is left")
    second = of(api, "engagement")[1]
    assert (second["page"], second["properties"]["scroll_percent"]) == (f"{api.site}/next", 100)
    assert len({e["event_id"] for e in api.events}) == len(api.events), "each once"


def test_web_vitals_are_sent_once_when_the_page_is_left(page, api):
    visit(
        page,
        api,
        "vitals",
        '<h1>Something large, the largest of all</h1><button onclick="const until = performance.now() + 120;'
        " while (performance.now() < until); this.textContent = 'done'\">work</button><p>below</p>",
    )
    page.click("button")
    page.wait_for_function("document.querySelector('button').textContent === 'done'")
    page.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
    # A shift of the layout that no input caused: later than half a second after one.
    page.wait_for_timeout(800)
    page.evaluate("document.querySelector('h1').style.marginTop = '300px'")
    page.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
    page.goto("about:blank")
    wait(page, lambda: of(api, "web_vitals"), "the vitals")
    (event,) = of(api, "web_vitals")
    found = event["properties"]
    assert event["page"] == f"{api.site}/page"
    assert 0 <= found["ttfb_ms"] <= found["fcp_ms"] <= found["lcp_ms"]
    assert found["inp_ms"] >= 100
    assert 0 < found["cls"] < 1


def test_errors_that_nobody_caught_are_recorded_once_each_and_ten_at_most(chromium: Browser, api):
    page = chromium.new_page()
    visit(page, api, "errors", "")
    page.evaluate(
        "for (let n = 0; n < 3; n++) setTimeout(() => { throw new TypeError('the same') });"
        "Promise.reject(new Error('rejected')); Promise.reject({}); Promise.reject(null); 0"
    )
    wait(page, lambda: len(of(api, "js_error")) >= 4, "the errors")
    messages = sorted(e["properties"]["message"] for e in of(api, "js_error"))
    assert messages == ["Uncaught TypeError: the same", "[object Object]", "null", "rejected"]
    stacks = {e["properties"]["message"]: e["properties"]["stack"] for e in of(api, "js_error")}
    assert stacks["rejected"].startswith("Error: rejected")
    page.evaluate("for (let n = 0; n < 50; n++) Promise.reject('number ' + n); clickstream.track('last'); 0")
    wait(page, lambda: of(api, "last"), "the last one")
    page.evaluate("clickstream.flush()")
    assert len(of(api, "js_error")) <= 10
    page.close()


def test_a_visitor_stays_one_on_another_domain_and_cannot_be_planted(page, api):
    port = api.site.rpartition(":")[2]
    other = f"http://localhost:{port}"
    source = "src='http://localhost:{port}/tracker.js' data-key='k' data-domains='127.0.0.1 localhost'"
    tag = f"<script async {source}></script>"
    api.others["/from"] = (
        f"<!doctype html>{tag}<a id=ours href='{other}/to?x=1'>ours</a><a id=not href='http://x.invalid/'>not</a>"
    )
    api.others["/to"] = f"<!doctype html>{tag}"
    page.goto(f"{api.site}/from")
    wait(page, lambda: len(of(api, "page_view")) == 1, "the first view")
    page.wait_for_load_state("networkidle")
    page.click("#ours")
    wait(page, lambda: len(of(api, "page_view")) == 2, "the second view")
    first, second = of(api, "page_view")
    assert second["properties"]["visitor_id"] == first["properties"]["visitor_id"]
    assert second["page"] == f"{other}/to?x=1", "the id is no part of the address"
    address = page.url
    assert "_cs=" in address
    stranger = page.context.browser.new_context().new_page()
    stranger.goto(address)
    wait(stranger, lambda: len(of(api, "page_view")) == 3, "a view of somebody who was given the link")
    assert of(api, "page_view")[2]["properties"]["visitor_id"] != first["properties"]["visitor_id"]
    stranger.context.close()


def test_modules_load_under_a_strict_policy_and_wait_for_consent(page, api):
    policy = "script-src 'nonce-n' 'strict-dynamic'; require-trusted-types-for 'script'"
    api.others["/strict"] = (
        f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<script nonce=n async src='http://localhost:{port}/tracker.js' data-key='k' data-consent='required' "
        f"data-modules='{' '.join(set(MODULES) - {'domains'})}'></script>"
        "<button data-clickstream-event='clicked'>b</button>"
    )
    refused = told(page)
    violations: list[str] = []
    page.on("console", lambda message: violations.append(message.text) if "Content Security" in message.text else None)
    page.goto(f"{api.site}/strict")
    page.wait_for_load_state("networkidle")
    page.click("button")
    page.wait_for_timeout(500)
    assert api.events == [], "nothing before the visitor agrees"
    page.evaluate("clickstream.optIn()")
    wait(page, lambda: of(api, "clicked"), "the click")
    assert (refused, violations) == ([], [])


@pytest.mark.parametrize("absent", ["PerformanceObserver", "performance.getEntriesByType", "document.hasFocus"])
def test_with_an_interface_absent_a_module_does_not_disturb_the_page(page, api, absent):
    owner, _, name = absent.rpartition(".")
    page.add_init_script(
        f"Object.defineProperty({owner or 'window'}, '{name}', {{configurable: true, value: undefined}})"
    )
    api.tag = f"data-key='k' data-modules='{' '.join(set(MODULES) - {'domains'})}'"
    api.body = "<a href='http://elsewhere.invalid' onclick='return false' data-clickstream-event='e'>x</a>"
    page.goto(api.site)
    page.wait_for_load_state("networkidle")
    page.click("a")
    page.goto("about:blank")


def test_a_module_that_is_not_there_is_told_and_nothing_else_happens(page, api):
    lines = told(page)
    api.tag = "data-key='k' data-modules='nonsense'"
    page.goto(api.site)
    wait(page, lambda: lines and of(api, "page_view"), "a line in the console, and the view")
    assert lines == ["clickstream: no module nonsense"]
