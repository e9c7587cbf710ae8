"""The flow from a raw-clicks record to an enriched click: what it finds, what it refuses, and that no bytes break
it."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clickstream.contracts.clicks import Click, EnrichedClick, encode_click, encode_enriched
from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.pipeline import Enricher, Join, Kafka, PageCategory, Pipeline
from clickstream.contracts.times import DAY_MS
from clickstream.enrichment.flow import Flow
from support.records import decode_enriched

HOUR_MS = 3_600_000
NOW = 1_769_860_800_000  # 2026-01-31T12:00:00Z
PIPELINE = Pipeline(
    "shop",
    "clicks",
    Kafka("unused:9092"),
    enricher=Enricher(
        joins=[Join("catalogue", "products", "/products/{key}")],
        page_categories=[PageCategory("product", "/products/*")],
    ),
)
TABLES = {"catalogue": {"item-7": {"name": "Shoe", "category": "shoes", "price": 12.5}}}
FLOW = Flow(PIPELINE, lambda address: "DE" if str(address).startswith("203.") else None, TABLES)

CLICK = Click(
    event_id="e-1",
    timestamp=NOW - 500,
    user_id="visitor",
    session_id="tab-1",
    page="https://shop.example/products/item-7?utm_source=news&utm_medium=email&utm_campaign=spring",
    received_at=NOW,
    source="web",
    sent_at=NOW - 100,
    referrer="https://mail.google.com/",
    user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    ip="203.0.113.0",
    title="Shoe",
    properties={"colour": "red", "stock": 3},
)


def with_changes(**changes: object) -> bytes:
    return json.dumps(msgspec.to_builtins(CLICK) | changes).encode()


def accepted(value: bytes, record_time: int = NOW) -> EnrichedClick:
    draft = FLOW.enrich(value, record_time)
    assert isinstance(draft, EnrichedClick), draft
    return draft


def refused(value: bytes | None) -> BadRow:
    row = FLOW.enrich(value, NOW)
    assert isinstance(row, BadRow)
    assert (row.original, row.stage, row.received_at) == (value or b"", "enrich", NOW)
    return row


def test_a_click_gains_all_that_can_be_found_out():
    found = accepted(encode_click(CLICK)).finish("2026-01-31-abc", late=False)
    expected = EnrichedClick(
        event_id="e-1",
        timestamp=NOW - 500,
        event_time=NOW - 400,
        received_at=NOW,
        storage_day="2026-01-31",
        user_id="visitor",
        client_session_id="tab-1",
        page=CLICK.page,
        page_path="/products/item-7",
        page_category="product",
        source="web",
        session="2026-01-31-abc",
        page_host="shop.example",
        title="Shoe",
        referrer="https://mail.google.com/",
        referrer_host="mail.google.com",
        medium="email",
        referrer_source="news",
        campaign="spring",
        campaign_source="news",
        campaign_medium="email",
        user_agent=CLICK.user_agent,
        browser="Firefox",
        browser_version="127.0",
        os="Linux",
        device="desktop",
        ip="203.0.113.0",
        country="DE",
        joins={"catalogue": {"name": "Shoe", "category": "shoes", "price": 12.5}},
        properties={"colour": "red", "stock": 3},
    )
    # As mappings, so that a failure names the field.
    assert msgspec.to_builtins(found) == msgspec.to_builtins(expected)


def test_what_is_encoded_is_read_as_it_was():
    value = encode_enriched(accepted(encode_click(CLICK)).finish("s", late=True))
    assert decode_enriched(value) == accepted(encode_click(CLICK)).finish("s", late=True)
    least = Click("e", NOW, "u", "s", "/", NOW)
    assert decode_enriched(encode_enriched(accepted(encode_click(least)).finish(None, late=False))) == EnrichedClick(
        "e", NOW, NOW, NOW, "2026-01-31", "u", "s", "/", "/", "home"
    )


def test_clicks_do_not_share_what_was_found():
    FLOW.enrich(encode_click(CLICK), NOW)
    least = accepted(encode_click(Click("e", NOW, "u", "s", "/", NOW)))
    assert (least.joins, least.properties, least.country, least.campaign) == ({}, {}, None, None)


def test_a_click_older_than_late_after_is_late_and_kept():
    assert not accepted(with_changes(timestamp=NOW - 7 * DAY_MS, sent_at=None)).late
    draft = accepted(with_changes(timestamp=NOW - 7 * DAY_MS - 1, sent_at=None))
    assert draft.late
    assert draft.finish("s", late=False).late
    assert not accepted(encode_click(CLICK)).finish("s", late=False).late
    assert accepted(encode_click(CLICK)).finish(None, late=True).late


def test_the_client_clock_is_corrected_but_the_storage_day_is_its_own():
    draft = accepted(with_changes(timestamp=NOW - DAY_MS, sent_at=NOW - DAY_MS + 2_000))
    assert (draft.event_time, draft.storage_day) == (NOW - 2_000, "2026-01-30")


def test_a_receipt_that_a_producer_claims_for_the_future_does_not_move_time():
    draft = accepted(with_changes(timestamp=NOW + DAY_MS, received_at=NOW + DAY_MS, sent_at=None))
    assert (draft.received_at, draft.event_time) == (NOW, NOW)
    unchecked = accepted(with_changes(timestamp=NOW + DAY_MS, received_at=NOW + DAY_MS, sent_at=None), -1)
    assert unchecked.event_time == NOW + DAY_MS


@pytest.mark.parametrize("pod_is_off", [-HOUR_MS, -61_000, -30_000, 0, 30_000, 61_000, HOUR_MS])
@pytest.mark.parametrize("client_is_off", [-10_000, 0, 10_000])
@pytest.mark.parametrize("says_when_it_sent", [True, False])
def test_no_clock_of_a_pod_moves_a_click_by_more_than_a_minute(
    pod_is_off: int, client_is_off: int, says_when_it_sent: bool
) -> None:
    """The brokers' clock is right; the click happened five seconds before it was sent."""
    click = with_changes(
        timestamp=NOW - 5_000 + client_is_off,
        sent_at=NOW + client_is_off if says_when_it_sent else None,
        received_at=NOW + pod_is_off,
    )
    assert abs(accepted(click).event_time - (NOW - 5_000)) <= 60_000


