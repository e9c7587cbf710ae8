"""Liveness by partition: one that stands still beside busy ones is found, and nothing else is taken for it."""

from __future__ import annotations

import pytest

from clickstream.enricher.progress import AWAY_SECONDS, STALLED_SECONDS, Progress

LATE = STALLED_SECONDS + 2


class Enricher:
    """What the probes see of a worker; time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.next = {0: 10, 1: 10}
        self.last = {0: 0, 1: 0}
        self.progress = Progress(
            lambda: [(partition, offset, self.last[partition]) for partition, offset in self.next.items()],
            lambda: self.now,
            lambda: self.now,
        )
        self.progress.assigned()

    def seconds(self, seconds: float, ends: dict[int, int], moving: tuple[int, ...] = ()) -> None:
        for _ in range(int(seconds)):
            self.now += 1
            for partition in moving:
                self.next[partition] += 1
            self.progress.seen_ends(ends)


@pytest.fixture
def enricher() -> Enricher:
    return Enricher()


def test_a_partition_that_stands_still_beside_a_busy_one_is_found(enricher: Enricher) -> None:
    enricher.seconds(LATE, {0: 9_999, 1: 9_999}, moving=(1,))
    stuck = enricher.progress.stuck()
    assert stuck is not None
    assert "no progress: 0 for 12" in stuck


def test_partitions_at_their_end_are_well(enricher: Enricher) -> None:
    enricher.seconds(10 * LATE, {0: 10, 1: 9_999}, moving=(1,))
    assert enricher.progress.stuck() is None


def test_partitions_that_move_slowly_are_well(enricher: Enricher) -> None:
    for _ in range(5):
        enricher.seconds(STALLED_SECONDS - 1, {0: 9_999, 1: 9_999})
        enricher.next = {partition: offset + 1 for partition, offset in enricher.next.items()}
    assert enricher.progress.stuck() is None


def test_an_outage_of_the_brokers_is_no_standstill(enricher: Enricher) -> None:
    enricher.seconds(5, {0: 9_999, 1: 9_999})
    for _ in range(60):
        enricher.now += 10
        enricher.progress.away()
        assert enricher.progress.stuck() is None
    enricher.progress.answered()
    assert enricher.progress.stuck() is None
    enricher.seconds(LATE, {0: 9_999, 1: 9_999})
    assert enricher.progress.stuck() is not None


def test_brokers_that_are_away_for_a_quarter_of_an_hour_may_be_out_of_reach_for_this_process(
    enricher: Enricher,
) -> None:
    enricher.progress.revoked()
    for _ in range(int(AWAY_SECONDS + 2 * LATE) // 10):
        enricher.now += 10
        enricher.progress.away()
    assert enricher.progress.stuck() is not None


def test_a_recovery_that_reads_on_is_well_and_one_that_hangs_is_found(enricher: Enricher) -> None:
    enricher.progress.revoked()
    for _ in range(100):
        enricher.now += 10
        enricher.progress.turn()
    assert enricher.progress.stuck() is None
    enricher.now += LATE
    stuck = enricher.progress.stuck()
    assert stuck is not None
    assert "no recovery" in stuck


def test_the_lag_is_right_before_the_first_chunk(enricher: Enricher) -> None:
    enricher.progress.seen_ends({0: 1_000, 1: 10})
    assert [(partition, records) for partition, records, _ in enricher.progress.lag()] == [(0, 990), (1, 0)]


def test_a_partition_that_moved_away_is_forgotten(enricher: Enricher) -> None:
    enricher.seconds(5, {0: 9_999, 1: 9_999})
    enricher.progress.revoked()
    del enricher.next[0]
    enricher.progress.assigned()
    enricher.seconds(LATE, {1: 9_999}, moving=(1,))
    assert enricher.progress.stuck() is None


def test_what_waits_is_not_older_than_the_last_moment_without_lag(enricher: Enricher) -> None:
    """A partition that nobody writes to for hours has processed its last record long ago."""

    def seconds() -> list[float | None]:
        return [behind for _, _, behind in enricher.progress.lag()]

    enricher.progress.seen_ends({0: 1_000, 1: 10})
    assert seconds() == [None, 0.0], "nothing of the first was processed yet: how old it is nobody knows"
    enricher.last = {0: 940_000, 1: 100_000}  # ms
    assert seconds() == [60.0, 0.0]
    enricher.now += 5
    enricher.progress.seen_ends({0: 1_000, 1: 11})
    assert seconds() == [65.0, 5.0]
    enricher.progress.revoked()
    enricher.progress.seen_ends({0: 1_000, 1: 11})
    assert seconds() == [65.0, 905.0]
