"""Batching is a schedule: full, or lingered long enough."""

import itertools

from clickstream.simulator.shipments import shipments
from clickstream.simulator.traffic import Outgoing


def events(*times: float) -> list[Outgoing]:
    return [Outgoing(at, f"e{number}", b"{}") for number, at in enumerate(times)]


def plan(*times: float, size: int = 3, single: float = 0.0, linger: float = 1.0) -> list[tuple[float, int, bool]]:
    return [(each.due_s, len(each.events), each.single) for each in shipments(events(*times), size, single, linger, 1)]


def test_a_full_batch_leaves_with_its_last_event():
    assert plan(0.0, 0.1, 0.2, 0.3, 0.4, 0.5) == [(0.2, 3, False), (0.5, 3, False)]


def test_a_batch_that_does_not_fill_leaves_when_its_first_event_has_waited_long_enough():
    assert plan(0.0, 0.5, 5.0, 5.1, 5.2) == [(1.0, 2, False), (5.2, 3, False)]


def test_the_last_batch_waits_for_nobody():
    assert plan(0.0, 0.1) == [(0.1, 2, False)]


def test_size_one_means_single_events():
    assert plan(0.0, 0.1, size=1) == [(0.0, 1, True), (0.1, 1, True)]


def test_a_share_travels_alone_and_nothing_is_lost_or_reordered_in_time():
    times = [number / 100 for number in range(2_000)]
    planned = list(shipments(events(*times), 20, 0.1, 0.05, 3))
    assert sum(len(each.events) for each in planned) == 2_000
    assert 100 < sum(each.single for each in planned) < 300
    assert all(one.due_s <= other.due_s for one, other in itertools.pairwise(planned))
    assert all(each.due_s >= event.due_s for each in planned for event in each.events)
