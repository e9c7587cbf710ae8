"""Decoding: what cannot be stored is named, and what would hurt more than itself never reaches a store."""

from __future__ import annotations

import msgspec
import pytest

from clickstream.contracts.clicks import EnrichedClick, encode_enriched
from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import parse_pipeline
from clickstream.contracts.replays import Replay
from clickstream.contracts.session_records import Retraction, Session, encode_session
from clickstream.contracts.times import DAY_MS as DAY
from clickstream.contracts.times import EARLIEST_BELIEVED_MS, MAX_MS, event_time, iso_day, storage_day
from clickstream.sinks.records import Record, Refused, StoredClick, decoder, newest
from clickstream.sinks.validation import CLOCKS_MS, is_storage_day, kept_ms

NAMES = Names("shop", "web")
NOW = 1_769_860_800_000
"""2026-01-31T12:00:00Z"""
KEPT = 40 * DAY


class Message:
    """The part of confluent_kafka's Message (which cannot be made by hand) that decoding reads."""

    def __init__(self, topic, value, key=b"k", headers=None, timestamp=NOW):
        self._values = {"topic": topic, "value": value, "key": key, "headers": headers, "timestamp": (1, timestamp)}

    def __getattr__(self, name):
        return lambda *_: self._values.get(name, 5)


def click(**members):
    whole = dict.fromkeys(("event_id", "user_id", "client_session_id", "page", "page_path", "page_category"), "x")
    times = {"timestamp": NOW, "event_time": NOW, "received_at": NOW, "storage_day": "2026-01-31"}
    return encode_enriched(msgspec.convert(whole | times | members, EnrichedClick))


def session(**members):
    whole = Session("2026-01-01-a", "u", "2026-01-01", 1, 2, 3, 4, 5, "/", "/x", "direct", "other")
    return encode_session(msgspec.structs.replace(whole, **members))


decode = decoder(NAMES, KEPT, traced=True)


def test_a_click_keeps_its_place_bytes_and_trace():
    value = click()
    record = decode(Message(NAMES.enriched_clicks, value, headers=[("traceparent", b"00-ab-cd-01")]))
    assert isinstance(record, Record)
    assert isinstance(record.content, StoredClick)
    assert (record.partition, record.offset, record.value) == ((NAMES.enriched_clicks, 5), 5, value)
    assert record.traceparent == "00-ab-cd-01"
    assert decoder(NAMES, KEPT, traced=False)(Message(NAMES.enriched_clicks, value)).traceparent is None


def test_a_replayed_click_says_so_and_a_header_that_is_none_is_a_dead_letter():
    record = decode(Message(NAMES.enriched_clicks, click(), headers=[("replay", b"1767225600000 keep")]))
    assert record.replay == Replay(1_767_225_600_000, keeps_session=True)
    refused = decode(Message(NAMES.enriched_clicks, click(), headers=[("replay", b"yes")]))
    assert (refused.code, refused.reason) == ("invalid_record", "the header replay must be a time in ms")
    assert decode(Message(NAMES.sessions, session(), headers=[("replay", b"yes")])).replay is None


@pytest.mark.parametrize(
    ("topic", "value", "code", "path"),
    [
        ("enriched_clicks", None, "invalid_record", "$"),
        ("enriched_clicks", b"", "malformed_record", "$"),
        ("enriched_clicks", b"\xff\xfe", "malformed_record", "$"),
        ("enriched_clicks", b"[]", "invalid_record", "$"),
        ("enriched_clicks", b'{"unknown": ' + b"[" * 100_000, "malformed_record", "$"),
        ("enriched_clicks", b'{"event_id": "\xff"}', "malformed_record", "$"),
        ("enriched_clicks", b'{"event_id": 1}', "invalid_record", "$.event_id"),
        ("enriched_clicks", click(event_id=""), "invalid_record", "$.event_id"),
        ("enriched_clicks", click(event_id="e" * 65), "invalid_record", "$.event_id"),
        ("enriched_clicks", click(storage_day="2026-02-30"), "invalid_record", "$.storage_day"),
        ("enriched_clicks", click(storage_day="*"), "invalid_record", "$.storage_day"),
        ("sessions", b"{", "malformed_record", "$"),
        ("sessions", session(id="a"), "invalid_record", "$.id"),
        ("sessions", session(id="2026-01-01-" + "ü" * 256), "invalid_record", "$.id"),
        ("sessions", session(version=-1), "invalid_record", "$.version"),
        ("sessions", session(version=2**63), "invalid_record", "$.version"),
        ("sessions", None, "invalid_record", "$"),
    ],
)
def test_a_record_that_is_none_is_named(topic, value, code, path):
    refused = decode(Message(getattr(NAMES, topic), value))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.path, refused.value, refused.received_at) == (code, path, value or b"", NOW)


