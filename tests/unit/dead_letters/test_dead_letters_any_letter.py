"""Whatever lies on dead-letters: a letter or none; sent again, it is what the next stage takes; shown, it is text."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.clicks import Click, EnrichedClick, decode_click
from clickstream.contracts.dead_letters import BadRow, Origin, bad_row
from clickstream.contracts.pipeline import Kafka, Pipeline
from clickstream.contracts.session_records import Session
from clickstream.contracts.topics import RECORD_BYTES
from clickstream.dead_letters.letters import Letter
from clickstream.dead_letters.main import jq_patch
from clickstream.dead_letters.repair import PatchError, Repair, repair
from clickstream.dead_letters.text import described, difference, in_a_line, summary
from clickstream.enrichment.validation import validate
from clickstream.sinks.records import Record, read_record
from support.hostile import damaged, event_texts, json_of, nested, texts
from support.mutations import records_like

NOW = 1_769_860_800_000
KEPT = 40 * 86_400_000
PIPELINE = Pipeline("shop", "clicks", Kafka("unused:9092"))
NAMES = PIPELINE.names
RAW = Click("e", NOW, "u", "s", "/", NOW, source="web", properties={"a": 1})
CLICK = EnrichedClick("e", NOW, NOW, NOW, "2026-01-31", "u", "s", "/", "/", "home", source="web")
SESSION = Session("2026-01-01-a", "u", "2026-01-01", 1, 2, 3, 4, 5, "/", "/x", "direct", "other")

HEADER_NAMES = ["stage", "code", "reason", "path", "received_at", "version", "source", "topic", "partition", "offset",
                "key", "original_bytes", "original.x", "original.traceparent"]  # fmt: skip
GOOD_HEADERS: dict[str, bytes] = dict(
    BadRow(b"", "enrich", "c", "r", "$", NOW, source="web", origin=Origin(NAMES.raw_clicks, 1, 2, b"u")).headers()
)
numbers = st.integers().map(b"%d".__mod__) | st.sampled_from([b"9" * 5_000, b"-1", b"1e3", b" 7", b"1_0", b"\xff", b""])
header_values = (
    st.none()
    | st.binary(max_size=12)
    | numbers
    | st.sampled_from([b"collect", b"enrich", b"sink-postgres", b"elsewhere", b"s" * 300,
                       b"\x1b]0;x\x07", NAMES.sessions.encode(),
                       NAMES.enriched_clicks.encode(), b"k" * 1_024])
)  # fmt: skip
header_lists = st.builds(
    lambda changes, gone, more: [(n, v) for n, v in (GOOD_HEADERS | changes).items() if n != gone] + more,
    st.dictionaries(st.sampled_from(HEADER_NAMES), header_values, max_size=4),
    st.sampled_from(["", "", "", *GOOD_HEADERS]),
    st.lists(st.tuples(st.sampled_from(HEADER_NAMES) | st.text(max_size=4), header_values), max_size=2),
)
contents = (
    event_texts(NOW)
    | damaged(event_texts(NOW))
    | st.lists(event_texts(NOW), max_size=3).map(lambda each: b'{"events":[' + b",".join(each) + b"]}")
    | records_like(RAW)
    | records_like(CLICK)
    | records_like(SESSION)
    | st.just(b"event_id=e&timestamp=2026-01-31T08:30:00Z&user_id=u&session_id=s&page=/&x=%1b")
)


@given(st.none() | contents, st.none() | header_lists)
def test_any_record_is_a_letter_or_a_value_error(value: bytes | None, headers: Any) -> None:
    try:
        row = bad_row(value, headers)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - any other error fails the test
        return
    again = bad_row(row.value(), row.headers())
    assert (again.original, again.received_at) == (row.original, row.received_at)
    shown = described(Letter(0, 1, NOW, row, cut=False))
    assert not [char for char in shown if char != "\n" and not char.isprintable()]


stages = st.sampled_from(["collect", "enrich", "sink-postgres", "sink-elasticsearch", "elsewhere"])
origins = st.none() | st.builds(
    Origin,
    st.sampled_from([NAMES.raw_clicks, NAMES.enriched_clicks, NAMES.sessions, "other"]),
    st.integers(0, 5),
    st.integers(0, 2**62),
    st.none() | st.sampled_from([b"u", b"2026-01-01-a", b"\xff", b"k" * 1_024]),
    st.just((("version", b"7"), ("merged_into", b"2026-01-01-b"))) | st.just(()),
)


def letters(received: st.SearchStrategy[int]) -> st.SearchStrategy[Letter]:
    rows = st.builds(
        BadRow, contents, stages, st.just("c"), texts.filter(_encodes), st.just("$"), received,
        source=texts.filter(_encodes) | st.just("s" * 300), origin=origins,
    )  # fmt: skip
    return st.builds(lambda row, cut: Letter(0, 1, NOW, row, cut=cut), rows, st.just(False) | st.booleans())


def _encodes(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


patches = st.none() | st.sampled_from(
    [
        *(".", ".user_id = 7", "del(.page)", ".timestamp |= tostring", ".x = 1e1000", ".x = nan", ".x = -0", "[.]"),
        *(".x = ([55357] | implode)", "tojson", ".properties.a = [[]]", ".x = 100000000000000000000000", "to_entries"),
        '.["\\u0000"] = "\\u0000"',
    ]
).map(cache(jq_patch))


@given(letters(st.integers(0, 253_402_300_799_999)), patches)
def test_what_a_letter_becomes_is_taken_by_the_next_stage(letter: Letter, patch: Any) -> None:
    made = repair(letter, patch, PIPELINE)
    assert made.records or made.why, "it is sent, or it says why not"
    for record in made.records:
        assert len(record.value or b"") + len(record.key or b"") < RECORD_BYTES - 10_000
        if record.topic == NAMES.raw_clicks:
            assert record.value is not None
            click = validate(decode_click(record.value, NOW), record.value, NOW)
            assert isinstance(click, Click), click
            assert len(click.source) <= 256
        else:
            origin = Origin(record.topic, 0, 0, record.key, record.headers)
            assert isinstance(read_record(NAMES, origin, record.value, NOW, KEPT), Record)


values = nested | records_like(RAW).map(lambda text: text.decode("latin-1"))


PROGRAMS = (".", ".a", ".[0]", "length", "tostring", "1/0", "error", ".. |= .", "[limit(3;repeat(.))]", "repeat(.)")


@given(values, st.sampled_from(PROGRAMS).map(cache(jq_patch)))
def test_any_value_is_patched_or_a_patch_error(value: Any, patch: Any) -> None:
    plain = json.loads(json_of(value))
    try:
        json.dumps(patch(plain))
    except PatchError as error:
        assert "patch" in str(error)  # noqa: PT017 - any other error fails the test


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b"[" * 300 + b"]" * 300,
        b"9" * 30,
        b'{"a":' + b"9" * 4_000 + b"}",
        b"-0.0",
        b'"\\ud83d"',
    ],
    ids=["deep objects", "deep lists", "a large integer", "a huge integer", "zero", "half a pair"],
)
def test_the_extremes_of_json_are_patched_or_told(text: bytes) -> None:
    row = BadRow(text, "collect", "c", "r", "$", NOW)
    made = repair(Letter(0, 1, NOW, row, cut=False), jq_patch("."), PIPELINE)
    assert isinstance(made, Repair)
    assert made.why


def test_nothing_that_somebody_sent_steers_the_terminal_that_it_is_shown_on() -> None:
    attack = "\x1b]0;x\x07\r\n\x9b2J\u202e"
    origin = Origin("t", 0, 0, attack.encode(), ((attack, attack.encode()),))
    row = BadRow(attack.encode() * 100, "enrich", attack, attack, attack, NOW, source=attack, origin=origin)
    letter = Letter(0, 1, NOW, row, cut=False)
    shown = [described(letter), difference(letter, b"{}", row.original), *map(in_a_line, summary(letter).values())]
    assert all(char == "\n" or char.isprintable() for text in shown for char in text)
    assert "\\x1b]0;x\\x07" in shown[0]
    assert all("\n" not in text for text in shown[2:])


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("repeat(1)", "2 values or more"),
        ("def f: f; f", "takes more than 1 s"),
        ("[repeat(1)]", "takes more than"),
        (".user_id = ([range(1e9)] | length)", "takes more than"),
    ],
)
def test_a_program_without_an_end_costs_one_letter_its_time_and_no_other(
    program: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clickstream.dead_letters.jq_patch.SECONDS", 1.0)
    event = {"event_id": "e", "timestamp": "2026-01-31T08:30:00Z", "session_id": "s", "page": "/"}
    bad, good = (
        Letter(
            0, 1, NOW, BadRow(json.dumps(event | {"user_id": user}).encode(), "collect", "c", "r", "$", NOW), cut=False
        )
        for user in (7, "u")
    )
    patch = jq_patch(f"if .user_id == 7 then {program} else . end")
    for _ in range(2):
        made = repair(bad, patch, PIPELINE)
        assert made.why is not None
        assert says in made.why
        assert made.records == []
        assert repair(good, patch, PIPELINE).why is None
