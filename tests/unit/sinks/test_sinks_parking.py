"""Parked records: tried again with growing pauses, bounded, given up only while others are taken."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from clickstream.sinks.continuity import Mark
from clickstream.sinks.parking import Bounds, Parking
from clickstream.sinks.records import Record, StoredClick

CLICK = msgspec.convert(
    dict.fromkeys(
        ("event_id", "user_id", "client_session_id", "page", "page_path", "page_category", "storage_day"), "x"
    )
    | dict.fromkeys(("timestamp", "event_time", "received_at"), 0),
    StoredClick,
)


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


def record(offset, partition=0, size=1):
    return Record(CLICK, ("clicks", partition), offset, b"x" * size, offset * 10)


def park(parking, *records, target="old"):
    for each in records:
        parking.add(target, each, Mark(each.offset, f"before {each.offset}"), "read-only")


@pytest.fixture
def clock():
    return Clock()


def test_a_target_is_tried_after_a_growing_pause_and_forgotten_once_all_is_stored(clock):
    parking = Parking(clock=clock)
    records = [record(n) for n in range(5)]
    park(parking, *records)
    assert (parking.holds("old"), parking.holds("new"), parking.count, parking.due(10)) == (True, False, 5, None)
    pauses = []
    for _ in range(8):
        before = clock.now
        while parking.due(3) is None:
            clock.now += 0.01
        pauses.append(clock.now - before)
        assert parking.due(3) == ("old", records[:3])
        parking.tried("old", records[:3], records[:3], "still read-only")
    assert pauses[-1] > 4 * pauses[1]
    assert "still read-only" in parking.reason()
    clock.now += 10
    parking.tried("old", records[:3], records[1:2], None)
    clock.now += 10
    assert parking.due(10) == ("old", [records[1], *records[3:]]), "in their order"
    parking.tried("old", parking.due(10)[1], [], None)
    assert (parking.holds("old"), parking.count, parking.marks()) == (False, 0, {})


def test_a_partition_stands_before_its_first_parked_record(clock):
    parking = Parking(clock=clock)
    park(parking, record(7), record(9), record(4, partition=1))
    park(parking, record(5), target="older")
    assert parking.marks() == {("clicks", 0): (Mark(5, "before 5"), 50), ("clicks", 1): (Mark(4, "before 4"), 40)}
    parking.drop([("clicks", 0)])
    assert (parking.count, list(parking.marks())) == (1, [("clicks", 1)])
    assert not parking.holds("older")


def test_records_of_a_partition_that_moved_while_they_were_tried_do_not_count_others_as_stored(clock):
    parking = Parking(clock=clock)
    ours, theirs = [record(n) for n in range(3)], [record(n, partition=1) for n in range(3)]
    park(parking, *theirs, *ours)
    parking.drop([("clicks", 1)])
    parking.tried("old", theirs, [], None)
    assert parking.count == 3


@pytest.mark.parametrize(
    ("bounds", "left"), [(Bounds(records=6), 3), (Bounds(size=6 * 1_100), 3), (Bounds(seconds=60), 2)]
)
def test_what_is_too_old_or_too_much_is_given_up_the_oldest_first(bounds, left, clock):
    parking = Parking(bounds, clock)
    for n in range(6):
        park(parking, record(n))
        clock.now += 30
    parking.taken(Counter(click=100))
    assert [each.offset for each in parking.overdue()] == list(range(6 - left))
    assert (parking.count, parking.full(), parking.overdue()) == (left, False, [])


def test_nothing_is_given_up_while_the_store_takes_hardly_anything_of_that_kind(clock):
    parking = Parking(Bounds(records=6), clock)
    park(parking, *(record(n) for n in range(8)))
    parking.taken(Counter(click=1, session=1_000, retraction=10))
    assert (parking.overdue(), parking.full()) == ([], True)
    clock.now += 100_000
    assert (parking.overdue(), parking.full()) == ([], True)
    parking.taken(Counter(click=2))
    assert len(parking.overdue()) == 8
    assert not parking.full()


def test_an_old_record_alone_never_makes_the_store_be_waited_for(clock):
    parking = Parking(clock=clock)
    park(parking, record(1))
    clock.now += 100_000
    assert (parking.overdue(), parking.full()) == ([], False)
