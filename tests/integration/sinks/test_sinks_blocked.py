"""One blocked index or partition holds up nobody else's days: its records are parked, and stored once it takes them
again."""

from __future__ import annotations

import itertools
import threading
import time

import msgspec
import psycopg
import pytest

from clickstream.contracts.dead_letters import BadRow
from clickstream.runtime.telemetry import Telemetry
from clickstream.sinks.consumer import SinkConsumer
from clickstream.sinks.dead_letters import DeadLetters
from clickstream.sinks.loop import Limits, Loop
from clickstream.sinks.main import make_sink
from clickstream.sinks.metrics import Metrics
from clickstream.sinks.parking import Bounds
from clickstream.sinks.postgres import sink as postgres_sink
from clickstream.sinks.records import decoder
from clickstream.sinks.validation import kept_ms

STORES = ("elasticsearch", "postgres")
OLD = 1_767_261_600_000  # 2026-01-01
BLOCKS = ("read_only_allow_delete", "write", "read_only", "closed", "strict")


class Blocked:
    """The old day's part of a store, closed to writers while the block is entered."""

    def __init__(self, store, how, stores):
        self.store, self.how, self.stores = store, how, stores
        self.index = stores.names.clicks_index("2026-01-01")

    def __enter__(self):
        if self.store == "postgres":
            self.connection = psycopg.connect(self.stores.pipeline.sinks.postgres.dsn)
            self.connection.execute(f'LOCK TABLE "{self.stores.names.schema}".clicks_20260101 IN SHARE MODE')
        elif self.how == "closed":
            self.stores.es.indices.close(index=self.index)
        elif self.how == "strict":
            es, name = self.stores.es, self.stores.names.clicks_alias
            body = es.indices.get_index_template(name=name).body["index_templates"][0]["index_template"]
            body = {key: value for key, value in body.items() if "date" not in key}
            before = msgspec.json.decode(msgspec.json.encode(body))
            del before["template"]["mappings"]["properties"]["title"]
            es.indices.delete(index=self.index)
            es.indices.put_index_template(name=name, body=before)
            es.indices.create(index=self.index)
            es.indices.put_index_template(name=name, body=body)
        else:
            self.stores.es.indices.put_settings(index=self.index, settings={f"index.blocks.{self.how}": True})
        return self

    def __exit__(self, *_):
        if self.store == "postgres":
            self.connection.close()
        elif self.how == "closed":
            self.stores.es.indices.open(index=self.index)
        elif self.how != "strict":
            self.stores.es.indices.put_settings(index=self.index, settings={f"index.blocks.{self.how}": None})


def ids(prefix, count):
    return [f"{prefix}{number:04}" for number in range(count)]


@pytest.mark.parametrize(("store", "how"), [*(("elasticsearch", how) for how in BLOCKS[:4]), ("postgres", "locked")])
def test_a_blocked_day_waits_and_all_others_go_on(
    store, how, pipeline, feed, stores, start_sink, until, make_click, make_session
):
    stores.set_up(store)
    feed.clicks([make_click("first", timestamp=OLD)])
    sink = start_sink(store, pipeline)
    until(lambda: stores.event_ids(store) == ["first"], 60, "a start", sink.log)
    with Blocked(store, how, stores):
        for number in range(20):
            old = [make_click(text, timestamp=OLD, user_id=text) for text in ids(f"old-{number:02}-", 10)]
            feed.clicks([*old, *(make_click(text, user_id=text) for text in ids(f"new-{number:02}-", 10))])
        feed.session(make_session("2026-01-01-a", 7))
        until(lambda: sum(text.startswith("new") for text in seen(store, how, stores)) == 200, 60, "others", sink.log)
        until(lambda: sink.metric("clickstream_parked_records") == 200, 30, "parked", sink.log)
        until(lambda: stores.sessions(store) == {"2026-01-01-a": 7}, 30, "sessions", sink.log)
        assert not feed.settled(store), "nothing at or after a parked record is committed"
        until(lambda: sink.metric("clickstream_consumer_lag_records") >= 200, 10, "lag", sink.log)
        assert sink.get("/healthz")[0] == sink.get("/readyz")[0] == 200
        sink.kill()
        sink = start_sink(store, pipeline)
        until(lambda: sink.metric("clickstream_parked_records") == 200, 60, "parked again", sink.log)
    until(lambda: feed.settled(store), 60, "everything committed", sink.log)
    assert len(stores.event_ids(store)) == len(set(stores.event_ids(store))) == 401
    assert sink.metric("clickstream_parked_records") == 0
    assert feed.dead_letters() == []
    log = sink.log.read_text()
    assert "is temporarily rejected; its records are parked" in log
    assert "takes records again" in log
    if store == "postgres":
        assert stores.sql("SELECT sum(views)::int FROM page_views_minute") == [(401,)]


