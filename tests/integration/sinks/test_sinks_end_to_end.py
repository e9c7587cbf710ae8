"""From the topics into both stores through the real process: nothing lost, nothing twice, whatever is killed or taken
away."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka import Consumer, TopicPartition

from clickstream.contracts.session_records import Retraction
from devstack import Stack

STORES = ("elasticsearch", "postgres")


def counted_once(stores, expected):
    """Rollups say the same as the clicks."""
    assert stores.sql("SELECT sum(views)::int FROM page_views_minute") == [(expected,)]


def many(make_click, count, start=0):
    return [make_click(f"e{number:06}", user_id=f"user-{number % 97}") for number in range(start, start + count)]


@pytest.mark.parametrize("store", STORES)
def test_records_arrive_bad_ones_are_set_aside_and_a_second_reading_changes_nothing(
    store, pipeline, feed, stores, start_sink, until, make_click, make_session
):
    stores.set_up(store)
    names = pipeline.names
    feed.clicks(many(make_click, 500))
    feed.raw(names.enriched_clicks, "x", b"not json")
    feed.raw(names.enriched_clicks, "x", b'{"event_id": "half a click"}')
    feed.raw(names.enriched_clicks, "x", None)
    feed.clicks([make_click("evil-day", storage_day="../../etc"), make_click("e" * 65), make_click("bad-ip", ip="?")])
    feed.session(make_session("2026-01-01-a", 7))
    feed.session(make_session("no-day", 7))
    feed.session(make_session("2026-01-01-b", 7))
    feed.session(Retraction("2026-01-01-b", 9, "2026-01-01-a"))
    feed.raw(names.sessions, "2026-01-01-a", None)  # a tombstone without headers
    sink = start_sink(store, pipeline)
    until(lambda: feed.settled(store), 60, "everything committed", sink.log)

    ids = sorted(click.event_id for click in many(make_click, 500))
    assert stores.event_ids(store) == ids
    assert stores.sessions(store) == {"2026-01-01-a": 7}
    dead = feed.dead_letters()
    assert {row.stage for row in dead} == {f"sink-{store}"}
    refused = "document_parsing_exception" if store == "elasticsearch" else "invalid_text_representation"
    assert sorted(row.code for row in dead) == sorted(["malformed_record", *["invalid_record"] * 6, refused])
    assert b"not json" in {row.original for row in dead}
    assert all("etc" not in row.reason for row in dead)

    assert sink.metric("clickstream_events_stored_total", kind="click") == 500
    assert (
        sink.metric("clickstream_events_stored_total", kind="session")
        + sink.metric("clickstream_events_duplicate_total", kind="session")
        == 2
    )
    assert sink.metric("clickstream_events_stored_total", kind="retraction") == 1
    assert sink.metric("clickstream_dead_letters_total", stage=f"sink-{store}") == 8
    assert sink.metric("clickstream_store_retries_total") == 0
    assert sink.metric("clickstream_batch_duration_seconds_count") >= 1
    assert 1 <= sink.metric("clickstream_click_to_store_seconds_count") <= 500
    until(lambda: sink.metric("clickstream_consumer_lag_records") == 0, 10, "no lag", sink.log)
    assert sink.metric("clickstream_consumer_lag_seconds") == 0
    assert sink.get("/metrics")[1].count("clickstream_consumer_lag_records{") == 6, "idle partitions say 0 as well"
    assert sink.get("/healthz") == (200, "ok\n")
    assert sink.stop() == 0

    rewind(feed, store)
    again = start_sink(store, pipeline)
    until(lambda: feed.settled(store), 60, "everything committed again", again.log)
    assert stores.event_ids(store) == ids
    assert stores.sessions(store) == {"2026-01-01-a": 7}
    assert again.metric("clickstream_events_stored_total") == 0
    assert again.metric("clickstream_events_duplicate_total", kind="click") == 500
    if store == "postgres":
        counted_once(stores, 500)


def rewind(feed, store):
    """Commit offset 0 for every partition in the sink's name."""
    group = feed.names.sink_group(store)
    consumer = Consumer({"bootstrap.servers": feed.pipeline.kafka.bootstrap_servers, "group.id": group})
    partitions = [TopicPartition(topic, number, 0) for topic, number in feed.committed(store)]
    consumer.commit(offsets=partitions, asynchronous=False)
    consumer.close()
    assert not feed.settled(store)


@pytest.mark.parametrize("store", STORES)
def test_kill_9_in_the_middle_of_20000_clicks_loses_and_doubles_nothing(
    store, pipeline, feed, stores, start_sink, until, make_click
):
    stores.set_up(store)
    feed.clicks(many(make_click, 20_000))
    sink = start_sink(store, pipeline, CLICKSTREAM_SINK_BATCH_RECORDS="500")
    until(lambda: sum(done for done, _ in feed.committed(store).values()) > 3_000, 60, "progress", sink.log)
    sink.kill()
    assert not feed.settled(store), "it was killed too late to prove anything"
    sink = start_sink(store, pipeline)
    until(lambda: feed.settled(store), 120, "everything committed", sink.log)
    assert stores.event_ids(store) == [click.event_id for click in many(make_click, 20_000)]
    if store == "postgres":
        counted_once(stores, 20_000)


