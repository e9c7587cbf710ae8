"""A log that is read on, and one that is not the log any more: what a mark tells, in every case."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.sinks.continuity import Continuity, Mark, Step, fingerprint_of, mark_of


def message(value=b"v", key=b"k", time=1):
    return SimpleNamespace(timestamp=lambda: (1, time), key=lambda: key, value=lambda: value)


def judge(continuity, offset, print_of="abc"):
    return continuity.judge(offset, lambda: print_of)


def test_reading_begins_with_the_record_before_the_mark_and_takes_it_as_known():
    continuity = Continuity(Mark(10, "abc"))
    assert continuity.start == 9
    assert [judge(continuity, offset) for offset in (9, 10, 11)] == [Step.KNOWN, Step.TAKE, Step.TAKE]


def test_another_record_there_means_another_log():
    assert judge(Continuity(Mark(10, "abc")), 9, "xyz") is Step.START_AGAIN


def test_a_record_that_compaction_took_away_proves_nothing():
    continuity = Continuity(Mark(10, "abc"))
    assert [judge(continuity, 12, "xyz"), judge(continuity, 15)] == [Step.TAKE, Step.TAKE]


def test_a_mark_of_the_release_before_is_read_from_itself():
    continuity = Continuity(mark_of(10, ""))
    assert (continuity.start, judge(continuity, 10)) == (10, Step.TAKE)
    assert Continuity(None).start is None
    assert Continuity(Mark(0, "abc")).start == 0


def test_offsets_that_go_back_mean_another_log():
    continuity = Continuity(Mark(10))
    assert [judge(continuity, 10), judge(continuity, 3)] == [Step.TAKE, Step.START_AGAIN]


@pytest.mark.parametrize(
    ("mark", "low", "high", "offset", "skipped", "another"),
    [
        (Mark(10, "abc"), 15, 20, 15, 5, False),  # retention was faster
        (Mark(10, "abc"), 20, 20, 20, 10, False),  # and left nothing
        (Mark(10, "abc"), 10, 20, 10, 0, False),  # only the record before the mark is gone
        (Mark(10, "abc"), 10, 10, 10, 0, False),
        (Mark(10, "abc"), 0, 4, 0, 0, True),  # created anew, and shorter
        (Mark(10, ""), 0, 0, 0, 0, True),
        (None, 7, 9, 7, 0, False),
    ],
)
def test_where_reading_goes_on_after_a_break(mark, low, high, offset, skipped, another):
    found = Continuity(mark).broken(low, high)
    assert (found.offset, found.skipped, found.another) == (offset, skipped, another)


@given(st.integers(0, 2**62), st.text("0123456789abcdef", max_size=16), st.text("azAZ09+/_-", min_size=2, max_size=22))
def test_a_mark_comes_back_from_its_metadata(offset, print_of, topic):
    mark = Mark(offset, print_of, topic)
    assert mark_of(offset, mark.metadata(topic)) == mark


@given(st.one_of(st.none(), st.text()))
def test_other_peoples_metadata_is_no_fingerprint(text):
    assert mark_of(5, text).offset == 5


def test_a_fingerprint_tells_timestamp_key_and_value_apart():
    every = [
        message(),
        message(time=2),
        message(key=None),
        message(key=b""),
        message(value=None),
        message(b"", b"kv"),
        message(b"kv", b""),
        message(b"vk", b""),
    ]
    assert len({fingerprint_of(each) for each in every}) == len(every)
    assert fingerprint_of(message()) == fingerprint_of(message())
