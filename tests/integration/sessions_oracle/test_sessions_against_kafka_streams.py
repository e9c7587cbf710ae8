"""Our session fold gives what Kafka Streams' SessionWindows gives, record by record, on many random streams.

What Kafka Streams KEEPS is compared: at a window end of exactly stream time − gap − grace it forwards a result that its
store then refuses; ours calls that click late. A click that leaves a session's window as it was (same time again) makes
Kafka Streams forward the new count without a retraction, so changes of the kept sessions are compared, not messages.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

from clickstream.contracts.clicks import EnrichedClick
from clickstream.enricher.sessions import PartitionState
from clickstream.enrichment.funnels import FunnelBook

MINUTE = 60_000
GAP = 10 * MINUTE
ENDLESS = 10**12
GRACES = (0, 10 * MINUTE, 23 * 60 * MINUTE + 50 * MINUTE)
STREAMS = 10_000
FRESH = 300
SEED = 20_260_131


def random_stream(dice: random.Random, grace: int) -> list[tuple[str, int]]:
    """Several visitors: bursts, pauses of about a gap, clicks from the past around every edge of the rule, long
    silences."""
    keys = "abcd"[: dice.randint(1, 4)]
    latest = dice.randint(0, 3) * GAP + grace
    times: list[int] = []
    records = []
    for _ in range(dice.randint(5, 40)):
        kind = dice.random()
        if kind < 0.35:
            time = latest + dice.randint(0, GAP // 2)
        elif kind < 0.55:
            time = (dice.choice(times) if times else latest) + dice.choice((-1, 1)) * (GAP + dice.randint(-1, 1))
        elif kind < 0.65 and times:
            time = dice.choice(times)
        elif kind < 0.75:
            time = latest - GAP - grace + dice.randint(-1, 1)
        elif kind < 0.85:
            time = latest - grace + dice.randint(-1, 1)
        elif kind < 0.95:
            time = latest - dice.randint(0, 2 * GAP + grace)
        else:
            time = latest + dice.randint(GAP, 2 * GAP + grace)
        time = max(0, time)
        latest = max(latest, time)
        times.append(time)
        records.append((dice.choice(keys), time))
    return records


def click(key: str, time: int, event_id: str) -> EnrichedClick:
    day = "2026-01-31"
    return EnrichedClick(event_id, time, time, time, day, key, "s", "/", page_path="/", page_category="home")


class OurFold:
    """Folds a stream, keeping account of the windows that are published, and closing sessions now and then."""

    def __init__(self, gap: int, grace: int, dice: random.Random) -> None:
        self.state = PartitionState(gap, grace, FunnelBook([]))
        self.kept: dict[tuple[str, int, int], int] = {}
        self.closed: dict[str, tuple[str, int, int]] = {}
        self._by_id: dict[str, tuple[str, int, int]] = {}
        self._offset = -1
        self._dice = dice

    def take(self, key: str, time: int) -> None:
        self._offset += 1
        if self._dice.random() < 0.3:
            self._close()
        outcome = self.state.apply(key.encode(), click(key, time, f"e{self._offset}"), self._offset)
        self.state.applied = self._offset
        assert outcome.late == (outcome.session is None) == (outcome.upsert is None)
        for retraction in outcome.retractions:
            assert retraction.merged_into == outcome.session
            del self.kept[self._by_id.pop(retraction.id)]
        if outcome.upsert is not None:
            session = outcome.upsert
            assert session.id == outcome.session
            assert session.id not in self.closed
            if session.id in self._by_id:
                del self.kept[self._by_id[session.id]]
            window = self._by_id[session.id] = (key, session.start, session.end)
            assert window not in self.kept
            self.kept[window] = session.events

    def _close(self) -> None:
        for session in self.state.close_due(1_000_000)[0]:
            assert session.closed
            window = self.closed[session.id] = self._by_id[session.id]
            assert (window, self.kept[window]) == ((session.user_id, session.start, session.end), session.events)

    def stored(self) -> dict[tuple[str, int, int], int]:
        horizon = self.state.stream_time - self.state.gap - self.state.grace
        return {
            (key.decode(), session.start, session.end): session.events
            for key, found in self.state.keys.items()
            for session in found.sessions
            if session.end > horizon
        }


def test_every_record_changes_the_sessions_as_it_does_in_kafka_streams(
    kafka_streams: Callable, oracle_stream: type
) -> None:
    dice = random.Random(SEED)
    streams = []
    for number in range(STREAMS):
        grace = GRACES[number % len(GRACES)]
        records = random_stream(dice, grace)
        streams.append(oracle_stream(GAP, grace, records, fresh_driver=number < FRESH))
    merges = lates = unkept = exact = 0
    for number, (stream, answer) in enumerate(zip(streams, kafka_streams(streams), strict=True)):
        fold = OurFold(stream.gap, stream.grace, dice)
        theirs: dict[tuple[str, int, int], int] = {}
        stream_time = -1
        for index, ((key, time), forwarded) in enumerate(zip(stream.records, answer.forwarded, strict=True)):
            stream_time = max(stream_time, time)
            retracted = 0
            for window, count in forwarded:
                if count is None:
                    del theirs[window]
                    retracted += 1
                elif window[2] <= stream_time - stream.gap - stream.grace:
                    assert window[2] == stream_time - stream.gap - stream.grace
                    assert (window, count, retracted) == ((key, time, time), 1, 0)
                    unkept += 1
                else:
                    theirs[window] = count
            fold.take(key, time)
            merges += retracted > 1
            lates += not forwarded
            where = f"stream {number} (grace {stream.grace}), after record {index} of {stream.records}"
            assert fold.kept == theirs, where
        assert fold.stored() == answer.stored, f"stream {number}: {stream.records}"
        exact += any(abs(b - a) == GAP for (_, a), (_, b) in pairwise(sorted(stream.records)))
    # The streams did contain what they are there for.
    assert min(merges, lates, unkept, exact) > STREAMS // 20, (merges, lates, unkept, exact)


def test_streams_that_share_a_driver_get_the_same_answers_as_those_with_their_own(
    kafka_streams: Callable, oracle_stream: type
) -> None:
    dice = random.Random(SEED + 1)
    grace_and_records = [(grace, random_stream(dice, grace)) for _ in range(100) for grace in GRACES]
    shared = kafka_streams([oracle_stream(GAP, grace, records) for grace, records in grace_and_records])
    own = kafka_streams([oracle_stream(GAP, grace, records, fresh_driver=True) for grace, records in grace_and_records])
    assert shared == own


def test_with_endless_grace_the_sessions_are_those_of_sorting_and_cutting() -> None:
    dice = random.Random(SEED + 2)
    for number in range(3_000):
        records = random_stream(dice, GRACES[number % len(GRACES)])
        fold = OurFold(GAP, ENDLESS, dice)
        for key, time in records:
            fold.take(key, time)
        assert fold.kept == sort_and_cut(records), records


def sort_and_cut(records: list[tuple[str, int]]) -> dict[tuple[str, int, int], int]:
    """The plain definition: a session is a run of one key's clicks, sorted by time, without a pause longer than the
    gap."""
    sessions: dict[tuple[str, int, int], int] = {}
    for key in {key for key, _ in records}:
        times = sorted(time for name, time in records if name == key)
        cuts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(times)) if b - a > GAP), len(times)]
        for begin, end in pairwise(cuts):
            sessions[key, times[begin], times[end - 1]] = end - begin
    return sessions
