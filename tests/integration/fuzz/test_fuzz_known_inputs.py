"""Inputs that others stumbled over, sent through the whole pipeline: each is refused, or in both stores."""

from __future__ import annotations

import itertools
import json
import random
import string
import time
from typing import Any

import pytest

from clickstream.contracts.times import iso_time
from clickstream.tracking_api.endpoints import Endpoint
from support.ledger import Request
from support.processes import wait_for

SECOND, MINUTE, DAY = 1_000, 60_000, 86_400_000
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
_numbers = itertools.count()


def event(**members: Any) -> dict[str, Any]:
    base = {
        "event_id": f"known-{next(_numbers)}",
        "timestamp": iso_time(now()),
        "user_id": "u",
        "session_id": "s",
        "page": "/",
    }
    return base | members


def now() -> int:
    return time.time_ns() // 1_000_000


def send(fuzz: Any, *events: dict[str, Any]) -> list[dict[str, Any]]:
    """The events as a batch; those of it that were refused, with index and code."""
    answer = fuzz.collect(Request(Endpoint.BATCH, "web", b"", json.dumps({"events": list(events)}).encode()))
    return json.loads(answer.content)["rejected"]


def stored(fuzz: Any, events: list[dict[str, Any]]) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """By event id what both stores have of these, once all that was ever accepted is in both, and equal."""
    stores, ids = fuzz.system.stores, {each["event_id"] for each in events}
    found: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    faults: list[str] = []

    def settled() -> bool:
        documents, rows = stores.clicks_es(), stores.clicks_pg()
        faults[:] = itertools.islice(fuzz.ledger.faults(documents, rows), 3)
        by_id = [{each["event_id"]: each for each in clicks} for clicks in (documents, rows)]
        found.update({each: (by_id[0][each], by_id[1][each]) for each in ids if each in by_id[0] and each in by_id[1]})
        return not faults

    try:
        wait_for(settled, "all that was accepted is in both stores", *fuzz.system.processes)
    except AssertionError:
        assert not faults
        raise
    assert found.keys() == ids
    return found


PROPERTIES: list[dict[str, Any]] = [
    {"status": 1}, {"status": "Success"}, {"status": None}, {"status": 1.5}, {"status": True}, {"status": "2026-01-31"},
    {"price": 12}, {"price": 12.5}, {"price": "12 EUR"}, {"price": True}, {"n": 1}, {"n": 2**63 - 1}, {"n": -(2**63)},
    {"a.b": 1}, {"a": 3}, {".": 1}, {"a..b": 1}, {" ": 1}, {"_id": "x", "_source": 1},
    {"properties": 1}, {"a.": 1, ".a": 2},
]  # fmt: skip


@pytest.mark.parametrize("order", [1, -1], ids=["as they are", "in reverse"])
def test_a_property_may_change_its_type_and_have_any_name(fuzz: Any, order: int) -> None:
    events = [event(user_id=f"types-{number}", properties=each) for number, each in enumerate(PROPERTIES[::order])]
    assert send(fuzz, *events) == []
    stored(fuzz, events)
    for value in ("12", "12 EUR", "true"):
        found = fuzz.system.stores.clicks_es({"term": {"properties.price": value}})
        assert len(found) >= 1, value


def test_names_without_end_do_not_make_the_mapping_grow(fuzz: Any) -> None:
    def fields() -> int:
        mappings = fuzz.system.stores.elasticsearch.indices.get_mapping(
            index=f"{fuzz.system.pipeline.names.clicks_alias}.*"
        )
        return max(len(each["mappings"]["properties"]) for each in mappings.body.values())

    first = event()
    assert send(fuzz, first) == []
    stored(fuzz, [first])
    before = fields()
    events = [event(user_id=f"names-{number % 7}", properties={f"k{number:04}": number}) for number in range(1_500)]
    for start in range(0, 1_500, 500):
        assert send(fuzz, *events[start : start + 500]) == []
    many = {str(number): number for number in range(65)}
    assert [each["code"] for each in send(fuzz, event(properties=many))] == ["too_many_properties"]
    after = event()
    assert send(fuzz, after) == []
    stored(fuzz, [*events, after])
    assert fields() == before