def seen(store, how, stores):
    """Ids of the clicks that can be read while one index is closed."""
    if how != "closed":
        return stores.event_ids(store)
    hits = stores.search(stores.names.clicks_alias, query={"prefix": {"event_id": "new"}})
    return [hit["_id"] for hit in hits]


def test_a_mapping_that_lacks_a_field_parks_the_clicks_until_setup_adds_it(
    pipeline, feed, stores, start_sink, until, make_click
):
    stores.set_up("elasticsearch")
    feed.clicks([make_click("first", timestamp=OLD)])
    sink = start_sink("elasticsearch", pipeline)
    until(lambda: feed.settled("elasticsearch"), 60, "a start", sink.log)
    with Blocked("elasticsearch", "strict", stores):
        feed.clicks([make_click("old", timestamp=OLD), make_click("new")])
        until(lambda: sink.metric("clickstream_parked_records") == 1, 30, "parked", sink.log)
        until(lambda: "new" in stores.event_ids("elasticsearch"), 30, "others", sink.log)
    stores.set_up("elasticsearch")
    until(lambda: feed.settled("elasticsearch"), 60, "everything committed", sink.log)
    assert stores.event_ids("elasticsearch") == ["new", "old"], sink.log.read_text()
    assert feed.dead_letters() == []


def test_while_all_is_blocked_the_sink_waits_and_gives_nothing_up(
    pipeline, feed, stores, start_sink, until, make_click, make_session
):
    """As when the disk is full: longer than parking has room; sessions are still taken."""
    stores.set_up("elasticsearch")
    feed.clicks([make_click("first")])
    sink = start_sink("elasticsearch", pipeline)
    until(lambda: feed.settled("elasticsearch"), 60, "a start", sink.log)
    block = "index.blocks.read_only_allow_delete"
    clicks = f"{pipeline.names.clicks_alias}.*"
    stores.es.indices.put_settings(index=clicks, settings={block: True})
    for number in range(15):
        feed.clicks([make_click(text, user_id=text[-2:]) for text in ids(f"{number:02}-", 1_000)])
        feed.session(make_session(f"2026-01-01-{number}", number))
    until(lambda: "no more are fetched" in sink.log.read_text(), 60, "it waits", sink.log)
    assert 10_000 < sink.metric("clickstream_parked_records") <= 12_000
    until(lambda: sink.metric("clickstream_consumer_lag_records") >= 15_000, 30, "lag", sink.log)
    assert sink.metric("clickstream_store_retries_total") > 0
    assert sink.get("/healthz")[0] == 200
    stores.es.indices.put_settings(index=clicks, settings={block: None})
    until(lambda: feed.settled("elasticsearch"), 90, "everything committed", sink.log)
    assert len(stores.event_ids("elasticsearch")) == 15_001
    assert feed.dead_letters() == []