@pytest.mark.parametrize("store", STORES)
def test_replicas_come_and_go_under_load(store, pipeline, feed, stores, start_sink, until, make_click, make_session):
    """1 → 2 → 1: every record once, every offset committed, the partitions shared while there are two."""
    stores.set_up(store)
    total, stop = 0, threading.Event()
    first = start_sink(store, pipeline)

    def load():
        nonlocal total
        while not stop.is_set():
            feed.clicks(many(make_click, 500, total))
            total += 500
            feed.session(make_session(f"2026-01-01-{total % 7}", total))
            stop.wait(0.1)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        second = start_sink(store, pipeline)
        until(lambda: second.metric("clickstream_events_stored_total") > 500, 60, "the second has a share", second.log)
        assert first.get("/metrics")[1].count("clickstream_consumer_lag_records{") == 3
        assert first.stop() == 0
        there = second.metric("clickstream_events_stored_total")
        until(lambda: second.metric("clickstream_events_stored_total") > there + 1_000, 60, "it goes on", second.log)
        until(lambda: second.get("/metrics")[1].count("lag_records{") == 6, 30, "all partitions", second.log)
    finally:
        stop.set()
        thread.join()
    until(lambda: feed.settled(store), 60, "everything committed", second.log)
    assert stores.event_ids(store) == [click.event_id for click in many(make_click, total)]
    if store == "postgres":
        counted_once(stores, total)


@pytest.mark.parametrize("store", STORES)
def test_a_store_that_is_away_is_waited_for_by_living_members(
    store, new_pipeline, stack, feed_of, stores_of, start_sink, until, make_click, tmp_path
):
    """While it is away: lag grows, the process is healthy, a replica can join, SIGTERM works. Then all is stored,
    once."""
    own = Stack.up(home=tmp_path / "own", services=(store,))
    try:
        sinks = {"elasticsearch": stack.elasticsearch.member(), "postgres": {"dsn": stack.postgres.dsn}}
        server = own.elasticsearch if store == "elasticsearch" else own.postgres
        sinks[store] = server.member() if store == "elasticsearch" else {"dsn": server.dsn}
        pipeline = new_pipeline(sinks=sinks)
        feed, stores = feed_of(pipeline), stores_of(pipeline)
        stores.set_up(store)
        feed.clicks(many(make_click, 2_000))
        first = start_sink(store, pipeline)
        until(lambda: first.metric("clickstream_events_stored_total") >= 1_000, 60, "a start", first.log)
        server.kill()
        feed.clicks(many(make_click, 2_000, 2_000))
        until(lambda: first.metric("clickstream_store_retries_total") >= 2, 60, "attempts", first.log)
        until(lambda: first.metric("clickstream_consumer_lag_records") >= 2_000, 60, "lag that is seen", first.log)
        assert first.metric("clickstream_consumer_lag_seconds") > 0
        second = start_sink(store, pipeline)
        until(lambda: second.get("/metrics")[1].count("lag_records{") == 3, 60, "half of the partitions", second.log)
        third = start_sink(store, pipeline)
        until(lambda: third.get("/metrics")[1].count("lag_records{") == 2, 60, "a third of the partitions", third.log)
        assert third.stop() == 0
        until(lambda: second.get("/metrics")[1].count("lag_records{") == 3, 60, "half of them again", second.log)
        feed.clicks(many(make_click, 500, 4_000))
        assert first.get("/healthz")[0] == second.get("/healthz")[0] == 200
        server.start()
        until(lambda: feed.settled(store), 40, "everything committed", second.log)
        assert stores.event_ids(store) == [click.event_id for click in many(make_click, 4_500)]
        assert first.popen.poll() is None
        assert second.popen.poll() is None
        assert first.metric("clickstream_consumer_lag_records") == 0 or until(
            lambda: first.metric("clickstream_consumer_lag_records") == 0, 10
        )
        if store == "postgres":
            counted_once(stores, 4_500)
        assert feed.dead_letters() == []
    finally:
        own.down(wipe=True)


@pytest.mark.parametrize("store", STORES)
def test_a_sink_waits_for_setup_instead_of_guessing(store, pipeline, feed, stores, start_sink, until, make_click):
    feed.clicks(many(make_click, 10))
    sink = start_sink(store, pipeline)
    until(lambda: f"run `clickstream setup {store}`" in sink.log.read_text(), 30, "the advice", sink.log)
    stores.set_up(store)
    until(lambda: feed.settled(store), 60, "everything committed", sink.log)
    assert len(stores.event_ids(store)) == 10
    if store == "elasticsearch":
        mapping = stores.es.indices.get_mapping(index=f"{pipeline.names.clicks_alias}.*").body
        assert all(index["mappings"]["dynamic"] == "strict" for index in mapping.values())