def random_text(letters: int) -> str:
    return "".join(random.Random(letters).choices(string.ascii_letters, k=letters))


LONG: list[dict[str, Any]] = [
    *({"properties": {"v": "a" * count}} for count in (8_192, 32_767)),
    *({"properties": {"v": "漢" * count}} for count in (2_730, 10_923)),
    {"properties": {"v": "😀" * 8_192}},
    *({"properties": {"k" * count: 1}} for count in (256, 257, 40_000)),
    *({name: random_text(size)} for name in ("page", "title", "referrer", "type") for size in (2_048, 3_000, 9_000)),
    *({name: random_text(size)} for name in ("event_id", "user_id", "session_id") for size in (64, 256, 257, 3_000)),
    {"user_agent": random_text(9_000)},
    {"page": f"/?utm_campaign={random_text(3_000)}"},
    {"page": f"/reset/{random_text(1_400)}"},
]


def test_what_is_longer_than_an_index_takes_is_refused_or_in_both_stores(fuzz: Any) -> None:
    events = [event(**({"user_id": f"long-{number}"} | each)) for number, each in enumerate(LONG)]
    refused = {each["index"]: each["code"] for each in send(fuzz, *events)}
    assert set(refused.values()) == {"too_long", "event_too_large"}
    kept = [each for number, each in enumerate(events) if number not in refused]
    assert len(kept) >= 15
    fitting = [each for each in kept if str(each["event_id"]).startswith("known-")]
    stored(fuzz, fitting)
    wait_for(lambda: sum(fuzz.system.stores.counts()) % 2 == 0, "the sinks have caught up", *fuzz.system.processes)
    sessions = "SELECT count(*) AS n FROM {s}.sessions WHERE user_id LIKE 'long-%%'"
    wait_for(
        lambda: fuzz.system.stores.sql(sessions)[0]["n"] >= len(fitting) - 1, "their sessions", *fuzz.system.processes
    )


NUMBERS = [
    "1e308",
    "-1e308",
    "1e-400",
    "2147483648",
    "99999999999.995",
    "0.1",
    "1e3",
    "1.5",
    "-0.0",
    "9007199254740993",
    '"12,50"',
]


def test_numbers_are_the_same_in_both_stores_and_can_be_added(fuzz: Any) -> None:
    events = [event(user_id=f"price-{number}", properties={"price": 0}) for number in range(len(NUMBERS))]
    texts = [
        json.dumps(each).replace('"price": 0', f'"price": {raw}') for each, raw in zip(events, NUMBERS, strict=True)
    ]
    body = '{"events":[' + ",".join([*texts, json.dumps(event()).replace('"/"', '"/", "price": 1e400')]) + "]}"
    answer = fuzz.collect(Request(Endpoint.BATCH, "web", b"", body.encode()))
    assert [each["code"] for each in json.loads(answer.content)["rejected"]] == ["number_out_of_range"]
    found = stored(fuzz, events)
    for each, raw in zip(events, NUMBERS, strict=True):
        value = json.loads(raw)
        assert found[each["event_id"]][0]["properties"]["price"] == value
        assert found[each["event_id"]][1]["properties"]["price"] == value or float(
            found[each["event_id"]][1]["properties"]["price"]
        ) == float(value)
    total = fuzz.system.stores.sql(
        "SELECT sum((properties->>'price')::numeric) AS total FROM {s}.clicks"
        " WHERE user_id LIKE 'price-%%' AND jsonb_typeof(properties->'price') = 'number'"
    )
    assert abs(total[0]["total"]) < 10**17, "1e308 and -1e308 are gone from it exactly"


