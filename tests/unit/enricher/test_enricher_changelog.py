"""Recovery keeps what has applied the most, whatever a worker that slept appended afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from clickstream.enricher.changelog import RecoveryError, Replay, key_record, partition_record, tombstone
from clickstream.enricher.funnels import FunnelBook
from clickstream.enricher.sessions import MAX_SEEN, KeyState, PartitionState

GAP = GRACE = 600_000


NOW = 1_795_530_000_000


def click_at(event_time: int) -> SimpleNamespace:
    """What the fold needs of the click e1."""
    return SimpleNamespace(
        event_id="e1", event_time=event_time, storage_day="2026-11-24", user_id="u", type="page_view", page_path="/",
        medium="direct", referrer_host=None, referrer_source=None, campaign=None, device="desktop", country=None, bot=False,
    )  # fmt: skip


def empty() -> PartitionState:
    return PartitionState(GAP, GRACE, FunnelBook([]))


def replayed(*records: tuple[bytes, bytes | None, list[tuple[str, bytes]]]) -> PartitionState:
    replay = Replay()
    for record in records:
        replay.add(*record)
    state = empty()
    replay.restore(state)
    return state


def key_state(offset: int) -> KeyState:
    return KeyState(offset, [], {b"%016d" % offset: 5})


def test_the_record_with_the_highest_applied_offset_stands_not_the_last_one() -> None:
    state = replayed(key_record(b"u", key_state(90)), key_record(b"u", key_state(40)))
    assert state.keys[b"u"].offset == 90


def test_of_two_records_with_the_same_offset_the_later_stands() -> None:
    state = replayed(key_record(b"u", key_state(90)), tombstone(b"u", 90))
    assert b"u" not in state.keys


def test_a_stale_record_after_a_tombstone_does_not_bring_the_key_back() -> None:
    state = replayed(key_record(b"u", key_state(90)), tombstone(b"u", 120), key_record(b"u", key_state(80)))
    assert b"u" not in state.keys


def test_a_key_that_came_back_after_its_tombstone_is_there() -> None:
    state = replayed(key_record(b"u", key_state(90)), tombstone(b"u", 120), key_record(b"u", key_state(130)))
    assert state.keys[b"u"].offset == 130


def test_a_stale_partition_record_does_not_turn_stream_time_back() -> None:
    new, old = empty(), empty()
    new.applied, new.stream_time = 500, 9_000
    old.applied, old.stream_time = 300, 5_000
    state = replayed(partition_record(new), partition_record(old))
    assert (state.applied, state.stream_time) == (500, 9_000)


def test_a_user_cannot_be_named_so_that_the_partitions_own_record_is_hit() -> None:
    own = empty()
    own.applied, own.stream_time = 7, 8
    state = replayed(partition_record(own), key_record(b"", key_state(3)), key_record(b"p", key_state(4)))
    assert state.applied == 7
    assert set(state.keys) == {b"", b"p"}


@pytest.mark.parametrize(
    "record",
    [
        (None, b"x", [("applied", b"1")]),
        (b"ku", b"x", []),
        (b"ku", b"x", None),
    ],
)
def test_a_record_that_is_not_ours_is_refused(record: tuple[bytes, bytes, list[tuple[str, bytes]]]) -> None:
    with pytest.raises(RecoveryError, match="something else writing"):
        Replay().add(*record)


def test_a_record_that_cannot_be_decoded_is_refused() -> None:
    replay = Replay()
    replay.add(b"ku", b"\xc1", [("applied", b"1")])
    with pytest.raises(RecoveryError, match="cannot be decoded"):
        replay.restore(empty())


def test_the_noisiest_users_state_fits_a_kafka_record() -> None:
    state = KeyState(1, [], {os.urandom(16): 5_900_000 for _ in range(MAX_SEEN)})
    _, value, _ = key_record(b"u" * 256, state)
    assert value is not None
    assert len(value) < 500_000


def test_a_process_that_was_frozen_is_told_so_and_a_slow_one_is_not() -> None:
    script = (
        "import sys, time\n"
        "from clickstream.enricher.pause import PauseGuard, PausedError\n"
        "guard = PauseGuard(1.5)\n"
        "end = time.monotonic() + 2.5\n"
        "while time.monotonic() < end: sum(range(1000))\n"  # busy for longer than the limit: no pause
        "guard()\n"
        "print('busy is fine', flush=True)\n"
        "sys.stdin.readline()\n"
        "try: guard()\n"
        "except PausedError as error: print('paused:', error)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == "busy is fine\n"
    child.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(3)
    child.stdin.write("\n")
    child.stdin.flush()
    child.send_signal(signal.SIGCONT)
    assert child.stdout.readline().startswith("paused: this process was stopped")
    assert child.wait(10) == 0


@pytest.mark.parametrize(("one", "other"), [(GAP, 2 * GAP), (2 * GAP, GAP)], ids=["longer", "shorter"])
def test_an_event_id_is_known_again_though_the_gap_was_changed_in_between(one: int, other: int) -> None:
    """While a change is rolled out, partitions move between processes that run with either gap."""
    click = click_at(NOW)
    before = PartitionState(one, GRACE, FunnelBook([]))
    before.apply(b"u", click, 1)
    replay = Replay()
    replay.add(*key_record(b"u", before.keys[b"u"]))
    before.applied = 1
    replay.add(*partition_record(before))
    after = PartitionState(other, GRACE, FunnelBook([]))
    replay.restore(after)
    assert after.apply(b"u", click, 2).duplicate
    assert after.keys[b"u"].sessions[0].events == 1


def test_what_was_applied_before_is_not_made_again_from_the_state_of_now() -> None:
    """A repeated click whose corrected time is earlier by a millisecond would be told to be in no session."""
    first, repeated = click_at(NOW), click_at(NOW - 1)
    state = empty()
    assert state.apply(b"u", first, 1).session is not None
    assert state.apply(b"u", repeated, 2).duplicate
    state.applied = 2
    assert state.apply(b"u", first, 1).applied
    assert state.apply(b"u", repeated, 2).applied
