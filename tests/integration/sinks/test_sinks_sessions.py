"""Session records in both stores: the newest version counts, whatever order they come in, and absorbed ones never come
back."""

from __future__ import annotations

import datetime as dt
import itertools
import time

import pytest

from clickstream.contracts.session_records import Retraction

STORES = ("elasticsearch", "postgres")
A, B, C = "2026-01-01-a", "2026-01-02-b", "undated-c"


@pytest.mark.parametrize("store", STORES)
def test_an_older_record_never_overwrites_a_newer_one(store, stores, open_sink, records, make_session):
    sink = open_sink(store)
    assert sink.write(records(make_session(A, 0), make_session(C, 0))).stored["session"] == 2  # offset 0 exists
    assert sink.write(records(make_session(A, 5, events=5))).stored["session"] == 1
    old = sink.write(records(make_session(A, 3, events=3), make_session(A, 5, events=99)))
    assert (old.stored["session"], old.known["session"]) == (0, 2)
    assert stores.sessions(store) == {A: 5, C: 0}
    both = sink.write(records(make_session(A, 7), make_session(A, 9), make_session(A, 8)))
    assert (both.stored["session"], both.known["session"]) == (1, 2)
    assert stores.sessions(store) == {A: 9, C: 0}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("batched", [False, True], ids=["one by one", "in one batch"])
def test_every_order_of_a_merge_ends_alike(store, batched, stores, open_sink, records, make_session):
    """Tombstone, survivor and an old put come from different partitions, so in any order."""
    sink = open_sink(store)
    for number, order in enumerate(itertools.permutations(range(4))):
        kept, absorbed = f"2026-01-01-kept{number}", f"2026-01-01-gone{number}"
        what = [
            make_session(absorbed, 4),
            make_session(kept, 5),
            Retraction(absorbed, 6, kept),
            make_session(kept, 6, merged_ids=[absorbed]),
        ]
        made = [records(what[index])[0] for index in order]
        for batch in [made] if batched else [[record] for record in made]:
            outcome = sink.write(batch)
            assert (outcome.later, outcome.refused) == ([], [])
    assert stores.sessions(store) == {f"2026-01-01-kept{number}": 6 for number in range(24)}
    if store == "postgres":
        aliases = dict(stores.sql("SELECT session_id, merged_into FROM session_aliases"))
        assert aliases == {f"2026-01-01-gone{number}": f"2026-01-01-kept{number}" for number in range(24)}


def test_elasticsearch_keeps_a_retraction_longer_than_it_remembers_deletes(
    pipeline, stores, open_sink, records, make_session
):
    sink = open_sink("elasticsearch")
    sink.write(records(make_session(A, 1), Retraction(B, 2, A)))
    for index in (pipeline.names.sessions_index("2026-01-01"), pipeline.names.sessions_index("2026-01-02")):
        stores.es.indices.put_settings(index=index, settings={"index.gc_deletes": "0s"})
    sink.write(records(Retraction(A, 4, B)))
    stores.es.indices.forcemerge(index=f"{pipeline.names.sessions_alias}.*", max_num_segments=1, flush=True)
    time.sleep(1.1)  # versions of deletes are forgotten once a second here
    late = sink.write(records(make_session(A, 3), make_session(B, 1)))
    assert (late.stored["session"], late.known["session"]) == (0, 2)
    assert stores.sessions("elasticsearch") == {}


@pytest.mark.parametrize("store", STORES)
def test_a_session_that_is_newer_than_its_retraction_stands(store, stores, open_sink, records, make_session):
    sink = open_sink(store)
    sink.write(records(Retraction(A, 4, B)))
    assert sink.write(records(make_session(A, 5))).stored["session"] == 1
    assert stores.sessions(store) == {A: 5}


def test_clicks_follow_their_session_through_a_chain_of_merges(stores, open_sink, records, make_click, make_session):
    sink = open_sink("postgres")
    clicks = [make_click(name, session=session) for name, session in (("in-a", A), ("in-b", B), ("in-c", C))]
    late = make_click("alone", session=None)
    sink.write(records(*clicks, late))
    sink.write(records(Retraction(C, 10, B), make_session(B, 10, merged_ids=[C])))
    sink.write(records(Retraction(B, 20, A), make_session(A, 20, merged_ids=[C, B])))
    sink.write(records(make_session(B, 11, merged_ids=[C])))  # a paused enricher wakes up
    found = dict(stores.sql("SELECT event_id, resolved_session_id FROM clicks_with_session"))
    assert found == {"in-a": A, "in-b": A, "in-c": A, "alone": None}
    assert stores.sessions("postgres") == {A: 20}


def test_both_stores_show_the_same_session(pipeline, stores, open_sink, records, make_session):
    session = make_session(
        A,
        7,
        user_id='u "1" \\ \n 🛒',
        start=1_767_261_600_123,
        end=1_767_261_661_456,
        campaign="autumn",
        country="DE",
        bounce=False,
        closed=True,
        funnels={"check.out": 2, "other": 0},
        merged_ids=[B, 'odd "id" \\'],
    )
    for store in STORES:
        assert open_sink(store).write(records(session)).stored["session"] == 1
    (hit,) = stores.search(pipeline.names.sessions_alias)
    source = hit["_source"]
    assert hit["_index"] == pipeline.names.sessions_index("2026-01-01")
    assert source["duration"] == session.duration == 61_333
    assert source["funnel_steps"] == ["check.out:1", "check.out:2"]
    row = stores.sql(
        "SELECT user_id, started_at, ended_at, duration, campaign, country, bounce, closed, funnels, merged_ids, "
        "events "
        "FROM sessions"
    )[0]
    moment = dt.datetime(2026, 1, 1, 10, 0, 0, 123_000, dt.UTC)
    assert row == (
        source["user_id"],
        moment,
        moment + dt.timedelta(milliseconds=61_333),
        dt.timedelta(milliseconds=61_333),
        source["campaign"],
        source["country"],
        source["bounce"],
        source["closed"],
        source["funnels"],
        source["merged_ids"],
        source["events"],
    )
    assert row[0] == session.user_id
    assert source["merged_ids"] == session.merged_ids


def test_a_session_of_weeks_has_its_whole_duration_in_both_stores(stores, open_sink, records, make_session):
    """Something asks every nine minutes: more milliseconds than 31 bits have."""
    start, days = 1_767_261_600_000, 25
    session = make_session(A, 1, start=start, end=start + days * 86_400_000, events=4_001)
    for store in STORES:
        assert open_sink(store).write(records(session)).stored["session"] == 1
    (hit,) = stores.search(stores.names.sessions_alias)
    assert hit["_source"]["duration"] == days * 86_400_000
    assert stores.sql("SELECT duration_seconds FROM session_facts") == [(days * 86_400.0,)]


def test_funnel_results_count_sessions_by_step_and_leave_bots_out(stores, open_sink, records, make_session):
    sink = open_sink("postgres")
    reached = [3, 3, 2, 1, 1, 0]
    sessions = [make_session(f"2026-01-01-{n}", n, funnels={"checkout": step}) for n, step in enumerate(reached)]
    bot = make_session("2026-01-01-bot", 1, bot=True, funnels={"checkout": 3})
    sink.write(records(*sessions, bot))
    found = stores.sql("SELECT step, step_name, sessions::int FROM funnel_results ORDER BY 1")
    assert found == [(1, "Homepage", 5), (2, "Product", 3), (3, "Checkout", 2)]
    facts = stores.sql("SELECT day, duration_seconds, bot FROM session_facts WHERE session_id = '2026-01-01-bot'")
    assert facts == [(dt.date(2026, 1, 1), 60.0, True)]
