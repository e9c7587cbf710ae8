"""Two clicks are one only if source, grouping key and event_id are equal: nobody's id hides another's click."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest
from elasticsearch import ApiError

from clickstream.contracts.pipeline import dump_pipeline, parse_pipeline
from clickstream.sinks.elasticsearch.client import connect
from clickstream.sinks.elasticsearch.documents import second_id
from clickstream.sinks.elasticsearch.sink import ElasticsearchStore
from clickstream.sinks.main import make_sink

STORES = ("elasticsearch", "postgres")
KEYS = {"user_id": "user_id", "session_id": "client_session_id"}


@pytest.fixture
def grouped(pipeline, stores_of):
    """The pipeline with another `groupBy`, set up, with what sees and writes it."""

    def make(group_by):
        document = msgspec.json.decode(dump_pipeline(pipeline)) | {"enricher": {"groupBy": group_by}}
        found = parse_pipeline(msgspec.json.encode(document))
        stores = stores_of(found)
        stores.set_up()
        return found, stores

    return make


def identities(store, stores, field):
    """(storage day, source, grouping key, event_id) of each stored click, sorted, doubles included."""
    if store == "postgres":
        rows = stores.sql(f"SELECT storage_day::text, source, {field}, event_id FROM clicks")
    else:
        found = [hit["_source"] for hit in stores.search(stores.names.clicks_alias)]
        rows = [(each["storage_day"], each["source"], each[field], each["event_id"]) for each in found]
    return sorted(("undated" if row[0] == "0001-01-01" else row[0], *row[1:]) for row in rows)


@pytest.mark.parametrize("group_by", KEYS)
@pytest.mark.parametrize("store", STORES)
def test_any_order_and_any_batches_store_each_identity_once(store, group_by, grouped, records, make_click):
    """400 clicks of 6 ids, 3 sources, 3 users and 3 browser sessions on 3 days, each several times, in random
    batches."""
    pipeline, stores = grouped(group_by)
    field, rest = KEYS[group_by], KEYS["session_id" if group_by == "user_id" else "user_id"]
    chance = random.Random(f"{store} {group_by}")
    days = ("undated", "2026-01-01", "2026-01-02")
    every = list(itertools.product(days, ("", "web", "shop"), ("ann", "böb", "🛒"), ("e1", "e1~", "é", "x" * 64)))
    first = {}
    sent = []
    for number in range(400):
        day, source, key, event_id = chance.choice(every)
        members = {"source": source, field: key, rest: chance.choice("pqr"), "storage_day": day, "title": str(number)}
        sent.append(make_click(event_id, timestamp=1_767_261_600_000, **members))
        first.setdefault((day, source, key, event_id), str(number))
    sink = make_sink(store, pipeline)
    stored = known = 0
    left = list(sent)
    while left:
        count = chance.randrange(1, 60)
        outcome = sink.write(records(*left[:count]))
        assert (outcome.later, outcome.blocked, outcome.refused) == ([], [], [])
        stored, known, left = stored + outcome.stored["click"], known + outcome.known["click"], left[count:]
    again = sink.write(records(*sent))
    sink.close()
    assert identities(store, stores, field) == sorted(first)
    assert (stored, known, again.stored["click"], again.known["click"]) == (len(first), 400 - len(first), 0, 400)
    if store == "postgres":
        titles = stores.sql(f"SELECT storage_day::text, source, {field}, event_id, title FROM clicks")
        found = {("undated" if row[0] == "0001-01-01" else row[0], *row[1:4]): row[4] for row in titles}
        assert stores.sql("SELECT sum(views)::int FROM page_views_minute") == [(len(first),)]
    else:
        hits = [hit["_source"] for hit in stores.search(stores.names.clicks_alias)]
        found = {(hit["storage_day"], hit["source"], hit[field], hit["event_id"]): hit["title"] for hit in hits}
    assert found == first, "the first copy stands"


def test_a_click_under_its_own_id_by_the_release_before_is_known_and_another_is_not(
    stores, open_sink, records, make_click
):
    """What that release wrote: each event_id as the document's id, whoever came first."""
    sink = open_sink("elasticsearch")
    ours, theirs = (make_click("e1", user_id=user, source="web") for user in ("ann", "bob"))
    index = stores.names.clicks_index(ours.storage_day)
    stores.es.create(index=index, id="e1", document=msgspec.to_builtins(theirs), refresh=True)
    first = sink.write(records(theirs, ours, theirs, ours))
    assert (first.stored["click"], first.known["click"]) == (1, 3)
    assert sorted(hit["_source"]["user_id"] for hit in stores.search(index)) == ["ann", "bob"]
    with pytest.raises(ApiError, match="version_conflict"):  # and it goes on the same way beside this one
        stores.es.create(index=index, id="e1", document=msgspec.to_builtins(ours))


