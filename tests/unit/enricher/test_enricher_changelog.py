"""Recovery keeps what has applied the most, whatever a worker that slept appended afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
from random import Random
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_digest

from clickstream.contracts.topics import RECORD_BYTES
from clickstream.enricher import changelog, event_ids
from clickstream.enricher.changelog import (
    INLINE,
    Record,
    Replay,
    gone_records,
    key_records,
    partition_record,
)
from clickstream.enricher.event_ids import BLOCK, MAX_BLOCKS
from clickstream.enricher.sessions import BOT, KeyState, PartitionState
from clickstream.enrichment.funnels import FunnelBook

GAP = GRACE = 600_000
NOW = 1_795_530_000_000


def click_at(event_time: int, event_id: str = "e1", page_path: str = "/") -> SimpleNamespace:
    """What the fold needs of a click."""
    return SimpleNamespace(
        event_id=event_id, source="web", event_time=event_time, storage_day="2026-11-24", user_id="u", type="page_view",
        page_path=page_path, medium="direct", referrer_host=None, referrer_source=None, campaign=None, device="desktop",
        country=None, bot=False,
    )  # fmt: skip


def empty(gap: int = GAP, grace: int = GRACE) -> PartitionState:
    return PartitionState(gap, grace, FunnelBook([]))


def replayed(*records: Record) -> PartitionState:
    replay = Replay()
    for record in records:
        assert replay.add(*record)
    state = empty()
    replay.restore(state)
    return state


def key_record(key: bytes, offset: int) -> Record:
    state = KeyState(offset)
    state.ids.add(b"%016d" % offset, 5)
    (record,) = key_records(key, state, -1)
    return record


def tombstone(key: bytes, applied: int) -> Record:
    (record,) = gone_records(key, KeyState(0), applied)
    return record


def test_the_record_with_the_highest_applied_offset_stands_not_the_last_one() -> None:
    state = replayed(key_record(b"u", 90), key_record(b"u", 40))
    assert state.keys[b"u"].offset == 90


def test_of_two_records_with_the_same_offset_the_later_stands() -> None:
    state = replayed(key_record(b"u", 90), tombstone(b"u", 90))
    assert b"u" not in state.keys


def test_a_stale_record_after_a_tombstone_does_not_bring_the_key_back() -> None:
    state = replayed(key_record(b"u", 90), tombstone(b"u", 120), key_record(b"u", 80))
    assert b"u" not in state.keys


def test_a_key_that_came_back_after_its_tombstone_is_there() -> None:
    state = replayed(key_record(b"u", 90), tombstone(b"u", 120), key_record(b"u", 130))
    assert state.keys[b"u"].offset == 130


def test_a_stale_partition_record_does_not_turn_stream_time_back() -> None:
    new, old = empty(), empty()
    new.applied, new.stream_time = 500, 9_000
    old.applied, old.stream_time = 300, 5_000
    state = replayed(partition_record(new), partition_record(old))
    assert (state.applied, state.stream_time) == (500, 9_000)


def test_a_user_cannot_be_named_so_that_another_record_is_hit() -> None:
    own = empty()
    own.applied, own.stream_time = 7, 8
    names = [b"", b"p", b"k", b"b\0\0u", b"x\1su", BOT]
    state = replayed(partition_record(own), *(key_record(name, 4) for name in names))
    assert state.applied == 7
    assert set(state.keys) == set(names)


@pytest.mark.parametrize(
    "record",
    [
        (None, b"x", [("applied", b"1")]),
        (b"ku", b"x", []),
        (b"ku", b"x", None),
        (b"ku", b"x", [("applied", b"1e3")]),
        (b"ku", b"x", [("applied", None)]),
        (b"ku", b"x", [("applied", b"9" * 5_000)]),
        (b"ku", b"x", [("applied", b"-2")]),
        (b"", b"x", [("applied", b"1")]),
        (b"u", b"x", [("applied", b"1")]),
        (b"b", b"x", [("applied", b"1")]),
        (b"x", b"x", [("applied", b"1")]),
        (b"x\xffshort", b"x", [("applied", b"1")]),
        (b"p", b"\xc1", [("applied", b"1")]),
        (b"p", None, [("applied", b"1")]),
        (b"p", msgspec.msgpack.encode((2**63, 1)), [("applied", b"1")]),
    ],
)
def test_a_record_that_is_not_ours_is_told_and_changes_nothing(record: Record) -> None:
    replay = Replay()
    assert not replay.add(*record)
    assert replay.ignored == 1
    state = empty()
    assert replay.restore(state) == 0
    assert (state.applied, state.stream_time) == (-1, -1)


@given(st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=12), st.integers(-5, 5)), max_size=8))
def test_no_bytes_on_the_changelog_stop_a_recovery(records: list[tuple[bytes, bytes, int]]) -> None:
    replay = Replay()
    for key, value, offset in records:
        for kind in (b"k", b"b", b"x", b"p"):
            replay.add(kind + key, value, [("applied", b"%d" % offset)])
            replay.add(key, value, [("applied", value)])
    replay.add(*key_record(b"good", 90))
    state = empty()
    replay.restore(state)
    assert state.keys[b"good"].offset == 90


def test_a_record_that_cannot_be_decoded_is_counted_and_the_others_are_restored() -> None:
    replay = Replay()
    replay.add(b"ku", b"\xc1", [("applied", b"1")])
    replay.add(*key_record(b"v", 3))
    state = empty()
    assert replay.restore(state) == 1
    assert replay.ignored == 1


def written(state: PartitionState, key: bytes = b"u") -> list[Record]:
    return key_records(key, state.keys[key], state.horizon_minute(state.stream_time))


def test_a_key_without_sessions_has_something_that_the_release_before_can_keep() -> None:
    """That release takes the latest of a key's ids for the time until which it keeps it, and ends where there is
    none."""
    state = empty()
    state.apply(b"u", click_at(NOW), 0)
    state.stream_time = NOW + GAP + GRACE
    state.applied = 0
    state.close_due(1)
    assert state.keys[b"u"].sessions == []
    (record,) = written(state)
    offset, sessions, legacy, *_ = msgspec.msgpack.decode(record[1])
    assert (offset, sessions) == (0, [])
    assert max(legacy.values()) == NOW // event_ids.MINUTE_MS
    after = replayed(record).keys[b"u"]
    assert (len(after.ids), after.legacy_until) == (1, -1), "and it is none of our ids"


def test_a_busy_user_costs_a_few_hundred_bytes_a_click_and_comes_back_whole() -> None:
    """20 clicks a second for 20 minutes, each a chunk of its own: the worst case for what is written again and
    again."""
    state, log, count = empty(), [], 20 * 60 * 20
    for number in range(count):
        state.apply(b"u" * 36, click_at(NOW + number * 50, f"0b6e3b1e-6a57-4c2c-9a4f-{number:012}"), number)
        log += written(state, b"u" * 36)
    size = sum(len(key) + len(value or b"") for key, value, _ in log)
    assert size / count < 1_000
    assert max(len(value or b"") for _, value, _ in log) < 3_000
    assert len({key for key, _, _ in log}) < 2 * MAX_BLOCKS + 2, "the compacted topic keeps a bounded number of records"
    after = replayed(*log)
    assert len(after.keys[b"u" * 36].ids) == len(state.keys[b"u" * 36].ids) > BLOCK * (MAX_BLOCKS - 1)
    assert after.keys[b"u" * 36].sessions == state.keys[b"u" * 36].sessions
    again = click_at(NOW + count * 50, f"0b6e3b1e-6a57-4c2c-9a4f-{count - 5_000:012}")
    assert after.apply(b"u" * 36, again, count).duplicate
    assert state.forgotten == count - len(state.keys[b"u" * 36].ids)


def test_a_long_grace_keeps_many_sessions_in_records_of_their_own() -> None:
    state, log = empty(grace=7 * 86_400_000), []
    for number in range(900):
        state.apply(b"u", click_at(NOW + number * (GAP + 1), f"e{number}", "/" + "p" * 1_900), number)
        log += written(state)
    assert max(len(value or b"") for _, value, _ in log) < 20_000
    assert sum(len(key) + len(value or b"") for key, value, _ in log) / 900 < 25_000
    assert replayed(*log).keys[b"u"].sessions == state.keys[b"u"].sessions
    assert len(state.keys[b"u"].sessions) == 900
    # One click joins two old sessions: they are written, the others are not.
    outcome = state.apply(b"u", click_at(NOW + 100 * (GAP + 1) + GAP // 2, "between"), 900)
    assert len(outcome.retractions) == 1
    changes = written(state)
    assert len(changes) == 3
    log += changes
    assert replayed(*log).keys[b"u"].sessions == state.keys[b"u"].sessions
    assert INLINE < 10


def visits_that_meet(seed: int) -> list[SimpleNamespace]:
    """Clicks of one user in random order, so that sessions begin, grow and are joined all the time; some come twice."""
    chance = Random(seed)
    times = [NOW + number * GAP * 7 // 10 for number in range(40)]
    chance.shuffle(times)
    clicks = [click_at(t, f"e{t}") for t in times]
    return [again for click in clicks for again in [click] * chance.choice((1, 1, 2))]


@pytest.mark.parametrize("seed", range(3))
def test_a_key_is_whole_after_a_crash_between_any_two_of_its_records(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelog, "INLINE", 1)
    monkeypatch.setattr(event_ids, "BLOCK", 2)
    clicks = visits_that_meet(seed)

    def fold(state: PartitionState, log: list[Record]) -> list[Record]:
        for offset in range(state.applied + 1, len(clicks)):
            state.apply(b"u", clicks[offset], offset)
            state.applied = offset
            log += [*key_records(b"u", state.keys[b"u"], -1), partition_record(state)]
        return log

    whole = empty(grace=7 * 86_400_000)
    log = fold(whole, [])
    assert {key[:1] for key, _, _ in log} == {b"k", b"b", b"x", b"p"}
    for cut in range(len(log)):
        stale = log[cut // 3 : cut // 3 + 6] if cut % 2 else []  # from a worker that was paused and wakes up
        state = empty(grace=7 * 86_400_000)
        replay = Replay()
        for record in [*log[:cut], *stale]:
            assert replay.add(*record)
        replay.restore(state)
        again = fold(state, [])
        assert state.keys[b"u"].sessions == whole.keys[b"u"].sessions, cut
        assert replayed(*log[:cut], *stale, *again).keys[b"u"].sessions == whole.keys[b"u"].sessions, cut


def test_the_largest_state_of_a_key_fits_a_kafka_record() -> None:
    funnels = [f"funnel-{number}" for number in range(64)]
    state = empty(grace=7 * 86_400_000)
    for number in range(2 * INLINE):
        click = click_at(NOW + number * (GAP + 1), f"e{number}", "/" + "p" * 2_047)
        for name in ("referrer_host", "referrer_source", "campaign", "medium", "device"):
            setattr(click, name, "\u20ac" * 2_700)
        outcome = state.apply(b"u" * 256, click, number)
        assert outcome.upsert is not None
        outcome.upsert.hits = {name: [(NOW + i, 32) for i in range(64)] for name in funnels}
        outcome.upsert.merged_ids = ["2026-11-24-" + "f" * 24] * 500
    for _, value, _ in written(state, b"u" * 256):
        assert len(value or b"") < RECORD_BYTES - 10_000


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
    before = empty(one)
    before.apply(b"u", click, 1)
    replay = Replay()
    for record in written(before):
        replay.add(*record)
    before.applied = 1
    replay.add(*partition_record(before))
    after = empty(other)
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


def of_the_release_before(offset: int, sessions: list, seen: dict[bytes, int]) -> Record:
    return b"ku", msgspec.msgpack.encode([offset, sessions, seen]), [("applied", b"%d" % offset)]


def test_ids_that_the_release_before_wrote_are_known_until_they_expire() -> None:
    minute = NOW // 60_000
    seen = {xxh3_128_digest(f"old{number}".encode()): minute for number in range(3 * BLOCK)}
    state = replayed(of_the_release_before(5, [], seen))
    assert state.dirty == {b"u"}, "the key is written in the new form with the next chunk"
    state.applied, state.stream_time = 5, NOW
    assert state.apply(b"u", click_at(NOW, "old0"), 6).duplicate
    state = replayed(*written(state))
    state.applied, state.stream_time = 6, NOW
    assert state.apply(b"u", click_at(NOW, f"old{3 * BLOCK - 1}"), 7).duplicate
    assert state.apply(b"u", click_at(NOW, "new"), 8).session is not None
    later = NOW + 2 * (GAP + GRACE)
    assert state.apply(b"u", click_at(later, "old0"), 9).session is not None


class KeyStateBefore(msgspec.Struct, array_like=True):
    """As the release before reads every record but the partition's."""

    offset: int
    sessions: list
    seen: dict[bytes, int]


def test_the_release_before_can_read_every_record() -> None:
    state = empty(grace=7 * 86_400_000)
    log = []
    for number in range(200):
        state.apply(b"u", click_at(NOW + number * (GAP + 1), f"e{number}"), number)
        log += written(state)
    state.applied = 199
    kinds = set()
    for key, value, headers in log:
        kinds.add(key[:1])
        assert int(dict(headers)["applied"]) >= 0
        if value is not None:
            found = msgspec.msgpack.decode(value, type=KeyStateBefore)
            assert found.sessions or found.seen, "it would look for the newest id"
    assert kinds == {b"k", b"b", b"x"}
    _, value, _ = partition_record(state, [("from", b"3")])
    assert msgspec.msgpack.decode(value or b"", type=tuple[int, int]) == (199, state.stream_time)
