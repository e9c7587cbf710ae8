"""The check is red for every way in which a store can be wrong, and green otherwise."""

from dataclasses import replace

import msgspec
import pytest

from clickstream.contracts.session_records import Session
from clickstream.simulator.ledger import Entry, State
from demo.check import check
from demo.check_sessions import Rules
from demo.document import BROWSER, SIMULATED
from demo.stored import Stored, StoredClick, key_of
from demo.verdict import Verdict

GAP_MS = 60_000
RULES = Rules(gap_ms=GAP_MS, grace_ms=GAP_MS)
NOON = 1_780_000_000_000


def click(user: str, session: str | None, second: float, source: str = SIMULATED, **changes) -> StoredClick:
    at = NOON + int(second * 1_000)
    return StoredClick(user, f"c-{user}", session, at, at + 5, "page_view", source, "/")._replace(**changes)


def session(identity: str, user: str, start: float, end: float, events: int) -> Session:
    return Session(
        id=identity,
        user_id=user,
        storage_day="2026-05-28",
        start=NOON + int(start * 1_000),
        end=NOON + int(end * 1_000),
        version=events,
        events=events,
        page_views=events,
        entry_page="/",
        exit_page="/",
        medium="direct",
        device="desktop",
    )


class World:
    """Ann clicks three times, comes back after the gap and clicks once; Bob clicks twice. All is as it should be."""

    def __init__(self) -> None:
        self.ledger = {
            name: Entry(State.ACCEPTED, NOON) for name in ("ann-1", "ann-2", "ann-3", "ann-4", "bob-1", "bob-2")
        }
        self.ledger["bad"] = Entry(State.REJECTED, NOON)
        self.ledger["who-knows"] = Entry(State.UNKNOWN, NOON)
        self.elasticsearch = self._store("elasticsearch")
        self.postgres = self._store("postgres")

    def _store(self, name: str) -> Stored:
        clicks = {
            "ann-1": [click("ann", "s1", 0)],
            "ann-2": [click("ann", "s1", 60)],  # exactly the gap: still one session
            "ann-3": [click("ann", "s1", 70)],
            "ann-4": [click("ann", "s2", 131)],
            "bob-1": [click("bob", "s3", 10)],
            "bob-2": [click("bob", "s3", 20)],
        }
        sessions = {
            "s1": [session("s1", "ann", 0, 70, 3)],
            "s2": [session("s2", "ann", 131, 131, 1)],
            "s3": [session("s3", "bob", 10, 20, 2)],
        }
        return Stored(name, clicks, sessions, {})

    @property
    def stores(self) -> tuple[Stored, Stored]:
        return self.elasticsearch, self.postgres

    def check(self) -> Verdict:
        return check(self.ledger, self.elasticsearch, self.postgres, RULES)


def test_one_id_of_two_real_visitors_is_two_clicks_and_of_the_simulator_one() -> None:
    assert key_of("e", click("ann", "s", 0, BROWSER)) != key_of("e", click("bob", "s", 0, BROWSER))
    assert key_of("e", click("ann", "s", 0)) == key_of("e", click("bob", "s", 0)) == "e"


def test_a_bot_has_sessions_of_its_own_beside_a_person_s(world: World) -> None:
    for store in world.stores:
        store.clicks["bot-1 of ann"] = [click("ann", "s9", 30, BROWSER)]
        store.sessions["s9"] = [msgspec.structs.replace(session("s9", "ann", 30, 30, 1), bot=True)]
    assert world.check().ok
    for store in world.stores:
        store.sessions["s9"] = [session("s9", "ann", 30, 30, 1)]
    assert not world.check().ok


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=["elasticsearch", "postgres"])
def store(request, world) -> Stored:
    return getattr(world, request.param)


def test_a_world_in_order_is_green(world):
    verdict = world.check()
    assert verdict.ok
    assert verdict.lines() == []
    assert (verdict.elasticsearch, verdict.postgres, verdict.sessions) == (6, 6, 3)
    assert (verdict.lost, verdict.duplicated, verdict.phantom) == (0, 0, 0)


def test_an_accepted_event_that_is_missing_in_one_store_is_lost(world, store):
    del store.clicks["bob-2"]
    verdict = world.check()
    assert verdict.lost == 1
    assert f"bob-2 (accepted) is not in {store.name}" in verdict.lines()[1]


def test_an_event_that_is_missing_in_both_stores_is_lost_once(world):
    for each in world.stores:
        del each.clicks["bob-2"]
    assert world.check().lost == 1


def test_an_event_that_is_there_twice_is_duplicated(world, store):
    store.clicks["ann-1"].append(store.clicks["ann-1"][0])
    verdict = world.check()
    assert (verdict.lost, verdict.duplicated, verdict.phantom) == (0, 1, 0)
    assert not verdict.ok


def test_an_event_that_nobody_sent_is_a_phantom(world, store):
    store.clicks["ghost"] = [click("ghost", None, 5)]
    verdict = world.check()
    assert verdict.phantom == 1
    assert not verdict.ok


def test_a_rejected_event_in_a_store_is_a_phantom(world, store):
    store.clicks["bad"] = [click("ghost", None, 5)]
    assert world.check().phantom == 1


