"""Lag: of what is stored, zero when nothing waits, and never older than the oldest record that does."""

from __future__ import annotations

import random

from clickstream.runtime.backoff import CAP_SECONDS, Backoff
from clickstream.sinks.lag import Lag

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


def test_seconds_since_an_assignment_are_estimated_until_something_is_known():
    """Behind a store that is away a sink that starts anew may have clicks of days before it."""

    def is_estimated(lag: Lag) -> bool:
        ((_, labels),) = lag.seconds(8_000)
        return labels.get("estimated") == "true"

    lags = [Lag(), Lag(), Lag()]
    for lag, end in zip(lags, (10, 10, 1), strict=True):
        lag.assigned(PLACE, 0, 5_000)
        lag.seen_end(PLACE, end, 6_000)
    assert all(map(is_estimated, lags))
    lags[0].waiting(PLACE, 500)
    lags[1].stored(PLACE, 5, 900, 7_000)
    lags[2].assigned(PLACE, 1, 7_000)
    lags[2].seen_end(PLACE, 1, 7_000)
    assert not any(map(is_estimated, lags))


def test_a_revoked_partition_is_not_shown():
    lag = Lag()
    lag.assigned(PLACE, 0, 0)
    lag.revoked([PLACE])
    lag.seen_end(PLACE, 10, 0)
    lag.stored(PLACE, 3, 0, 0)
    assert list(lag.records()) == []


def test_backoff_grows_to_a_cap_and_never_ends():
    backoff = Backoff(source=random.Random(1))
    waits = [backoff.next_wait() for _ in range(5_000)]
    assert 0.05 <= waits[0] <= 0.1
    assert all(CAP_SECONDS / 2 <= wait <= CAP_SECONDS for wait in waits[10:])
    assert len(set(waits[10:])) > 1_000, "replicas do not ask all at once"
    backoff.reset()
    assert backoff.next_wait() <= 0.1