@pytest.mark.parametrize("bounds", [Bounds(records=120), Bounds(seconds=3), Bounds(size=200_000)], ids=str)
def test_what_is_parked_beyond_the_bounds_goes_to_dead_letters_and_can_be_sent_again(
    bounds, pipeline, feed, stores, until, make_click, records
):
    store = "elasticsearch"
    stores.set_up(store)
    sink = make_sink(store, pipeline)
    assert sink.write(records(make_click("first", timestamp=OLD))).stored["click"] == 1
    names, telemetry = pipeline.names, Telemetry("test", {}, None)
    consumer = SinkConsumer(pipeline.kafka, names.sink_group(store), (names.enriched_clicks, names.sessions), "test")
    letters = DeadLetters(pipeline.kafka, names.dead_letters, f"sink-{store}")
    decode = decoder(names, kept_ms(pipeline, sink.retention), traced=False)
    loop = Loop(sink, consumer, letters, decode, Metrics(telemetry, store), telemetry, Limits(), bounds)
    thread = threading.Thread(target=loop.run)
    with Blocked(store, "write", stores):
        thread.start()
        try:
            feed.clicks([make_click(f"new-{number}", user_id=str(number)) for number in range(300)])
            until(lambda: len(stores.event_ids(store)) == 301, 60, "the others")
            feed.clicks([make_click(text, timestamp=OLD, user_id=text) for text in ids("old", 100)])
            feed.clicks([make_click(f"more-{number}", user_id=str(number)) for number in range(300)])
            until(feed.dead_letters, 60, "dead letters")
            until(lambda: len(stores.event_ids(store)) == 601, 60, "the others")
        finally:
            loop.stop()
            thread.join(60)
            consumer.close()
            sink.close()
            telemetry.shutdown()
    assert not thread.is_alive()
    dead: list[BadRow] = feed.dead_letters()
    assert {row.code for row in dead} == {"store_blocked"}
    assert all("can be sent again" in row.reason and row.origin.topic == names.enriched_clicks for row in dead)
    again = [msgspec.json.decode(row.original)["event_id"] for row in dead]
    assert len(again) == len(set(again))
    assert set(again) <= set(ids("old", 100))
    assert len(again) == 100 if bounds.seconds < 900 else 20 <= len(again) < 100


def test_a_slow_store_gets_smaller_portions_until_they_pass(stores, open_sink, records, make_click, monkeypatch):
    """Neither is the process taken for dead meanwhile nor the same batch tried for ever."""
    monkeypatch.setattr(postgres_sink, "_STATEMENT_SECONDS", 1)
    sink = open_sink("postgres")
    stores.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$"
    )
    stores.sql("CREATE TRIGGER slow BEFORE INSERT ON clicks FOR EACH ROW EXECUTE FUNCTION slow()")
    beats = []
    sink.beat = lambda: beats.append(time.monotonic())
    monkeypatch.setattr(postgres_sink, "WRITE_SECONDS", 3.0)
    pending = records(*(make_click(f"e{number:03}", timestamp=OLD + number % 2 * 86_400_000) for number in range(300)))
    stored, writes = 0, 0
    while pending:
        began = time.monotonic()
        outcome = sink.write(pending)
        assert time.monotonic() - began < 8
        stored, writes = stored + outcome.stored["click"], writes + 1
        assert (outcome.refused, outcome.blocked) == ([], [])
        assert not outcome.later or "slow" in outcome.trouble
        pending = outcome.later
        assert writes < 30
    assert stored == 300
    assert max(after - before for before, after in itertools.pairwise(beats)) < 3
    assert stores.sql("SELECT sum(views)::int FROM page_views_minute") == [(300,)]


def test_a_pooler_that_takes_the_staging_tables_away_is_named_and_not_died_of(stores, open_sink, records, make_click):
    sink = open_sink("postgres")
    assert sink.write(records(make_click("one"))).stored["click"] == 1
    sink._connection.execute("DISCARD TEMP")
    outcome = sink.write(records(make_click("two")))
    assert (len(outcome.later), outcome.refused) == (1, [])
    assert "pool_mode = session" in outcome.trouble
    assert sink.write(outcome.later).stored["click"] == 1
