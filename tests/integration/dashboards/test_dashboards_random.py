"""Random visitors: every dashboard number equals what plain Python computes from the clicks that were sent."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from clickstream.contracts.pipeline import Pipeline
from preview.board import Board, Stores
from preview.variables import Range
from support.brute_force import DAY, HOUR, MINUTE, Seen, cohorts, followers, numbers, visits, ways
from support.processes import wait_for
from support.scenario import CRAWLER, FIREFOX, IPHONE, monday_ms
from support.system import System

PAGES = ("/", "/", "/products/one", "/products/two", "/products", "/checkout", "/help")
AGENTS = {"desktop": FIREFOX, "mobile": IPHONE, "bot": CRAWLER}
GAP = 10 * MINUTE
_OF_USERS = ("New users", "New and returning users by day")


def traffic(seed: int, since: int) -> list[Seen]:
    """A thousand clicks or so in three days, in the order of their times; several within one second, some on a gap's
    edge."""
    chance = random.Random(seed)
    made: list[Seen] = []
    for number in range(60):
        device = chance.choices(("desktop", "mobile", "bot"), (6, 3, 1))[0]
        for _ in range(chance.randrange(1, 5)):
            at = since + chance.randrange(3 * DAY - HOUR)
            for place in range(chance.choice((1, 1, 2, 3, 5, 8))):
                channel = "search" if place == 0 and chance.random() < 0.3 else "direct"
                kind = "page_view" if chance.random() < 0.85 else "add_to_cart"
                made.append(Seen(at, f"visitor-{number}", chance.choice(PAGES), kind, device == "bot", device, channel))
                at += chance.choice((1, 999, 20_000, 5 * MINUTE, GAP, GAP + 1))
    return sorted(made, key=lambda click: click.at)


def event(number: int, seed: int, click: Seen) -> dict[str, object]:
    return {
        "event_id": f"random-{seed}-{number}",
        "timestamp": datetime.fromtimestamp(click.at / 1_000, UTC).isoformat(timespec="milliseconds"),
        "user_id": click.user,
        "session_id": "tab",
        "page": f"https://shop.example{click.path}",
        "type": click.type,
        "user_agent": AGENTS[click.device],
    } | ({"referrer": "https://duckduckgo.com/"} if click.channel == "search" else {})


@pytest.fixture(scope="module")
def system(new_pipeline: Callable[..., Pipeline], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    started = System(new_pipeline(enricher={"lateAfter": "30d"}), tmp_path_factory.mktemp("random"))
    yield started
    started.close()


@pytest.mark.parametrize("seed", [1])
def test_every_number_equals_brute_force(system: System, seed: int) -> None:
    since = monday_ms()
    sent = traffic(seed, since)
    events = [event(number, seed, click) for number, click in enumerate(sent)]
    for start in range(0, len(events), 400):
        assert system.post("/v1/events/batch", {"events": events[start : start + 400]})[1]["rejected"] == []
    system.wait_stored(len(events))
    stores = system.stores
    wait_for(
        lambda: (
            sum(d["events"] for d in stores.sessions_es()) == len(sent)
            and stores.sql("SELECT coalesce(sum(events), 0)::int AS n FROM {s}.sessions")[0]["n"] == len(sent)
        ),
        "every click is in a session of both stores",
        *system.processes,
    )
    asked = Stores(system.pipeline.names, system.pipeline.sinks.elasticsearch.url, system.pipeline.sinks.postgres.dsn)
    chance = random.Random(seed)
    ranges = [(since, since + 3 * DAY)]
    for _ in range(6):
        start = since + chance.randrange(2 * DAY) // MINUTE * MINUTE
        ranges.append((start, start + chance.randrange(HOUR, DAY) // MINUTE * MINUTE))
    differing = []
    for start, until in ranges:
        for (kind, title), wanted in numbers(sent, GAP, start, until).items():
            board = Board(kind, system.pipeline.names)
            (panel,) = [number for number, panel in board.panels.items() if panel["title"] == title]
            span = Range(start, until)
            (table,) = board.ask(panel, asked, span, board.choices(asked, span, {}))
            seen, right = table.rows() or [("all", 0)], wanted or [("all", 0)]
            if kind == "live":  # equal counts come in any order
                seen, right = sorted(seen), sorted(right)
            if [pytest.approx(row) for row in right] != seen:
                differing.append((kind, title, start - since, until - since, right, seen))
    # Where something is chosen, users are found by sessions: with everything chosen one by one nothing may change.
    for start, until in ranges:
        for title in ("Active users by hour", "Active users by day", "Active users by week", *_OF_USERS):
            board, span = Board("audience", system.pipeline.names), Range(start, until)
            (panel,) = [number for number, panel in board.panels.items() if panel["title"] == title]
            choices = board.choices(asked, span, {})
            (everybody,) = board.ask(panel, asked, span, choices)
            devices = board.options("device", asked, Range(since, since + 3 * DAY), choices)
            (one_by_one,) = board.ask(panel, asked, span, choices | {"device": devices})
            if everybody.rows() != one_by_one.rows():
                differing.append(("audience", title, start - since, until - since, everybody.rows(), one_by_one.rows()))
    for start, until in ranges:
        own = [visit for visit in visits(sent, GAP) if not visit.bot and start <= visit.start < until]
        span = [datetime.fromtimestamp(at / 1_000, UTC) for at in (start, until)]
        began = stores.sql("SELECT * FROM {s}.page_paths(%s, %s, 3)", *span)
        assert {tuple(row["pages"]): row["sessions"] for row in began} == ways(own, 3)
        for page in ("/", "/products/one"):
            after = stores.sql("SELECT * FROM {s}.next_pages(%s, %s, %s)", page, *span)
            assert {row["page_path"]: row["views"] for row in after} == followers(own, page)
            assert not after or sum(row["share"] for row in after) == pytest.approx(1)
    day = datetime.fromtimestamp(since / 1_000, UTC).date()
    found = stores.sql("SELECT * FROM {s}.retention(%s, %s, 'day')", day, day + timedelta(days=3))
    assert {
        (since + (row["cohort"] - day).days * DAY, row["age"]): (row["users"], row["active"]) for row in found
    } == cohorts(sent)
    asked.close()
    assert not differing


def test_orders_count_once_and_are_owed_to_the_visits_before_them(system: System) -> None:
    """Ann came by a search and a newsletter before she bought; bob bought logged in, having come by a search as a
    visitor.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    order: dict[str, Any] = {"type": "purchase", "page": "/thank-you"}
    told = (
        ("ann", 50, {"page": "/", "referrer": "https://www.google.com/"}),
        ("visitor-of-bob", 30, {"page": "/", "referrer": "https://www.bing.com/"}),
        ("ann", 26, {"page": "/?utm_source=news&utm_medium=email&utm_campaign=spring"}),
        ("ann", 2, {"page": "/"}),
        ("ann", 2, order | {"properties": {"order_id": "A", "revenue": 100, "currency": "eur"}}),
        ("ann", 2, order | {"properties": {"order_id": "A", "revenue": 100, "currency": "eur"}}),  # a page reloaded
        ("ann", 2, order | {"properties": {"order_id": "B", "value": "20.50", "currency": "EUR"}}),
        ("bob", 1, order | {"properties": {"visitor_id": "visitor-of-bob", "total": "ten", "currency": "USD"}}),
        ("bob", 1, order | {"type": "Order Completed", "properties": {"total": 10, "currency": "USD"}}),
        ("stranger", 1, order | {"properties": {"order_id": "C", "revenue": -5, "currency": "USD"}}),
    )
    sent = [
        {
            "event_id": f"order-{number}",
            "timestamp": (now - timedelta(hours=hours) + timedelta(seconds=number)).isoformat(timespec="milliseconds"),
            "user_id": user,
            "session_id": "tab",
            "user_agent": FIREFOX,
        }
        | more
        for number, (user, hours, more) in enumerate(told)
    ]
    before, stores = system.stores.counts()[1], system.stores
    assert system.post("/v1/events/batch", {"events": sent})[1]["rejected"] == []
    system.wait_stored(before + len(sent))
    users = {user for user, _, _ in told}
    wait_for(
        lambda: sum(
            row["events"] for row in stores.sql("SELECT events FROM {s}.sessions WHERE user_id = ANY(%s)", [*users])
        ) == len(sent),
        "every click is in a session",
        *system.processes,
    )  # fmt: skip
    span = [now - timedelta(days=1), now + timedelta(minutes=1)]
    orders = stores.sql("SELECT * FROM {s}.purchases(%s, %s) ORDER BY event_time", *span)
    assert [(row["user_id"], row["order_id"], row["revenue"], row["currency"]) for row in orders] == [
        ("ann", "A", 100, "EUR"),
        ("ann", "B", Decimal("20.50"), "EUR"),
        ("bob", None, None, "USD"),
        ("bob", None, 10, "USD"),
        ("stranger", "C", -5, "USD"),
    ]

    def owed(model: str, lookback: str = "30 days") -> dict[tuple[str, str | None, str], tuple[float, float]]:
        rows = stores.sql("SELECT * FROM {s}.attribution(%s, %s, %s)", *span, lookback)
        found = {
            (row["medium"], row["campaign"], row["currency"]): (row[f"orders_{model}"], float(row[f"revenue_{model}"]))
            for row in rows
        }
        return {key: pytest.approx(value) for key, value in found.items() if value != (0, 0)}

    bob = {("search", None, "USD"): (2, 10)}
    stranger = {("direct", None, "USD"): (1, -5)}
    assert owed("first") == {("search", None, "EUR"): (2, 120.5), **bob, **stranger}
    assert owed("last") == {("email", "spring", "EUR"): (2, 120.5), **bob, **stranger}
    third = (2 / 3, 120.5 / 3)
    assert owed("linear") == {
        ("search", None, "EUR"): third,
        ("email", "spring", "EUR"): third,
        ("direct", None, "EUR"): third,
        ("search", None, "USD"): (1, 5),
        ("direct", None, "USD"): (2, 0),  # bob's own session, and the stranger's
    }
    assert owed("first", "27 hours")["email", "spring", "EUR"] == (2, 120.5)


