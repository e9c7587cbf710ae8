"""Records: what is written is read back, and what is no click is a BadRow, never an exception."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.clicks import Click, decode_click, encode_click
from clickstream.contracts.dead_letters import VERSION, BadRow, bad_row
from clickstream.contracts.pages import key_finder, matcher, split_page
from clickstream.contracts.session_records import (
    Retraction,
    Session,
    decode_session,
    encode_session,
    storage_day_of,
)

ROOT = Path(__file__).parents[3]
CLICK = Click("e1", 1_000, "u", "s", "/", 2_000, properties={"a": 1, "b": None, "c": "ü"})


def test_a_click_is_read_back_as_it_was_written() -> None:
    assert decode_click(encode_click(CLICK), 0) == CLICK


@given(st.binary(max_size=300))
def test_no_bytes_can_make_decoding_raise(value: bytes) -> None:
    assert isinstance(decode_click(value, 5), Click | BadRow)


@pytest.mark.parametrize(
    ("value", "code", "path"),
    [
        (None, "empty_record", "$"),
        (b"", "malformed_json", "$"),
        (b"\xff", "malformed_json", "$"),
        (b'{"properties":{"a":' * 50_000, "invalid_click", "$.properties[...]"),
        (b'{"x":' * 100_000, "malformed_json", "$"),
        (b"[]", "invalid_click", "$"),
        (encode_click(CLICK).replace(b'"e1"', b"7"), "invalid_click", "$.event_id"),
        (encode_click(CLICK).replace(b'"e1"', b'""'), "invalid_click", "$.event_id"),
        (encode_click(CLICK).replace(b":1000", b":-1"), "invalid_click", "$.timestamp"),
        (encode_click(CLICK).replace(b'"a":1', b'"a":[]'), "invalid_click", "$.properties[...]"),
    ],
)
def test_bad_records_say_where_they_are_bad(value: bytes | None, code: str, path: str) -> None:
    row = decode_click(value, 5)
    assert isinstance(row, BadRow)
    assert (row.code, row.path, row.received_at, row.original) == (code, path, 5, value or b"")


def test_a_dead_letter_is_read_back_as_it_was_written() -> None:
    row = BadRow(b"\x00\xff", "collect", "bad", "because", "$.x", 77)
    assert bad_row(row.original, row.headers()) == row  # type: ignore[arg-type]


def test_the_version_in_dead_letters_is_the_distributions() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_sessions_and_retractions_are_read_back_as_they_were_written() -> None:
    session = Session(
        "2026-01-31-ab", "u", "2026-01-31", 1, 5, 9, 3, 2, "/", "/x", "direct", "mobile", merged_ids=["y"]
    )
    assert decode_session(b"2026-01-31-ab", encode_session(session), None) == session
    assert session.duration == 4
    retraction = Retraction("2026-01-31-cd", 12, "2026-01-31-ab")
    assert decode_session(b"2026-01-31-cd", None, retraction.headers()) == retraction  # type: ignore[arg-type]
    with pytest.raises((KeyError, ValueError, msgspec.MsgspecError)):
        decode_session(b"x", None, None)


@pytest.mark.parametrize("opened", [b'{"a":', b"["], ids=["objects", "lists"])
def test_no_depth_of_json_ends_a_reader_of_records(opened: bytes) -> None:
    value = opened * 3_000 + b"1" + {b"[": b"]"}.get(opened, b"}") * 3_000
    wrapped = b'{"a":' + value + b"}"
    assert isinstance(decode_click(wrapped, 5), BadRow)
    with pytest.raises(msgspec.DecodeError):
        decode_session(b"2026-01-31-ab", wrapped, None)


def test_a_session_id_tells_its_storage_day() -> None:
    assert storage_day_of("2026-01-31-0a1b") == "2026-01-31"
    assert storage_day_of("undated-0a1b") == "undated"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("/", (None, "/", "")),
        ("", (None, "", "")),
        ("/products/?a=1#top", (None, "/products", "a=1")),
        ("https://Shop.example:8080/a/b/?q", ("shop.example", "/a/b", "q")),
        ("https://shop.example", ("shop.example", "/", "")),
        ("//cdn.example/x", ("cdn.example", "/x", "")),
        ("Settings / Profile", (None, "Settings / Profile", "")),
        ("http://[broken", (None, "http://[broken", "")),
    ],
)
def test_pages_are_taken_apart(page: str, expected: tuple[str | None, str, str]) -> None:
    assert split_page(page) == expected


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/", "/", True),
        ("/", "/products", False),
        ("/products/*", "/products/item-1", True),
        ("/products/*", "/products/a/b", True),
        ("/products/*", "/products", False),
        ("/checkout", "/checkout", True),
        ("/checkout/", "/checkout", True),
        ("/checkout", "/checkout/done", False),
        ("*/done", "/checkout/done", True),
        ("/a.c", "/abc", False),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert matcher(pattern)(path) is matches


def test_a_key_is_one_segment() -> None:
    find = key_finder("/products/{key}")
    assert find("/products/item-7") == "item-7"
    assert find("/products/item-7/reviews") is None
    assert find("/products") is None