def test_no_event_id_can_take_another_clicks_second_id(records, make_click):
    for event_id in ("e", "😀" * 64):
        made = second_id(records(make_click(event_id, user_id="😀" * 256, source="😀" * 256))[0].content, "😀" * 256)
        assert len(made) > 64
        assert len(made.encode()) <= 512
    parts = [("a", "b", "c"), ("a,b", "", "c"), ('a","b', "c", ""), ("", "ab", "c"), ("ab", "", "c"), ("a", "bc", "")]
    clicks = [(make_click(event_id or "e", source=source), key) for source, key, event_id in parts]
    assert len({second_id(records(click)[0].content, key).partition("~")[2] for click, key in clicks}) == len(parts)


def test_a_document_that_goes_away_before_it_is_compared_is_no_reason_to_guess(pipeline, stores, records, make_click):
    stores.set_up("elasticsearch")
    click = make_click("e1")
    index = stores.names.clicks_index(click.storage_day)
    armed = []

    def sabotaged(spec):
        client = connect(spec)
        real = client.mget

        def mget(**asked):
            if armed:
                armed.pop()(client)
            return real(**asked)

        client.mget = mget
        return client

    sink = ElasticsearchStore(pipeline, pipeline.sinks.elasticsearch, sabotaged)
    assert sink.write(records(click)).stored["click"] == 1
    armed.append(lambda client: client.delete(index=index, id="e1"))
    outcome = sink.write(records(click))
    assert (outcome.stored["click"], outcome.known["click"], len(outcome.later)) == (0, 0, 1)
    assert outcome.trouble
    assert sink.write(outcome.later).stored["click"] == 1
    armed.append(lambda client: client.indices.close(index=index))
    outcome = sink.write(records(click))
    assert (outcome.stored["click"], outcome.known["click"], len(outcome.later)) == (0, 0, 1)
    stores.es.indices.open(index=index)
    stores.es.cluster.health(index=index, wait_for_status="yellow")
    assert sink.write(outcome.later).known["click"] == 1
    sink.close()


OLD_STATEMENT = """
WITH added AS (
    INSERT INTO clicks (event_id, storage_day, event_time, received_at, client_timestamp, user_id, client_session_id,
                        type, page, page_path, page_category, source, late, bot, medium, device, joins, properties)
    VALUES (%s, '2026-01-01', now(), now(), now(), %s, 's', 'page_view', '/', '/', 'home', %s, false, false, 'direct',
            'other', '{}', '{}')
    ON CONFLICT DO NOTHING
    RETURNING event_time, type, page_path, user_id, bot
)
INSERT INTO page_views_minute AS m (minute, page_path, bot, views)
SELECT date_trunc('minute', event_time), page_path, bot, count(*)
FROM added WHERE type = 'page_view' GROUP BY 1, 2, 3 ORDER BY 1, md5(page_path)::uuid, 3
ON CONFLICT (minute, page_key, bot) DO UPDATE SET views = m.views + EXCLUDED.views
"""
"""What a sink of the release before sends, shortened to the columns that must have a value."""


@pytest.mark.parametrize("group_by", KEYS)
def test_a_schema_with_clicks_is_migrated_and_the_release_before_goes_on_writing(
    group_by, grouped, pipeline, stores, records, make_click, install_release
):
    install_release(2)
    stores.sql("CREATE TABLE clicks_20260101 PARTITION OF clicks FOR VALUES FROM ('2026-01-01') TO ('2026-01-02')")
    stores.sql(OLD_STATEMENT, "e1", "ann", "web")
    aliases = [("x", "y", 1), ("y", "z", 2), ("z", "end", 3), ("loop", "pool", 1), ("pool", "loop", 2)]
    for absorbed, into, version in aliases:
        stores.sql("INSERT INTO session_aliases VALUES (%s, %s, %s, now())", absorbed, into, version)
    sink = make_sink("postgres", pipeline)
    waiting = sink.write(records(make_click("e2")))
    assert len(waiting.later) == 1
    assert "has version 2" in waiting.trouble
    newer, _ = grouped(group_by)
    stores.sql(OLD_STATEMENT, "e1", "ann", "web")
    stores.sql(OLD_STATEMENT, "e1", "ann", "other site")
    key = stores.sql(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'clicks'::regclass AND contype = 'p'"
    )
    assert key == [(f"PRIMARY KEY (storage_day, event_id, {KEYS[group_by]}, source)",)]
    sink = make_sink("postgres", newer)
    at = 1_767_261_600_000
    outcome = sink.write(
        records(make_click("e1", user_id="ann", client_session_id="s", source="web", timestamp=at, event_time=at))
    )
    sink.close()
    assert (outcome.stored["click"], outcome.known["click"]) == (0, 1)
    assert stores.sql("SELECT source FROM clicks ORDER BY 1") == [("other site",), ("web",)]
    assert stores.sql("SELECT sum(views)::int FROM page_views_minute") == [(2,)]
    found = dict(stores.sql("SELECT session_id, merged_into FROM session_aliases WHERE version < 4"))
    assert {name: found[name] for name in "xyz"} == dict.fromkeys("xyz", "end")