def test_a_tombstone_is_a_retraction():
    headers = [("version", b"7"), ("merged_into", b"2026-01-01-b")]
    record = decode(Message(NAMES.sessions, None, key=b"2026-01-01-a", headers=headers))
    assert record.content == Retraction("2026-01-01-a", 7, "2026-01-01-b")
    for bad in (
        [("version", b"x"), ("merged_into", b"b")],
        [("version", b"7")],
        None,
        [("version", b"7"), ("merged_into", b"\xff")],
    ):
        assert isinstance(decode(Message(NAMES.sessions, None, key=b"2026-01-01-a", headers=bad)), Refused)
    assert isinstance(decode(Message(NAMES.sessions, None, key=b"\xff-a", headers=headers)), Refused)


def test_storage_days():
    assert is_storage_day("undated")
    assert is_storage_day("2024-02-29")
    assert not any(
        is_storage_day(text) for text in ("", "2023-02-29", "20240229", "2024-W01-1", "٢٠٢٤-01-01", "Undated")
    )


def test_of_several_records_of_a_session_the_newest_is_kept_and_the_first_of_equals():
    def record(version, offset):
        return Record(Retraction("a", version, "b"), ("t", 0), offset, b"", 0)

    kept, surplus = newest([record(1, 0), record(3, 1), record(3, 2), record(2, 3)])
    assert ([item.offset for item in kept], surplus) == ([1], 3)


def test_a_click_whose_headers_cannot_be_read_is_a_click_and_a_tombstone_is_none():
    """The client raises SystemError for a header whose name is not UTF-8."""

    class Unreadable(Message):
        def headers(self):
            raise SystemError

    assert isinstance(decode(Unreadable(NAMES.enriched_clicks, click())), Record)
    refused = decode(Unreadable(NAMES.sessions, None, key=b"2026-01-01-a"))
    assert isinstance(refused, Refused)
    assert refused.row("sink-test").origin.headers == (("unreadable", b"true"),)


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"user_id": "u" * 257}, "$.user_id"),
        ({"client_session_id": "s" * 257}, "$.client_session_id"),
        ({"source": "s" * 257}, "$.source"),
        ({"storage_day": "1969-12-31"}, "$.storage_day"),
    ],
)
def test_a_click_that_would_not_fit_into_an_index_or_a_partition_is_named(members, path):
    refused = decode(Message(NAMES.enriched_clicks, click(**members)))
    assert (refused.code, refused.path) == ("invalid_record", path)


@pytest.mark.parametrize("field", ["timestamp", "event_time", "received_at"])
@pytest.mark.parametrize("time", [-1, 253_402_300_800_000, 2**63, 10**30])
def test_a_time_outside_of_1970_to_9999_is_named(field, time):
    refused = decode(Message(NAMES.enriched_clicks, click(**{field: time})))
    assert (refused.code, refused.path) == ("invalid_record", f"$.{field}")


TIMES = [0, 1, EARLIEST_BELIEVED_MS, *(NOW + days * DAY for days in range(-60, 6)), NOW + 3_650 * DAY, MAX_MS]


@pytest.mark.parametrize("received_at", [NOW - KEPT, NOW - 7 * DAY, NOW - 1, NOW, NOW + 60_000])
@pytest.mark.parametrize("timestamp", TIMES)
def test_no_click_that_the_enricher_can_make_is_refused_for_its_times(timestamp, received_at):
    """Received at any time that the store keeps, stamped with any time, sent with any clock; from a topic that was
    restored too."""
    for sent_at in (None, *TIMES):
        when = event_time(timestamp, sent_at, received_at)
        value = click(
            timestamp=timestamp,
            event_time=when,
            received_at=received_at,
            storage_day=storage_day(timestamp, received_at),
        )
        assert isinstance(decode(Message(NAMES.enriched_clicks, value)), Record), (sent_at, when)


def days_taken(make, topic):
    """Of all days from 1970 to 2100 those that a record of now may have."""
    days = [iso_day(number * DAY) for number in range(47_500)]
    return [day for day in days if isinstance(decode(Message(topic, make(day))), Record)]


