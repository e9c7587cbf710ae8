"""Decoding: what cannot be stored is named, and what would hurt more than itself never reaches a store."""

from __future__ import annotations

import msgspec
import pytest

from clickstream.contracts.clicks import EnrichedClick, encode_enriched
from clickstream.contracts.names import Names
from clickstream.contracts.session_records import Retraction, Session, encode_session
from clickstream.sinks.records import Record, Refused, StoredClick, decoder, newest
from clickstream.sinks.validation import is_storage_day

NAMES = Names("shop", "web")


class Message:
    """The part of confluent_kafka's Message (which cannot be made by hand) that decoding reads."""

    def __init__(self, topic, value, key=b"k", headers=None, timestamp=1_000):
        self._values = {"topic": topic, "value": value, "key": key, "headers": headers, "timestamp": (1, timestamp)}

    def __getattr__(self, name):
        return lambda *_: self._values.get(name, 5)


def click(**members):
    whole = dict.fromkeys(("event_id", "user_id", "client_session_id", "page", "page_path", "page_category"), "x")
    times = {"timestamp": 1, "event_time": 2, "received_at": 3, "storage_day": "2026-01-31"}
    return encode_enriched(msgspec.convert(whole | times | members, EnrichedClick))


def session(**members):
    whole = Session("2026-01-01-a", "u", "2026-01-01", 1, 2, 3, 4, 5, "/", "/x", "direct", "other")
    return encode_session(msgspec.structs.replace(whole, **members))


decode = decoder(NAMES, traced=True)


def test_a_click_keeps_its_place_bytes_and_trace():
    value = click()
    record = decode(Message(NAMES.enriched_clicks, value, headers=[("traceparent", b"00-ab-cd-01")]))
    assert isinstance(record, Record)
    assert isinstance(record.content, StoredClick)
    assert (record.place, record.offset, record.value) == ((NAMES.enriched_clicks, 5), 5, value)
    assert record.traceparent == "00-ab-cd-01"
    assert decoder(NAMES, traced=False)(Message(NAMES.enriched_clicks, value)).traceparent is None


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
    assert (refused.code, refused.path, refused.value, refused.received_at) == (code, path, value or b"", 1_000)


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