def test_web_vitals_and_errors_are_those_that_pages_reported(system: System) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    loads = [
        {"lcp_ms": lcp, "inp_ms": 100 + lcp / 10, "cls": lcp / 10_000, "ttfb_ms": 50}
        for lcp in (1000, 2000, 3000, 4000)
    ]
    told: list[tuple[str, str, dict[str, Any]]] = [
        *(("web_vitals", "/slow", load) for load in loads),
        ("web_vitals", "/", {"lcp_ms": 500}),
        ("web_vitals", "/", {"lcp_ms": "fast", "ttfb_ms": None, "inp_ms": "1e9999"}),
        *(("js_error", "/", {"message": "x is undefined", "file": "/a.js"}) for _ in range(3)),
        ("js_error", "/slow", {"message": "Script error."}),
    ]
    sent = [
        {
            "event_id": f"vitals-{number}",
            "timestamp": (now - timedelta(hours=30) + timedelta(seconds=number)).isoformat(timespec="milliseconds"),
            "user_id": f"reader-{number % 2}",
            "session_id": "tab",
            "type": kind,
            "page": page,
            "user_agent": IPHONE,
            "properties": properties,
        }
        for number, (kind, page, properties) in enumerate(told)
    ]
    before = system.stores.counts()[1]
    assert system.post("/v1/events/batch", {"events": sent})[1]["rejected"] == []
    system.wait_stored(before + len(sent))
    asked = Stores(system.pipeline.names, system.pipeline.sinks.elasticsearch.url, system.pipeline.sinks.postgres.dsn)
    board, ms = Board("experience", system.pipeline.names), int(now.timestamp() * 1_000)
    span = Range(ms - 31 * HOUR, ms - 29 * HOUR)

    def rows(title: str, **chosen: list[str]) -> list[tuple[object, ...]]:
        (panel,) = [number for number, panel in board.panels.items() if panel["title"] == title]
        (table,) = board.ask(panel, asked, span, board.choices(asked, span, chosen))
        return table.rows()

    assert rows("Largest paint (LCP)") == [(3000,)], "of 500, 1000, 2000, 3000, 4000"
    assert rows("Layout shift (CLS)") == [(pytest.approx(0.325),)], "of 0.1, 0.2, 0.3, 0.4"
    assert rows("Largest paint (LCP)", device=["desktop"]) == [(None,)]
    assert rows("Web vitals by page") == [
        ("/slow", 4, 3250, 425, pytest.approx(0.325), 50),
        ("/", 2, 500, None, None, None),
    ]
    assert [row[:4] for row in rows("JavaScript errors")] == [
        ("x is undefined", "/a.js", 3, 2),
        ("Script error.", None, 1, 1),
    ]
    assert sum(row[1] for row in rows("JavaScript errors over time")) == 4
    assert rows("Web vitals over time")[0][1:] == (3000, 425, 50)
    asked.close()


