"""Reading bodies: JSON repairs, batches with their bytes, events; without any server."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.clicks import Click, decode_click, encode_click
from clickstream.tracking_api.body import decode_body
from clickstream.tracking_api.envelope import Batch, read_batch
from clickstream.tracking_api.events import Circumstances, read_event
from clickstream.tracking_api.json_text import parse, repaired
from clickstream.tracking_api.pixel import without_key, write_key_in
from clickstream.tracking_api.rejections import STATUS, Code, Rejection

HERE = Circumstances(source="web", received_at=1_769_848_200_000)
GOOD = {"event_id": "e", "timestamp": "2026-01-31T08:30:00Z", "user_id": "u", "session_id": "s", "page": "/"}

any_text = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates too
any_value = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=10,
)


def mended(value):
    """What a JavaScript engine's toWellFormed() makes of a value, in Python."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [mended(item) for item in value]
    if isinstance(value, dict):
        return {mended(name): mended(item) for name, item in value.items()}
    return value


@given(any_value)
def test_a_text_is_read_as_it_is_but_for_lone_surrogates(value):
    text = json.dumps(value).encode()
    fixed = repaired(text)
    assert len(fixed) == len(text)
    assert parse(fixed) == mended(json.loads(text))


@given(st.binary(max_size=60))
def test_a_repair_changes_nothing_but_surrogate_escapes(text):
    fixed = repaired(text)
    assert len(fixed) == len(text)
    if b"\\u" not in text:
        assert fixed == text


spaces = st.text(" \t\r\n", max_size=3).map(str.encode)


@given(
    st.lists(st.tuples(any_value.map(lambda value: json.dumps(value).encode()), spaces, spaces), min_size=1, max_size=8)
)
def test_each_event_of_a_batch_keeps_the_bytes_that_the_client_sent(events):
    body = b'{"sent_at":null,"events":[' + b",".join(before + text + after for text, before, after in events) + b"]}"
    batch = read_batch(body)
    assert isinstance(batch, Batch)
    assert batch.events == [text for text, _, _ in events]


@given(st.dictionaries(any_text | st.sampled_from([*GOOD, "properties", "ip", "type"]), any_value, max_size=6))
def test_whatever_an_event_holds_it_becomes_a_click_that_the_enricher_can_read_or_a_rejection(fields):
    judged = read_event(json.dumps(GOOD | fields).encode(), HERE)
    if isinstance(judged, Click):
        assert decode_click(encode_click(judged), 0) == judged
        assert "\\u0000" not in encode_click(judged).decode()
    else:
        assert STATUS[judged.code] in {400, 413, 422}


def test_unknown_fields_are_all_kept():
    fields = {f"field {n}": [n, {"deep": None}] for n in range(60)}
    click = read_event(json.dumps(GOOD | fields).encode(), HERE)
    assert isinstance(click, Click)
    assert {name: json.loads(value) for name, value in click.properties.items()} == fields


def test_every_code_has_a_status_that_is_no_success():
    assert set(STATUS) == set(Code)
    assert all(400 <= status <= 503 for status in STATUS.values())


def test_a_rejection_inside_a_batch_says_where():
    rejection = Rejection(Code.EMPTY, "$.page", "")
    assert rejection.inside("$.events[3]").path == "$.events[3].page"
    assert Rejection(Code.WRONG_TYPE, "$", "").inside("$.events[3]").path == "$.events[3]"


@given(st.binary(max_size=200))
def test_gzip_is_undone_or_refused_never_raised(body):
    assert decode_body(gzip.compress(body), b"text/plain", b"gzip") == body
    decode_body(body, b"text/plain", b"gzip")


@pytest.mark.parametrize(
    ("query", "key", "rest"),
    [
        (b"", None, b""),
        (b"key=k", b"k", b""),
        (b"a=1&key=k&b=2", b"k", b"a=1&b=2"),
        (b"key=a%20b+c", b"a b c", b""),
        (b"keys=1&monkey=2", None, b"keys=1&monkey=2"),
        (b"key=one&key=two", b"one", b""),
        (b"key", b"", b"key"),
        (b"a=key=b&&", None, b"a=key=b&&"),
    ],
)
def test_the_key_is_found_in_a_query_and_taken_out_of_it(query, key, rest):
    assert write_key_in(query) == key
    assert without_key(query) == rest
