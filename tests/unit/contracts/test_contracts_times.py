"""Times: what is accepted, what moves stream time, and where a retry is stored."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.times import (
    DAY_MS,
    EARLIEST_BELIEVED_MS,
    MAX_MS,
    event_time,
    iso_day,
    iso_time,
    parse_rfc3339,
    storage_day,
)

NOON = parse_rfc3339("2026-03-10T12:00:00Z")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-10T12:00:00.123Z", NOON + 123),
        ("2026-03-10T12:00:00.123999999Z", NOON + 123),
        ("2026-03-10T12:00:00.1Z", NOON + 100),
        ("2026-03-10t12:00:00z", NOON),
        ("2026-03-10 12:00:00+00:00", NOON),
        ("2026-03-10T13:30:00+01:30", NOON),
        ("2026-03-09T22:00:00-14:00", NOON),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("9999-12-31T23:59:59.999Z", MAX_MS),
    ],
)
def test_rfc_3339_is_understood(text: str, ms: int) -> None:
    assert parse_rfc3339(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-10",
        "2026-03-10T12:00:00",
        "2026-03-10T12:00Z",
        "2026-02-29T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-00-10T12:00:00Z",
        "2026-03-10T24:00:00Z",
        "2026-03-10T12:60:00Z",
        "2026-03-10T12:00:61Z",
        "2026-03-10T12:00:00+24:00",
        "2026-03-10T12:00:00+01:60",
        "2026-03-10T12:00:00.Z",
        "2026-03-10T12:00:00.1234567890Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "1969-12-31T23:59:59.999Z",
        "9999-12-31T23:59:59-14:00",
        "٢٠٢٦-03-10T12:00:00Z",
        "1772539200000",
        "yesterday",
        " 2026-03-10T12:00:00Z",
        "2026-03-10T12:00:00Z\n",
    ],
)
def test_what_is_naive_malformed_or_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|range|years"):
        parse_rfc3339(text)


@given(st.integers(0, MAX_MS))
def test_a_time_written_and_read_again_is_the_same(ms: int) -> None:
    assert parse_rfc3339(iso_time(ms)) == ms
    assert iso_day(ms) == iso_time(ms)[:10]


def test_the_clients_clock_error_is_taken_out_where_the_sending_time_is_known() -> None:
    an_hour_fast = NOON + 3_600_000
    assert event_time(an_hour_fast - 5_000, an_hour_fast, NOON) == NOON - 5_000
    assert event_time(NOON - 5_000, None, NOON) == NOON - 5_000


def test_the_future_beyond_a_minute_is_the_time_of_receipt() -> None:
    assert event_time(NOON + 60_000, None, NOON) == NOON + 60_000
    assert event_time(NOON + 60_001, None, NOON) == NOON
    assert event_time(MAX_MS, None, NOON) == NOON


def test_a_clock_that_was_never_set_is_not_believed_and_an_old_time_is() -> None:
    assert event_time(0, None, NOON) == NOON
    assert event_time(EARLIEST_BELIEVED_MS - 1, None, NOON) == NOON
    assert event_time(EARLIEST_BELIEVED_MS, None, NOON) == EARLIEST_BELIEVED_MS, "history that is sent in later"
    assert event_time(5_000, 9_000, NOON) == NOON - 4_000, "it has told its error"
    assert event_time(5_000, NOON, NOON) == NOON, "it was set between the two"


@given(st.integers(0, MAX_MS), st.none() | st.integers(0, MAX_MS), st.integers(EARLIEST_BELIEVED_MS, MAX_MS - 60_000))
def test_event_time_is_never_before_2000_nor_a_minute_ahead(timestamp: int, sent_at: int | None, received: int) -> None:
    assert EARLIEST_BELIEVED_MS <= event_time(timestamp, sent_at, received) <= received + 60_000


def test_the_storage_day_is_the_clients_day_where_that_can_be_believed() -> None:
    assert storage_day(NOON, NOON) == "2026-03-10"
    assert storage_day(NOON - 30 * DAY_MS, NOON) == "2026-02-08"
    assert storage_day(NOON - 30 * DAY_MS - 1, NOON) == "undated"
    assert storage_day(NOON + 2 * DAY_MS, NOON) == "2026-03-12"
    assert storage_day(NOON + 2 * DAY_MS + 1, NOON) == "undated"
    assert storage_day(0, NOON) == "undated"


@given(st.integers(NOON - 20 * DAY_MS, NOON), st.integers(0, 9 * DAY_MS))
def test_a_retry_is_stored_on_the_day_of_the_first_try(timestamp: int, later: int) -> None:
    assert storage_day(timestamp, NOON) == storage_day(timestamp, NOON + later)
    assert storage_day(timestamp, NOON) == datetime.fromtimestamp(timestamp / 1_000, UTC).date().isoformat()
