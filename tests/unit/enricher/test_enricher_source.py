"""Where reading goes on after an assignment, whatever has become of the topic meanwhile."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clickstream.enricher.source import Look, Position, mark, position_after, position_without_state

SAME, OTHER = mark(b"k", b"v"), mark(b"k", b"w")


def test_a_topic_as_it_was_is_read_on() -> None:
    assert position_after(99, 0, SAME, Look(0, 500, 99, SAME)) == Position(100, 0)
    assert position_after(1_099, 1_000, SAME, Look(0, 500, 99, SAME)) == Position(100, 1_000)


def test_records_that_the_retention_deleted_are_counted() -> None:
    assert position_after(99, 0, SAME, Look(250, 500, 250, OTHER)) == Position(250, 0, skipped=150)
    assert position_after(99, 0, SAME, Look(100, 500, 100, OTHER)) == Position(100, 0), "only the last one is gone"


def test_a_topic_that_was_created_anew_is_read_from_its_beginning() -> None:
    """Its new clicks count on from where the old ones ended."""
    assert position_after(99, 0, SAME, Look(0, 0)) == Position(0, 100, replaced=True)
    assert position_after(99, 0, SAME, Look(0, 50)) == Position(0, 100, replaced=True)
    assert position_after(99, 0, SAME, Look(0, 99)) == Position(0, 100, replaced=True)


def test_a_new_topic_that_has_already_grown_beyond_the_old_one_is_known_by_its_records() -> None:
    assert position_after(99, 0, SAME, Look(0, 5_000, 99, OTHER)) == Position(0, 100, replaced=True)
    assert position_after(1_099, 1_000, SAME, Look(30, 5_000, 99, OTHER)) == Position(30, 1_070, replaced=True)


def test_where_nobody_noted_the_last_record_only_the_end_can_tell() -> None:
    assert position_after(99, 0, None, Look(0, 5_000, 99, OTHER)) == Position(100, 0)
    assert position_after(99, 0, None, Look(0, 99)).replaced


def test_a_hole_in_place_of_the_last_record_is_no_other_record() -> None:
    assert position_after(99, 0, SAME, Look(0, 500, 101, OTHER)) == Position(100, 0)


def test_without_state_the_group_says_where_to_begin() -> None:
    assert position_without_state(-1001, Look(7, 50)) == Position(7, 0)
    assert position_without_state(20, Look(7, 50)) == Position(20, 0)
    assert position_without_state(3, Look(7, 50)) == Position(7, 0, skipped=4)
    assert position_without_state(60, Look(7, 50)) == Position(7, 0, replaced=True)


@given(st.integers(0, 50), st.integers(-20, 50), st.integers(0, 60), st.integers(0, 40), st.sampled_from((SAME, None)))
def test_logical_offsets_only_grow_and_nothing_that_is_there_is_passed_over(
    applied: int, base: int, low: int, size: int, noted: bytes | None
) -> None:
    base = min(base, applied)
    last, high = applied - base, low + size
    there = low <= last < high
    for content in (SAME, OTHER):
        found = max(last, low) if last < high and size else None
        position = position_after(applied, base, noted, Look(low, high, found, content))
        assert position.next + position.base > applied, "no record is taken for one that was applied"
        assert low <= position.next <= high
        if position.replaced:
            assert position.next == low
            assert position.next + position.base == applied + 1
        else:
            assert position.base == base
            assert position.next == max(last + 1, low)
        assert position.replaced == (last >= high or (there and noted is not None and content == OTHER))
