"""From where a recovery reads: behind a round of all keys, once no earlier owner's record can need what precedes it."""

from collections.abc import Callable

import pytest

from clickstream.contracts.clicks import EnrichedClick
from clickstream.enricher import journal, worker
from clickstream.enricher.funnels import FunnelBook
from clickstream.enricher.journal import LOW, Journal
from clickstream.enricher.sessions import NOTHING_SETTLED, PartitionState

MINUTE = 60_000


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Callable[[Journal, PartitionState, int], int | None]:
    """Apply a click of a key, and give what a recovery would be told after it."""
    monkeypatch.setattr(journal, "MIN_BYTES", 1)
    monkeypatch.setattr(journal, "AHEAD", 10)
    end = 0

    def write(log: Journal, state: PartitionState, offset: int) -> int | None:
        nonlocal end
        click = EnrichedClick(f"e{offset}", 1, 1, 1, "2026-01-31", "anna", "s", "/", page_path="/", page_category="x")
        state.apply(b"anna", click, offset)
        state.applied = offset
        end += len(log.changes([], NOTHING_SETTLED))
        headers = dict(log.partition([])[2])
        log.delivered(end)
        end += 1
        return int(headers[LOW]) if LOW in headers else None

    return write


def test_a_new_owner_keeps_what_was_there_until_it_has_passed_what_the_one_before_may_still_send(
    write: Callable[[Journal, PartitionState, int], int | None],
) -> None:
    state = PartitionState(10 * MINUTE, 0, FunnelBook([]))
    log = Journal(state, None)
    found = []
    for offset in range(30):
        found.append(write(log, state, offset))
        log.passed(1)
    assert found[:10] == [None] * 10
    assert found[10] is not None
    assert found[-1] > found[10]  # the next rounds count as soon as they are over


def test_records_that_are_read_once_more_do_not_count(
    write: Callable[[Journal, PartitionState, int], int | None],
) -> None:
    state = PartitionState(10 * MINUTE, 0, FunnelBook([]))
    log = Journal(state, 7)
    assert {write(log, state, offset) for offset in range(30)} == {7}


def test_a_worker_has_no_more_under_way_than_the_journal_reckons_with() -> None:
    # The changes of one group are delivered beside the partition's records of the group before; a group is what waited
    # to be sent, and the piece that was put while the queue was full.
    assert 2 * (worker.FOLDED + 1) * worker.CHUNK_RECORDS <= journal.AHEAD