def test_who_is_online_now_is_that_under_any_range(system: System) -> None:
    before, now = system.stores.counts()[1], datetime.now(UTC)
    ages = {"ann": 20, "bob": 100, "cat": 200, "gone": 330, "crawler": 10}  # time for a slow machine
    for user, seconds in ages.items():
        click = {
            "event_id": f"now-{user}",
            "timestamp": (now - timedelta(seconds=seconds)).isoformat(timespec="milliseconds"),
            "user_id": user,
            "session_id": "tab",
            "page": "/",
            "user_agent": CRAWLER if user == "crawler" else FIREFOX,
        }
        assert system.post("/v1/events", click)[0] == 202
    system.wait_stored(before + len(ages))
    asked = Stores(system.pipeline.names, system.pipeline.sinks.elasticsearch.url, system.pipeline.sinks.postgres.dsn)
    board = Board("overview", system.pipeline.names)
    (panel,) = [number for number, panel in board.panels.items() if panel["title"] == "Users online now"]

    def online(span: Range, **chosen: str) -> int:
        (table,) = board.ask(panel, asked, span, board.choices(asked, span, chosen))
        return table.rows()[0][0]

    ms = int(now.timestamp() * 1_000)
    last_week = Range(ms - 8 * DAY, ms - 7 * DAY)
    wait_for(lambda: online(last_week) == 3, "the sessions of the three are stored", *system.processes)
    for span in (Range(ms - HOUR, ms), Range(ms - 30 * DAY, ms), last_week):
        assert online(span) == 3
        assert online(span, bots="true") == 1
    asked.close()
