"""Random visitors: every dashboard number equals what plain Python computes from the clicks that were sent."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from clickstream.contracts.pipeline import Pipeline
from preview.board import Board, Stores
from preview.variables import Range
from support.brute_force import DAY, HOUR, MINUTE, Seen, numbers
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
    asked.close()
    assert not differing


def test_who_is_online_now_is_that_under_any_range(system: System) -> None:
    before, now = system.stores.counts()[1], datetime.now(UTC)
    ages = {"ann": 20, "bob": 200, "cat": 290, "gone": 330, "crawler": 10}
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
