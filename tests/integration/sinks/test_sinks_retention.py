"""Retention: what is older goes, what was received lately stays, and a late click does not live for ever."""

from __future__ import annotations

import time

import msgspec
import psycopg
import pytest

from clickstream.contracts.pipeline import Sinks
from clickstream.contracts.session_records import Retraction
from clickstream.contracts.times import iso_day
from clickstream.setup.main import set_up
from clickstream.sinks.elasticsearch import retention

STORES = ("elasticsearch", "postgres")
DAY = 86_400_000


@pytest.fixture
def short(pipeline):
    """The same pipeline with three days of retention."""
    sinks = Sinks(
        msgspec.structs.replace(pipeline.sinks.elasticsearch, retention="3d"),
        msgspec.structs.replace(pipeline.sinks.postgres, retention="3d"),
    )
    return msgspec.structs.replace(pipeline, sinks=sinks)


@pytest.mark.parametrize("store", STORES)
def test_old_days_go_and_recent_ones_stay(store, short, stores, open_sink, records, make_click, make_session):
    sink = open_sink(store)
    now = int(time.time() * 1_000)

    def aged(name, days, **members):
        at = now - days * DAY
        return make_click(name, **({"timestamp": at, "received_at": at} | members))

    def session(name, days, version=1):
        at = now - days * DAY
        return make_session(f"{iso_day(at)}-{name}", version, start=at, end=at)

    old, kept = session("old", 6), session("kept", 1)
    clicks = [
        aged("old", 6),
        aged("old-too", 5),
        aged("edge", 3),
        aged("yesterday", 1),
        aged("slow-clock", 20, event_time=now, received_at=now),
        aged("undated-old", 6, storage_day="undated"),
        aged("undated-new", 1, storage_day="undated"),
    ]
    gone = Retraction(f"{iso_day(now - 6 * DAY)}-gone", 4, kept.id)
    gone_undated = Retraction("undated-gone", 4, kept.id)
    undated = make_session("undated-old", 1, start=now - 6 * DAY, end=now - 6 * DAY)
    assert sink.write(records(*clicks, old, kept, undated)).later == []
    assert sink.write(records(gone, gone_undated, time_ms=now - 6 * DAY)).later == []

    set_up(store, short, "retention", 30, print)
    left = ["edge", "slow-clock", "undated-new", "yesterday"]
    assert stores.event_ids(store) == left
    assert stores.sessions(store) == {kept.id: 1}
    if store == "postgres":
        assert stores.sql("SELECT sum(views)::int FROM page_views_minute") in ([(3,)], [(4,)])
        assert stores.sql("SELECT count(*) FROM session_records") == [(1,)]
        assert stores.sql("SELECT count(*) FROM session_aliases") == [(0,)]
    else:
        assert [hit["_id"] for hit in stores.search(f"{short.names.sessions_alias}.*")] == [kept.id]

    # A click for a dropped day makes the day anew; it goes when nothing in it is recent any more.
    assert sink.write(records(aged("late", 6, received_at=now))).stored["click"] == 1
    set_up(store, short, "retention", 30, print)
    assert stores.event_ids(store) == sorted([*left, "late"])
    assert sink.write(records(aged("later", 5))).stored["click"] == 1
    set_up(store, short, "retention", 30, print)
    assert stores.event_ids(store) == sorted([*left, "late"])


def test_only_one_process_at_a_time_applies_it_in_postgres(short, stores, open_sink, records, make_click):
    sink = open_sink("postgres")
    at = int(time.time() * 1_000) - 6 * DAY
    sink.write(records(make_click("old", timestamp=at, received_at=at)))
    with psycopg.connect(short.sinks.postgres.dsn, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"{short.names.schema} retention"])
        set_up("postgres", short, "retention", 30, print)
        assert stores.event_ids("postgres") == ["old"]
    set_up("postgres", short, "retention", 30, print)
    assert stores.event_ids("postgres") == []


@pytest.mark.parametrize("store", STORES)
def test_a_running_sink_applies_it_by_itself(store, short, feed, stores, start_sink, until, make_click):
    stores.set_up(store)
    sink = start_sink(store, short, CLICKSTREAM_SINK_MAINTENANCE_SECONDS="1")
    at = int(time.time() * 1_000) - 6 * DAY
    feed.clicks([make_click("old", timestamp=at, received_at=at), make_click("new")])
    until(lambda: feed.settled(store), 60, "everything committed", sink.log)
    until(lambda: stores.event_ids(store) == ["new"], 30, "the old one is gone", sink.log)


def test_a_late_click_that_comes_while_its_old_day_is_dropped_is_not_lost(
    short, stores, open_sink, records, make_click, monkeypatch
):
    """Between the look whether the index holds anything recent and its deletion."""
    sink = open_sink("elasticsearch")
    now = int(time.time() * 1_000)
    old = now - 6 * DAY
    assert sink.write(records(make_click("old", timestamp=old, received_at=old))).stored["click"] == 1
    look, came = retention._holds_recent, []

    def slow_look(client, index, cutoff):
        answer = look(client, index, cutoff)
        late = records(make_click(f"late-{len(came)}", timestamp=old, received_at=now))
        came.append(sink.write(late))
        return answer

    monkeypatch.setattr(retention, "_holds_recent", slow_look)
    set_up("elasticsearch", short, "retention", 30, print)
    monkeypatch.undo()
    assert [outcome.stored["click"] for outcome in came] == [1, 0]
    (parked,) = came[1].blocked
    assert sink.write([parked]).stored["click"] == 1
    assert stores.event_ids("elasticsearch") == ["late-0", "late-1", "old"]
