"""Headers whose names are not UTF-8, on both topics of a sink: confluent's client dies of them where it is asked
twice."""

from __future__ import annotations

import pytest

from clickstream.contracts.clicks import encode_enriched
from clickstream.contracts.session_records import encode_session
from support.topics import feed_unreadable

PARTITIONS = range(3)


@pytest.mark.parametrize("store", ["elasticsearch", "postgres"])
def test_a_header_whose_name_is_not_utf_8_stops_no_sink(
    store, pipeline, feed, stores, start_sink, until, make_click, make_session
):
    """A click and a session do not need their headers; a tombstone is none without. Also as the last record of all."""
    stores.set_up(store)
    names, servers = pipeline.names, pipeline.kafka.bootstrap_servers
    feed.clicks([make_click(f"before-{number}", user_id=f"user-{number}") for number in range(60)])
    click = {n: (b"k", encode_enriched(make_click(f"unreadable-{n}", user_id=f"u{n}"))) for n in PARTITIONS}
    session = {n: (b"%d" % n, encode_session(make_session(f"2026-01-01-{n}", 1))) for n in PARTITIONS}
    feed_unreadable(servers, names.enriched_clicks, {n: [(b"k", b"junk"), click[n]] for n in PARTITIONS})
    tombstone = (b"2026-01-01-0", None)
    feed_unreadable(servers, names.sessions, {n: [tombstone, session[n]] for n in PARTITIONS})
    sink = start_sink(store, pipeline)
    until(lambda: feed.settled(store), 60, "everything committed", sink.log)
    assert sink.stop() == 0

    # A restart compares what was committed with the record before it, which is one of those.
    sink = start_sink(store, pipeline)
    feed.clicks([make_click(f"after-{number}", user_id=f"user-{number}") for number in range(60)])
    feed.session(make_session("2026-01-01-after", 1))
    until(lambda: feed.settled(store), 60, "everything committed", sink.log)
    assert sink.popen.poll() is None
    assert sink.metric("clickstream_skipped_records_total") == 0
    wanted = [f"{when}-{n}" for when in ("before", "after") for n in range(60)] + [
        f"unreadable-{n}" for n in PARTITIONS
    ]
    assert stores.event_ids(store) == sorted(wanted)
    assert stores.sessions(store) == {f"2026-01-01-{name}": 1 for name in (*PARTITIONS, "after")}
    dead = feed.dead_letters()
    assert sorted((row.origin.topic, row.origin.partition, row.origin.key, row.original) for row in dead) == sorted(
        record
        for n in PARTITIONS
        for record in ((names.enriched_clicks, n, b"k", b"junk"), (names.sessions, n, b"2026-01-01-0", b""))
    )
    assert {row.origin.headers for row in dead} == {(("unreadable", b"true"),)}