def test_whoever_writes_to_the_topic_can_have_no_more_days_made_than_the_store_keeps():
    """With the best of times in the record for each day."""
    taken: set[str] = set()
    for received_at in range(NOW - KEPT - 2 * DAY, NOW + 5 * DAY, DAY):
        near = [iso_day(received_at + days * DAY) for days in range(-40, 41)]
        taken |= {
            day
            for day in near
            if isinstance(
                decode(Message(NAMES.enriched_clicks, click(received_at=received_at, storage_day=day))), Record
            )
        }
    assert (min(taken), max(taken)) == (iso_day(NOW - KEPT - 30 * DAY), iso_day(NOW + CLOCKS_MS + 2 * DAY))
    assert len(days_taken(lambda day: click(storage_day=day), NAMES.enriched_clicks)) == 33
    assert max(days_taken(lambda day: session(id=f"{day}-a"), NAMES.sessions)) == iso_day(NOW + CLOCKS_MS + 2 * DAY)


@pytest.mark.parametrize(
    ("topic", "value", "path"),
    [
        ("enriched_clicks", click(received_at=NOW + CLOCKS_MS + 1), "$.received_at"),
        ("enriched_clicks", click(received_at=NOW + CLOCKS_MS + 1, storage_day="undated"), "$.received_at"),
        ("enriched_clicks", click(event_time=NOW + CLOCKS_MS + 1), "$.event_time"),
        ("enriched_clicks", click(event_time=MAX_MS, storage_day="undated"), "$.event_time"),
        ("enriched_clicks", click(received_at=NOW - KEPT - 1, storage_day="2025-12-20"), "$.received_at"),
        ("enriched_clicks", click(storage_day="2025-12-31"), "$.storage_day"),
        ("enriched_clicks", click(storage_day="2026-02-03"), "$.storage_day"),
        ("enriched_clicks", click(received_at=0, storage_day="1970-01-01"), "$.received_at"),
        ("enriched_clicks", click(received_at=MAX_MS, storage_day="9999-12-31"), "$.received_at"),
        ("sessions", session(id="2026-02-04-a"), "$.id"),
        ("sessions", session(id="9999-12-31-a"), "$.id"),
        ("sessions", session(end=NOW + CLOCKS_MS + 1), "$.end"),
    ],
)
def test_a_time_that_no_click_of_now_can_have_is_named(topic, value, path):
    refused = decode(Message(getattr(NAMES, topic), value))
    assert (refused.code, refused.path) == ("invalid_record", path)


def test_a_record_of_any_time_is_read():
    """Kafka's record times are the topic owner's to choose."""
    for time_ms in (0, 1, MAX_MS, 2**63 - 1):
        for topic, value in ((NAMES.enriched_clicks, click()), (NAMES.sessions, session())):
            assert isinstance(decode(Message(topic, value, timestamp=time_ms)), Record | Refused)


def test_a_click_may_have_waited_for_the_enricher_as_long_as_its_topic_keeps_it():
    pipeline = parse_pipeline(
        b'{"namespace":"shop","name":"web","kafka":{"bootstrapServers":"k:1","topics":{"rawClicks":{"retention":"3d"}}}}'
    )
    assert kept_ms(pipeline, "30d", "10d") == (30 + 3 + 7) * DAY


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"funnels": {"a": 2**40}}, "$.funnels[...]"),
        ({"funnels": {"a": -1}}, "$.funnels[...]"),
        ({"funnels": {"f" * 257: 1}}, "$.funnels"),
        ({"funnels": {str(n): 1 for n in range(1_001)}}, "$.funnels"),
        ({"events": 2**31}, "$.events"),
        ({"page_views": -1}, "$.page_views"),
        ({"start": 3, "end": 2}, "$.start"),
        ({"end": 253_402_300_800_000}, "$.end"),
        ({"device": "d" * 65}, "$.device"),
        ({"country": "d" * 65}, "$.country"),
        ({"user_id": "u" * 257}, "$.user_id"),
        ({"merged_ids": ["m"] * 10_001}, "$.merged_ids"),
        ({"merged_ids": ["ü" * 257]}, "$.merged_ids[...]"),
    ],
)
def test_a_session_out_of_which_a_sink_would_make_too_much_is_named(members, path):
    refused = decode(Message(NAMES.sessions, session(**members)))
    assert (refused.code, refused.path) == ("invalid_record", path)


def test_the_most_that_is_allowed_is_a_session():
    funnels = {str(n) * 60: 32 for n in range(1_000)}
    whole = session(
        funnels=funnels, merged_ids=["m" * 256] * 500, events=2**31 - 1, user_id="🛒" * 256, device="d" * 64
    )
    assert isinstance(decode(Message(NAMES.sessions, whole)), Record)
