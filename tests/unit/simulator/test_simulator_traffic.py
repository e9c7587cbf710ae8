"""The visitors: what they send is believable, repeatable, and wrong exactly where it is meant to be."""

import json
from collections import defaultdict
from itertools import islice, pairwise

import pytest

from clickstream.contracts.clicks import Click
from clickstream.contracts.times import parse_rfc3339
from clickstream.simulator.shop import Shop, generated_products, load_products
from clickstream.simulator.spoiled import SPOILED
from clickstream.simulator.traffic import Mix, Outgoing, traffic
from clickstream.tracking_api.rejections import Rejection
from clickstream.tracking_api.validation.event import RequestContext, validate_event

BEGIN_MS = 1_780_000_000_000
SHOP = Shop("https://shop.example", generated_products())
CLEAN = Mix(repeated=0, delayed=0, spoiled=0, time_scale=0.1)


def sendings(count: int, seed: int = 1, rate: float = 100.0, mix: Mix = CLEAN) -> list[Outgoing]:
    return list(islice(traffic(seed, SHOP, rate, BEGIN_MS, mix), count))


def bodies(outgoing: list[Outgoing]) -> list[dict]:
    return [json.loads(each.body) for each in outgoing]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_visitors():
    mix = Mix(time_scale=0.1)
    assert sendings(3_000, seed=7, mix=mix) == sendings(3_000, seed=7, mix=mix)
    assert not {each.key for each in sendings(500, seed=7)} & {each.key for each in sendings(500, seed=8)}


def test_distinct_events_leave_at_exactly_the_given_rate():
    out = sendings(1_000, rate=50.0)
    assert [each.due_s for each in out] == pytest.approx([slot / 50 for slot in range(1_000)])
    assert len({each.key for each in out}) == 1_000


def test_an_event_happens_when_it_is_sent_unless_it_was_held_back():
    for each, event in zip(out := sendings(500), bodies(out), strict=True):
        assert parse_rfc3339(event["timestamp"]) == BEGIN_MS + int(each.due_s * 1_000)
        assert event["event_id"] == each.key


def test_sendings_never_go_back_in_time():
    out = sendings(20_000, rate=500, mix=Mix(repeated=0.1, delayed=0.1, time_scale=0.05))
    assert all(one.due_s <= other.due_s for one, other in pairwise(out))


def test_visitors_walk_through_the_shop_page_by_page_and_refer_to_where_they_came_from():
    visits = defaultdict(list)
    for event in bodies(sendings(20_000)):
        visits[event["session_id"]].append(event)
    followed = 0
    for visit in visits.values():
        assert len({event["user_id"] for event in visit}) == 1
        assert len({event["user_agent"] for event in visit}) == 1
        views = [event for event in visit if "type" not in event]
        for one, other in pairwise(views):
            assert other["referrer"] == one["page"]
            followed += 1
    assert followed > 5_000


def test_a_good_share_of_visitors_completes_the_funnel_and_campaigns_mark_the_landing_page():
    out = bodies(sendings(20_000))
    views = [event for event in out if event.get("type", "page_view") == "page_view"]
    paths = [event["page"].removeprefix(SHOP.origin).partition("?")[0] for event in views]
    orders = {event["properties"]["order_id"]: event["properties"]["revenue"] for event in out
              if event.get("type") == "purchase"}  # fmt: skip
    assert 100 < len(orders) <= paths.count("/thank-you")
    assert min(orders.values()) > 0
    assert paths.count("/") > paths.count("/checkout") > paths.count("/thank-you") > 200
    tagged = [event for event in out if "utm_" in event["page"]]
    assert 0.01 < len(tagged) / len(out) < 0.15
    assert {event["type"] for event in out if "type" in event} == {"add_to_cart", "purchase", "web_vitals"}
    assert all(
        event["properties"]["product"].startswith("item-") for event in out if event.get("type") == "add_to_cart"
    )


def test_some_visitors_are_crawlers_and_all_browsers_differ():
    agents = {event["user_id"]: event["user_agent"] for event in bodies(sendings(20_000))}
    crawlers = sum("bot" in agent.lower() for agent in agents.values())
    assert 0.01 < crawlers / len(agents) < 0.06
    assert len(set(agents.values())) >= 15


def test_some_visitors_come_back_with_a_new_session():
    sessions = defaultdict(set)
    for event in bodies(sendings(20_000, rate=20, mix=Mix(repeated=0, delayed=0, spoiled=0, time_scale=0.02))):
        sessions[event["user_id"]].add(event["session_id"])
    assert sum(len(ids) > 1 for ids in sessions.values()) > 100


def test_repeated_events_are_the_same_bytes_some_seconds_later():
    first, repeats = {}, []
    for each in sendings(20_000, mix=Mix(repeated=0.02, delayed=0, spoiled=0)):
        if each.repeat:
            assert each.body == first[each.key].body
            repeats.append(each.due_s - first[each.key].due_s)
        else:
            first[each.key] = each
    assert 0.01 < len(repeats) / len(first) < 0.03
    assert min(repeats) >= 0.5
    assert max(repeats) < 8


def test_delayed_events_are_overtaken_by_a_later_one_of_the_same_visitor():
    latest, overtaken, total = {}, 0, 0
    for event in bodies(sendings(30_000, mix=Mix(repeated=0, delayed=0.02, spoiled=0, time_scale=0.1))):
        at = parse_rfc3339(event["timestamp"])
        overtaken += at < latest.get(event["user_id"], 0)
        latest[event["user_id"]] = max(at, latest.get(event["user_id"], 0))
        total += 1
    assert 0.005 < overtaken / total < 0.03


def test_spoiled_events_are_counted_apart_and_keep_an_id_in_the_ledger_even_without_one():
    out = sendings(20_000, mix=Mix(repeated=0.05, delayed=0, spoiled=0.02))
    spoiled = [each for each in out if each.spoiled]
    assert 0.01 < len(spoiled) / len(out) < 0.03
    assert not any(each.repeat for each in spoiled)
    assert all(len(each.key) == 32 for each in spoiled)
    assert any(json.loads(each.body).get("event_id") != each.key for each in spoiled)


@pytest.mark.parametrize("way", SPOILED)
def test_each_way_to_spoil_changes_the_event(way):
    event = {"event_id": "e" * 32, "timestamp": "2026-01-31T08:30:00Z", "user_id": "u", "session_id": "s", "page": "/"}
    assert SPOILED[way](event) != event


@pytest.mark.parametrize("way", SPOILED)
def test_each_way_to_spoil_is_refused_by_the_tracking_api_whatever_the_event_was(way):
    context = RequestContext(received_at=BEGIN_MS, source="web")
    for event in bodies(sendings(300)):
        assert isinstance(validate_event(event, context), Click)
        assert isinstance(validate_event(SPOILED[way](event), context), Rejection), event["page"]


def test_products_come_from_a_list_a_map_or_a_named_list(tmp_path):
    file = tmp_path / "products.json"
    for content in ('[{"id":"a"},{"id":"b"}]', '{"a":{"name":"A"},"b":{}}', '{"products":[{"id":"a"},{"id":"b"}]}'):
        file.write_text(content)
        assert [product.id for product in load_products(file)] == ["a", "b"]


@pytest.mark.parametrize("content", ["", "[]", "[1]", '"text"', '[{"name":"no id"}]'])
def test_a_file_without_products_is_refused_by_name(tmp_path, content):
    file = tmp_path / "products.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"products\.json"):
        load_products(file)
