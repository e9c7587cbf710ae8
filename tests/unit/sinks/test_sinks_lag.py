"""Lag: of what is stored, zero when nothing waits, and never older than the oldest record that does."""

from __future__ import annotations

import random

from clickstream.sinks.lag import Lag
from clickstream.sinks.patience import CAP_SECONDS, Patience

PLACE = ("topic", 0)


def read(lag, now_ms):
    ((records, labels),) = lag.records()
    ((seconds, _),) = lag.seconds(now_ms)
    assert labels == {"topic": "topic", "partition": "0"}
    return records, seconds


def test_an_idle_partition_reads_zero():
    lag = Lag()
    lag.assigned(PLACE, 100, 0)
    lag.seen_end(PLACE, 100, 1_000)
    assert read(lag, 3_600_000) == (0, 0)


def test_records_that_retention_deleted_are_waited_for_until_they_are_counted_as_lost():
    lag = Lag()
    lag.assigned(PLACE, 0, 0)
    lag.seen_end(PLACE, 100, 0)
    assert read(lag, 5_000) == (100, 5.0)
    lag.assigned(PLACE, 100, 6_000)  # reading goes on behind them
    lag.seen_end(PLACE, 100, 6_000)
    assert read(lag, 7_000) == (0, 0)


def test_a_click_after_an_idle_hour_is_not_an_hour_late():
    lag = Lag()
    lag.assigned(PLACE, 0, 0)
    lag.seen_end(PLACE, 0, 0)
    lag.stored(PLACE, 1, 10, 20)
    lag.seen_end(PLACE, 1, 3_600_000)
    lag.seen_end(PLACE, 2, 3_600_500)
    assert read(lag, 3_601_000) == (1, 1.0)
    lag.waiting(PLACE, 3_600_400)
    assert read(lag, 3_601_000) == (1, 0.6)


def test_a_batch_that_waits_ages_until_it_is_stored():
    lag = Lag()
    lag.assigned(PLACE, 0, 0)
    lag.seen_end(PLACE, 10, 1_000)
    lag.waiting(PLACE, 500)
    lag.waiting(PLACE, 900)
    assert read(lag, 60_500) == (10, 60.0)
    lag.stored(PLACE, 10, 900, 61_000)
    assert read(lag, 61_000) == (0, 0)


def test_a_revoked_partition_is_not_shown():
    lag = Lag()
    lag.assigned(PLACE, 0, 0)
    lag.revoked([PLACE])
    lag.seen_end(PLACE, 10, 0)
    lag.stored(PLACE, 3, 0, 0)
    assert list(lag.records()) == []


def test_patience_grows_to_a_cap_and_never_ends():
    patience = Patience(random.Random(1))
    waits = [patience.next_wait() for _ in range(5_000)]
    assert 0.05 <= waits[0] <= 0.1
    assert all(CAP_SECONDS / 2 <= wait <= CAP_SECONDS for wait in waits[10:])
    assert len(set(waits[10:])) > 1_000, "replicas do not ask all at once"
    patience.reset()
    assert patience.next_wait() <= 0.1