def test_a_click_out_of_a_restored_topic_stays_where_it_was() -> None:
    """Its record is appended a month later; only the correction of the client's clock is given up."""
    click = with_changes(timestamp=NOW - 5_000, sent_at=NOW - 1_000)
    assert accepted(click, NOW + 30 * DAY_MS).event_time == NOW - 5_000
    assert accepted(click, NOW + 30 * DAY_MS).storage_day == accepted(click).storage_day


@pytest.mark.parametrize(
    ("value", "code", "path"),
    [
        (None, "empty_record", "$"),
        (b"", "malformed_json", "$"),
        (b"not json", "malformed_json", "$"),
        (b'{"event_id": "\xff"}', "malformed_json", "$"),
        (b'{"x":' + b"[" * 100_000, "malformed_json", "$"),
        (b"[]", "invalid_click", "$"),
        (b"{}", "invalid_click", "$"),
        (with_changes(event_id=""), "invalid_click", "$.event_id"),
        (with_changes(event_id=1), "invalid_click", "$.event_id"),
        (with_changes(event_id="é" * 33), "too_long", "$.event_id"),
        (with_changes(user_id="é" * 129), "too_long", "$.user_id"),
        (with_changes(session_id="é" * 129), "too_long", "$.session_id"),
        (with_changes(page="/" + "é" * 1_024), "too_long", "$.page"),
        (with_changes(page="/" + "e" * 2_048), "invalid_click", "$.page"),
        (with_changes(event_id="\0" * 22), "too_long", "$.event_id"),  # each becomes three bytes
        (with_changes(title="t" * 8_193), "too_long", "$.title"),
        (with_changes(properties={"a": "t" * 8_193}), "too_long", "$.properties"),
        (with_changes(properties={"t" * 8_193: 1}), "too_long", "$.properties"),
        (with_changes(properties={str(n): "t" * 8_000 for n in range(20)}), "too_long", "$"),
        (with_changes(properties={"a": {"b": 1}}), "invalid_click", "$.properties[...]"),
        (with_changes(timestamp=-1), "invalid_click", "$.timestamp"),
        (with_changes(timestamp=10**15), "invalid_click", "$.timestamp"),
        (with_changes(timestamp="now"), "invalid_click", "$.timestamp"),
    ],
)
def test_a_record_that_is_no_click_is_refused_with_the_reason(value, code, path):
    row = refused(value)
    assert (row.code, row.path) == (code, path)