def test_an_event_without_an_answer_may_be_in_both_stores_or_in_none(world):
    assert world.check().ok
    for each in world.stores:
        each.clicks["who-knows"] = [click("carl", "s4", 5)]
        each.sessions["s4"] = [session("s4", "carl", 5, 5, 1)]
    assert world.check().ok


def test_an_event_without_an_answer_in_one_store_only_is_lost_in_the_other(world, store):
    store.clicks["who-knows"] = [click("carl", None, 5)]
    assert world.check().lost == 1


def test_a_real_browser_is_in_no_ledger_but_in_both_stores(world):
    for each in world.stores:
        each.clicks["mine"] = [click("me", "s5", 5, BROWSER)]
        each.sessions["s5"] = [session("s5", "me", 5, 5, 1)]
    verdict = world.check()
    assert verdict.ok
    assert (verdict.elasticsearch, verdict.browser) == (6, 1)


def test_a_real_browser_in_one_store_only_is_lost_in_the_other(world, store):
    store.clicks["mine"] = [click("me", None, 5, BROWSER)]
    verdict = world.check()
    assert (verdict.lost, verdict.phantom) == (1, 0)


def test_the_same_click_with_other_content_in_the_other_store_is_a_difference(world, store):
    store.clicks["bob-1"] = [click("bob", "s3", 10, page_path="/cart")]
    verdict = world.check()
    assert not verdict.ok
    assert "page_path" in verdict.lines()[1]


@pytest.mark.parametrize("change", [{"end": NOON + 71_000}, {"start": NOON - 1}, {"events": 4}, {"page_views": 2}])
def test_sessions_are_recomputed_from_the_clicks(world, change):
    for each in world.stores:  # both stores are wrong alike: only the recomputation can tell
        each.sessions["s1"] = [msgspec.structs.replace(session("s1", "ann", 0, 70, 3), **change)]
    assert world.check().kinds == {"session recomputed": 2}


@pytest.mark.parametrize(
    "change", [{"exit_page": "/cart"}, {"funnels": {"checkout": 2}}, {"version": 9}, {"closed": True}]
)
def test_sessions_of_both_stores_must_be_the_same_field_by_field(world, store, change):
    store.sessions["s2"] = [msgspec.structs.replace(session("s2", "ann", 131, 131, 1), **change)]
    assert world.check().kinds == {"session differs": 1}


def test_a_session_that_is_missing_twice_there_or_without_clicks_is_a_difference(world, store):
    kept = store.sessions.pop("s3")
    assert set(world.check().kinds) == {"session missing", "session in one store"}
    store.sessions["s3"] = kept * 2
    assert set(world.check().kinds) == {"session twice"}
    store.sessions["s3"] = kept
    store.sessions["s9"] = [session("s9", "eve", 0, 0, 1)]
    assert set(world.check().kinds) == {"session without clicks", "session in one store"}


def test_absorbed_sessions_lead_to_the_one_that_stands(world):
    for number, each in enumerate(world.stores):
        each.clicks["ann-2"] = [click("ann", "s1-absorbed", 60)]
        aliases = {"s1-absorbed": "s1-too", "s1-too": "s1"} if number else {"s1-absorbed": "s1"}
        setattr(world, each.name, replace(each, aliases=aliases))
    assert world.check().ok


def test_a_session_with_a_gap_that_is_too_long_is_found_by_sort_and_cut(world):
    for each in world.stores:
        each.clicks["ann-4"] = [click("ann", "s1", 131)]
        del each.sessions["s2"]
        each.sessions["s1"] = [session("s1", "ann", 0, 131, 4)]
    assert world.check().kinds == {"session too long a gap": 2}


def test_two_sessions_of_one_visitor_that_are_too_close_are_found_by_sort_and_cut(world):
    for each in world.stores:
        each.clicks["ann-4"] = [click("ann", "s2", 130)]
        each.sessions["s2"] = [session("s2", "ann", 130, 130, 1)]
    assert world.check().kinds == {"sessions too close": 2}


def test_a_visitor_whose_click_came_after_its_session_had_closed_is_left_out_of_the_cut(world):
    for each in world.stores:
        late = click("ann", "s2", 130)
        each.clicks["ann-4"] = [late._replace(received_at=late.event_time + GAP_MS)]
        each.sessions["s2"] = [session("s2", "ann", 130, 130, 1)]
    assert world.check().ok


def test_a_late_click_is_in_no_session(world):
    for each in world.stores:
        each.clicks["who-knows"] = [click("ann", None, -9_000)]
    assert world.check().ok


def test_a_session_of_two_visitors_is_a_difference(world):
    for each in world.stores:
        each.clicks["bob-2"] = [click("ann", "s3", 20)]
    assert world.check().kinds["session of several visitors"] == 2


def test_only_the_first_few_differences_are_named(world):
    for number in range(100):
        world.postgres.clicks[f"ghost-{number}"] = [click("ghost", None, number)]
    verdict = world.check()
    assert verdict.phantom == 100
    assert len(verdict.lines()) == 7