NO_TIMES: list[Any] = [
    *(1_770_112_800, 1_770_112_800_000, "1770112800000", 1_770_112_800.123, True, None, [], "", "2026-02-03"),
    *("2026-02-03T10:00:00", "2026-02-03T10:00:00,5Z", "2026-02-03T10:00:00+0200", "2026-02-30T10:00:00Z"),
    *("20260203T100000Z", "2026-W06-2", "Tue, 03 Feb 2026 10:00:00 GMT", "0001-01-01T00:00:00Z"),
]
TIMES: list[tuple[Any, int | None]] = [
    ("2026-02-03T10:00:00Z", 1_770_112_800_000),
    ("2026-02-03 10:00:00Z", 1_770_112_800_000),
    ("2026-02-03T10:00:00.123456789Z", 1_770_112_800_123),
    ("2026-02-03T23:59:59.999999999Z", 1_770_163_199_999),
    ("2026-02-03T23:59:60Z", 1_770_163_200_000),
    ("2026-02-04T01:30:00+02:00", 1_770_161_400_000),
    *((text, None) for text in NO_TIMES),
]


def test_a_time_is_one_instant_or_refused_and_never_now(fuzz: Any) -> None:
    events = [event(user_id=f"time-{number}", timestamp=text) for number, (text, _) in enumerate(TIMES)]
    good = [(each, ms) for each, (_, ms) in zip(events, TIMES, strict=True) if ms is not None]
    assert len(send(fuzz, *events)) == len(TIMES) - len(good)
    bad = [event(sent_at=text) for text in ("garbage", "", 0, [], {})]
    assert [each["index"] for each in send(fuzz, *bad, event(sent_at=None))] == [0, 1, 2, 3, 4]
    found = stored(fuzz, [each for each, _ in good])
    for each, ms in good:
        assert [there["timestamp"] for there in found[each["event_id"]]] == [ms, ms], each


def test_a_wrong_clock_is_corrected_or_not_believed_and_everybody_elses_sessions_go_on(fuzz: Any) -> None:
    t = now()
    # timestamp, sent_at, and event_time less the time of receipt (None: it is the timestamp)
    cases: list[tuple[int, int | None, int | None]] = [
        (4_070_908_800_000, 4_070_908_801_000, -SECOND), (4_070_908_800_000, None, 0),
        (1_430_820_000_000, 1_430_820_005_000, -5 * SECOND), (t + 1, None, None), (t + 5 * SECOND, None, None),
        (t + 23 * 60 * MINUTE, None, 0), (t, t - 10 * SECOND, 10 * SECOND), (t - 3 * DAY, t, -3 * DAY), (0, None, 0),
        (253_402_300_799_999, None, 0),
    ]  # fmt: skip
    events = [
        event(
            user_id=f"clock-{number}", timestamp=iso_time(at), **({} if sent is None else {"sent_at": iso_time(sent)})
        )
        for number, (at, sent, _) in enumerate(cases)
    ]
    assert send(fuzz, *events) == []
    found = stored(fuzz, events)
    for each, (at, _, less) in zip(events, cases, strict=True):
        for there in found[each["event_id"]]:
            assert there["event_time"] == (at if less is None else there["received_at"] + less), each
    one, two = (
        event(user_id="on-time", timestamp=iso_time(t - MINUTE)),
        event(user_id="on-time", timestamp=iso_time(now())),
    )
    assert send(fuzz, one, two) == []
    assert [each[:2] for each in sessions(fuzz, "on-time", 1)] == [(2, 2)]
    # A clock of eleven years ago that is set right between two clicks.
    sent = event(user_id="set-right", timestamp="2015-05-05T10:00:00Z", sent_at="2015-05-05T10:00:05Z")
    assert send(fuzz, sent) == []
    assert send(fuzz, event(user_id="set-right", timestamp=iso_time(now()), sent_at=iso_time(now() + 2 * SECOND))) == []
    [(number, _, duration, *_)] = sessions(fuzz, "set-right", 1)
    assert (number, duration < MINUTE) == (2, True)