@pytest.mark.parametrize("name", ["event_id", "user_id", "session_id", "page"])
def test_limits_are_met_exactly(name):
    limit = {"event_id": 64, "page": 2_048}.get(name, 256)
    assert isinstance(FLOW.enrich(with_changes(**{name: "é" * (limit // 2)}), NOW), EnrichedClick)


def test_nul_is_replaced_everywhere_and_a_backslash_is_not_mistaken_for_it():
    click = accepted(
        with_changes(
            event_id="e\0", page="/a\0b", title="\0", referrer="\0", properties={"a\0": "\0", "n": 1, "x": "\\u0000"}
        )
    ).finish(None, late=False)
    assert click.event_id == "e\ufffd"
    assert click.page == "/a\ufffdb"
    assert click.title == click.referrer == "\ufffd"
    assert click.properties == {"a\ufffd": "\ufffd", "n": 1, "x": "\\u0000"}


def check(value: bytes) -> None:
    for record_time in (NOW, 0, None):
        draft = FLOW.enrich(value, record_time)
        if isinstance(draft, BadRow):
            assert draft.original == value
            assert draft.headers()
            continue
        encoded = encode_enriched(draft.finish("session", late=False))
        click = decode_enriched(encoded)
        assert len(click.event_id.encode()) <= 64
        assert max(len(click.user_id.encode()), len(click.client_session_id.encode())) <= 256
        assert len(click.page.encode()) <= 2_048
        assert b"\\u0000" not in encoded.replace(b"\\\\", b"")
        assert record_time != NOW or click.event_time <= max(NOW, click.received_at) + 60_000


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf{}")
def test_no_bytes_break_it(value):
    check(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
URLS = st.builds(
    str.__add__,
    st.sampled_from(
        ("http://", "https://shop.example/", "//", "/", "/products/", "android-app://", "https://[", "/?utm_")
    ),
    st.text(max_size=30),
)
TEXT = (
    st.text(min_size=1, max_size=70)
    | URLS
    | st.sampled_from(("\0", "\\u0000", "é" * 40, "x" * 300, "/?utm_source=%00", "::1%0"))
)
FIELDS = {
    **dict.fromkeys(
        ("event_id", "user_id", "session_id", "page", "referrer", "user_agent", "ip", "title", "type", "source"), TEXT
    ),
    **dict.fromkeys(("timestamp", "received_at", "sent_at"), st.integers(-1, 260_000_000_000_000)),
    "properties": st.dictionaries(
        st.text(max_size=10), st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT, max_size=5
    ),
}


@given(JSON)
def test_no_json_breaks_it(document):
    check(json.dumps(document).encode())


@settings(max_examples=400)
@given(st.fixed_dictionaries({}, optional=FIELDS), st.booleans())
def test_no_mutated_click_breaks_it(changes, escaped):
    document = msgspec.to_builtins(CLICK) | changes
    check(json.dumps(document, ensure_ascii=escaped).encode("utf-8", "surrogatepass"))


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), JSON, max_size=2))
def test_no_field_of_another_type_breaks_it(changes):
    check(with_changes(**changes))


@given(st.data())
def test_no_flipped_byte_breaks_it(data):
    value = bytearray(encode_click(CLICK))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(value))
