"""Dead letters: what is said of bad input survives, and no input makes a letter that its topic would not take."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clickstream.contracts.dead_letters import KEPT_BYTES, BadRow, Origin, bad_row
from clickstream.contracts.times import MAX_MS
from clickstream.contracts.topics import RECORD_BYTES

ORIGIN = Origin("t", 3, 2**62, b"user", (("traceparent", b"00-x"), ("empty", None)))


def test_what_is_said_of_an_input_can_be_read_back() -> None:
    row = BadRow(b"\x00\xff", "enrich", "bad", "because", "$.x", 77, source="web", origin=ORIGIN)
    found = bad_row(row.value(), row.headers())
    assert found.origin is not None
    assert found.origin.headers == (("traceparent", b"00-x"), ("empty", b""))
    assert (found.original, found.stage, found.code, found.reason, found.source) == (
        b"\x00\xff",
        "enrich",
        "bad",
        "because",
        "web",
    )
    assert (found.origin.topic, found.origin.partition, found.origin.offset, found.origin.key) == (
        "t",
        3,
        2**62,
        b"user",
    )


def test_a_letter_of_a_release_that_did_not_name_the_origin_can_be_read() -> None:
    row = BadRow(b"{}", "enrich", "bad", "because", "$", 1)
    assert bad_row(row.value(), row.headers()) == row


def test_a_record_that_is_no_dead_letter_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="stage"):
        bad_row(b"{}", [("x", b"y")])
    with pytest.raises(ValueError, match="stage"):
        bad_row(None, None)


def test_a_cut_original_says_so() -> None:
    row = BadRow(b"x" * (KEPT_BYTES + 1), "enrich", "too_long", "more than 5 bytes", "$", 1)
    headers = dict(row.headers())
    assert len(row.value()) == KEPT_BYTES
    assert headers["original_bytes"] == b"900001"
    assert headers["reason"] == b"more than 5 bytes; the first 900000 of 900001 bytes are kept"


sizes = st.integers(0, 3_000_000)


@given(sizes, sizes, sizes, st.integers(0, 2_000), st.integers(0, 100_000))
@example(KEPT_BYTES, 3_000_000, 3_000_000, 2_000, 100_000)
@example(KEPT_BYTES, 0, 0, 300_000, 0)
def test_no_input_makes_a_letter_that_the_topic_refuses(
    value: int, key: int, header: int, headers: int, reason: int
) -> None:
    origin = Origin("t" * 249, 2**31 - 1, 2**63 - 1, b"k" * key, (("n" * (header // 2), b"h" * header),) * headers)
    row = BadRow(b"v" * value, "sink-elasticsearch", "c" * 64, "€" * reason, "$" * reason, MAX_MS, origin=origin)
    size = len(row.value()) + sum(len(name) + len(content) + 10 for name, content in row.headers())
    assert size < RECORD_BYTES - 1_000
    bad_row(row.value(), row.headers())