def sessions(fuzz: Any, user: str, number: int) -> list[tuple[Any, ...]]:
    """(events, page views, duration in ms, bounce, bot, campaign) of a user's sessions, equal in both stores."""
    found: list[list[tuple[Any, ...]]] = []

    def both() -> bool:
        rows = fuzz.system.stores.sql(
            "SELECT events, page_views, (extract(epoch FROM duration) * 1000)::bigint AS ms, bounce, bot, campaign"
            " FROM {s}.sessions WHERE user_id = %s ORDER BY started_at, bot", user,
        )  # fmt: skip
        documents = sorted(
            (each for each in fuzz.system.stores.sessions_es() if each["user_id"] == user),
            key=lambda each: (each["start"], each["bot"]),
        )
        names = ("events", "page_views", "duration", "bounce", "bot", "campaign")
        found[:] = [[tuple(row.values()) for row in rows], [tuple(each[name] for name in names) for each in documents]]
        return len(found[0]) == number and found[0] == found[1]

    wait_for(both, f"{number} sessions of {user} in both stores", *fuzz.system.processes)
    return found[0]


@pytest.mark.parametrize("late", [False, True], ids=["in order", "the second one first"])
@pytest.mark.parametrize(("apart", "number"), [(10 * MINUTE - 1, 1), (10 * MINUTE, 1), (10 * MINUTE + 1, 2)])
def test_exactly_the_gap_apart_is_one_session(fuzz: Any, apart: int, number: int, late: bool) -> None:
    start, user = now() - 12 * MINUTE, f"gap-{apart}-{late}"
    pair = [event(user_id=user, timestamp=iso_time(at)) for at in (start, start + apart)]
    for each in reversed(pair) if late else pair:
        assert send(fuzz, each) == []
    stored(fuzz, pair)
    assert sum(each[0] for each in sessions(fuzz, user, number)) == 2


def test_durations_bounces_bots_and_campaigns_of_sessions(fuzz: Any) -> None:
    t = now() - 5 * MINUTE

    def visit(user: str, *clicks: tuple[int, dict[str, Any]]) -> None:
        events = [
            event(user_id=user, timestamp=iso_time(t + at * SECOND), user_agent=FIREFOX) | more for at, more in clicks
        ]
        assert send(fuzz, *events) == []

    visit("single", (0, {}))
    visit("same-time", (0, {}), (0, {}))
    visit("any-order", (120, {}), (0, {}), (60, {}))
    visit("two-tabs", (0, {"session_id": "a"}), (60, {"session_id": "b"}), (120, {"session_id": "a"}))
    visit("bot-and-human", (0, {}), (10, {"user_agent": CRAWLER}), (20, {}))
    tagged = {"page": "/?utm_campaign=A&utm_source=a"}, {"page": "/?utm_campaign=B&utm_source=b"}
    visit("two-campaigns", (0, tagged[0]), (10, tagged[1]), (20, {}), (30, {"referrer": "https://www.google.com/"}))
    assert sessions(fuzz, "single", 1) == [(1, 1, 0, True, False, None)]
    assert sessions(fuzz, "same-time", 1) == [(2, 2, 0, False, False, None)]
    assert sessions(fuzz, "any-order", 1) == [(3, 3, 120_000, False, False, None)]
    assert sessions(fuzz, "two-tabs", 1) == [(3, 3, 120_000, False, False, None)]
    assert sessions(fuzz, "bot-and-human", 2) == [(2, 2, 20_000, False, False, None), (1, 1, 0, True, True, None)]
    assert sessions(fuzz, "two-campaigns", 1) == [(4, 4, 30_000, False, False, "A")]
    clicks = fuzz.system.stores.sql(
        "SELECT campaign FROM {s}.clicks WHERE user_id = 'two-campaigns' ORDER BY event_time"
    )
    assert [each["campaign"] for each in clicks] == ["A", "B", None, None]
