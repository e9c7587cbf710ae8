"""However hostile a record and the rows that it is joined with are, what comes out fits into a record of the topic."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clickstream.contracts.clicks import Click, EnrichedClick, encode_enriched
from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.pipeline import Enricher, Join, Kafka, PageCategory, Pipeline
from clickstream.contracts.topics import RECORD_BYTES
from clickstream.enricher.join_rows import MAX_ROW, MAX_WRITTEN, read_key, read_row
from clickstream.enrichment.flow import Flow
from clickstream.enrichment.validation import MAX_RECORD
from clickstream.runtime.geoip import no_country
from support.records import decode_enriched

ROOM = RECORD_BYTES - 2_048
"""What a record's value may have: its key, a traceparent and Kafka's own frame take less than the rest."""
NOW = 1_769_860_800_000
CLICK = msgspec.to_builtins(Click("e", NOW, "u", "s", "/" + '"' * 1_000, NOW))
NAMES = [f"{number:03}" + '"' * 253 for number in range(16)]


def largest_row() -> dict[str, object]:
    """Numbers in a nested list grow to four times what they were."""
    fitting = (read_row(b'{"a":[' + b"1e15," * floats + b"1]}") for floats in itertools.count(1_000, 10))
    return list(itertools.takewhile(lambda row: row is not None, fitting))[-1]


ROW = largest_row()
PIPELINE = Pipeline(
    "shop",
    "clicks",
    Kafka("unused:9092"),
    enricher=Enricher(
        joins=[Join(name, "t", "*{key}*") for name in NAMES], page_categories=[PageCategory("c" * 256, "*")]
    ),
)


class EveryKey(dict[str, dict[str, object]]):
    def get(self, _: object) -> dict[str, object]:  # type: ignore[override]
        return ROW


FLOW = Flow(PIPELINE, no_country, dict.fromkeys(NAMES, EveryKey()))  # type: ignore[arg-type]


def enriched(value: bytes) -> bytes | BadRow:
    draft = FLOW.enrich(value, NOW)
    if isinstance(draft, EnrichedClick):
        return encode_enriched(draft.finish("2026-01-31-" + "f" * 32, late=True))
    assert draft.value() == value[: len(draft.value())]
    return draft


def click(**changes: object) -> bytes:
    return json.dumps(CLICK | changes, ensure_ascii=False, separators=(",", ":")).encode()


def filled(before: bytes, parts: Iterator[bytes], behind: bytes, size: int) -> bytes:
    """As many parts as a record of that size takes."""
    taken, left = [before], size - len(before) - len(behind) - 8
    for part in parts:
        if (left := left - len(part)) < 0:
            break
        taken.append(part)
    return b"".join([*taken, b'"":0', behind])


def names() -> Iterator[bytes]:
    letters = [chr(number).encode() for number in range(0x5D, 0x7F)]
    for length in itertools.count(1):
        yield from (b"".join(each) for each in itertools.product(letters, repeat=length))


WIDE = {"page": "https://x/k?" + "&".join(f"utm_{each}=" + "%22" * 256 for each in ("source", "medium"))}
WORST: dict[str, bytes] = {
    "numbers that are written longer": filled(
        click()[:-1] + b',"properties":{', (b'"%b":1e15,' % name for name in names()), b"}}", MAX_RECORD
    ),
    "quotation marks": click(**WIDE, properties={f"{n:03}": '"' * 8_000 for n in range(7)}, title='"' * 8_000),
    "control characters": click(properties={"a": "\x01" * 8_000, "b": "\x1f" * 8_000}, title="\x02" * 4_000),
    "NUL": click(properties={"a": "\0" * 8_192, "b": "\0" * 8_192}),
    "long texts": click(referrer="http://" + "é" * 250 + "/" + "x" * 7_000, user_agent="é" * 8_000, ip="1" * 8_000),
}


@pytest.mark.parametrize("kind", WORST)
def test_the_largest_click_with_the_largest_rows_fits_into_a_record(kind: str) -> None:
    assert len(WORST[kind]) <= MAX_RECORD
    found = enriched(WORST[kind])
    assert isinstance(found, bytes)
    assert len(found) <= ROOM
    click = decode_enriched(found)
    assert len(click.joins) == 16
    assert len(msgspec.json.encode(click.joins[NAMES[0]])) > 0.95 * MAX_WRITTEN


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=1_000)
@given(st.binary(max_size=60) | JSON.map(lambda each: json.dumps(each).encode("utf-8", "surrogatepass")))
@example(b"{" * 16_000)
@example(b'{"a":' + b"[" * 8_000 + b"]" * 8_000 + b"}")
@example(b'{"a":' + b"[" * 900 + b"]" * 900 + b"}")
@example(b'{"a":' + b"9" * 16_000 + b"}")
@example(b'{"a":' + b"9" * 5_000 + b"}")
@example(b'{"a":1e999}')
@example(b'{"a":"\\ud800"}')
@example(b'{"a":NaN}')
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_are_a_row_or_none(value: bytes) -> None:
    row = read_row(value)
    if row is not None:
        assert len(msgspec.json.encode(row)) <= MAX_WRITTEN
        assert "\0" not in "".join([*row, *(each for each in row.values() if isinstance(each, str))])
    key = read_key(value)
    assert key is None or (key and key.encode() == value)


def test_a_record_that_is_too_large_is_no_row() -> None:
    assert read_row(b'{"a":"' + b"x" * (MAX_ROW - 8) + b'"}') == {"a": "x" * (MAX_ROW - 8)}
    assert read_row(b'{"a":"' + b"x" * (MAX_ROW - 7) + b'"}') is None
    assert read_row(b'{"a":[' + b"1e15," * 3_000 + b"1]}") is None
    assert read_key(b"k" * 2_049) is None
    assert read_key(b"") is None


TEXT = st.text(min_size=1, max_size=40) | st.sampled_from(
    (
        "\0",
        "https://[",
        "//",
        "/" * 2_048,
        "é" * 1_024,
        "%",
        "%00",
        "::1%0",
        "\u202e",
        "x" * 9_000,
        "\\u0000",
        "http://a@[::1]:x/",
    )
)
TIMES = st.integers(-1, 2**53) | st.floats() | st.none()
FIELDS: dict[str, st.SearchStrategy[object]] = {
    **dict.fromkeys(
        (*("event_id", "user_id", "session_id", "page", "referrer", "user_agent"),
         *("ip", "title", "type", "source", "country")), TEXT
    ),
    **dict.fromkeys(("timestamp", "received_at", "sent_at"), TIMES),
    "properties": st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | st.floats() | TEXT, max_size=5),
}  # fmt: skip


@settings(max_examples=3_000)
@given(st.fixed_dictionaries({}, optional=FIELDS), st.booleans(), st.integers(0, 2**62) | st.none())
def test_a_hostile_click_with_the_largest_rows_is_enriched_or_refused(
    changes: dict[str, object], escaped: bool, record_time: int | None
) -> None:
    value = json.dumps(CLICK | changes, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    assert isinstance(FLOW.enrich(value, record_time), EnrichedClick | BadRow)
    found = enriched(value)
    assert isinstance(found, BadRow) or len(found) <= ROOM


@settings(max_examples=2_000)
@given(st.binary(max_size=300))
def test_hostile_bytes_are_enriched_or_refused(value: bytes) -> None:
    assert isinstance(enriched(value), bytes | BadRow)
