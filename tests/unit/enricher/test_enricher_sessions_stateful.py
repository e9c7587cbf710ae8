"""Whatever happens to the workers, the sessions that the stores end up with are those of one undisturbed reading.

Hypothesis drives one partition through clicks (out of order, duplicated), chunks of any size, crashes between any two
delivered records, rebalances, replays from earlier offsets, and a paused worker that wakes up and sends what it had left.
The store here keeps what the sinks' promise says: a session record that is not newer than the one it has is ignored.
The expectation is written down a second time, naively, from the rule in the design.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from clickstream.contracts.kafka import header
from clickstream.contracts.session_records import Session, decode_session
from clickstream.enricher import changelog, event_ids, journal
from clickstream.enricher.changelog import PARTITION_KEY, Replay
from clickstream.enricher.enrichments.draft import Draft
from clickstream.enricher.funnels import FunnelBook
from clickstream.enricher.journal import LOW, Journal
from clickstream.enricher.processing import Effects, Processing
from clickstream.enricher.sessions import PartitionState

MINUTE = 60_000
GAP = 10 * MINUTE
START = 1_000 * GAP
FLUSH = "flush"
KINDS = st.sampled_from(("on", "on", "gap", "back", "edge", "jump"))


@dataclass
class Visit:
    """A session as the rule has it."""

    start: int
    end: int
    events: int
    version: int
    absorbed: int = 0


@dataclass
class Rule:
    """The session rule, record by record, with nothing clever in it."""

    grace: int
    stream_time: int = -1
    visits: dict[str, list[Visit]] = field(default_factory=dict)
    known: set[tuple[str, str]] = field(default_factory=set)

    def take(self, offset: int, key: str, t: int, event_id: str) -> None:
        before = self.stream_time
        self.stream_time = max(before, t)
        person = key.lower()  # a bot's clicks make sessions of their own, and an event is one event all the same
        if (person, event_id) in self.known:
            return
        self.known.add((person, event_id))
        mine = self.visits.setdefault(key, [])
        live = [visit for visit in mine if visit.end > before - GAP - self.grace]
        hits = sorted((v for v in live if v.end >= t - GAP and v.start <= t + GAP), key=lambda v: v.start)
        end = max([t, *(visit.end for visit in hits)])
        if end <= self.stream_time - GAP - self.grace:
            return
        for visit in hits:
            mine.remove(visit)
        merged = Visit(min([t, *(visit.start for visit in hits)]), end, 1, offset)
        merged.events += sum(visit.events for visit in hits)
        merged.absorbed = sum(visit.absorbed for visit in hits) + max(0, len(hits) - 1)
        mine.append(merged)


class FakeFlow:
    """Records hold drafts already. A key in capitals is a bot of that name."""

    def enrich(self, value: tuple[str, int, str], record_time: int) -> Draft:
        key, t, event_id = value
        draft = Draft(event_id, t, t, t, "2026-01-31", key.lower(), "s", "/", page_path="/", page_category="home")
        draft.bot = key.isupper()
        return draft


Record = tuple[bytes, bytes | None, list]
Delivery = tuple[str, Record]


class CrashError(Exception):
    """The process is killed between two records."""


class Partition(RuleBasedStateMachine):
    """One source partition, its workers, its changelog, and the store behind the sessions topic."""

    keys: tuple[str, ...] = ("a", "b", "c", "A")
    graces: tuple[int, ...] = (0, 10 * MINUTE, 23 * 60 * MINUTE + 50 * MINUTE)

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.grace = data.draw(st.sampled_from(self.graces))
        self.log: list[tuple[str, int, str]] = []
        self.latest = START
        self.changelog: list[Record] = []
        self.store: dict[str, tuple[int, Session | None]] = {}
        self.left_over: list[Delivery] = []
        self.processing = Processing(FakeFlow(), "user_id")
        self.committed = 0
        self.recover(0)

    def recover(self, back: int) -> None:
        newest = Replay()
        for record in self.changelog:
            if record[0] == PARTITION_KEY:
                newest.add(*record)
        text = header(newest.partition_headers, LOW)
        low = None if text is None else int(text)
        replay = Replay()
        for record in self.changelog[low or 0 :]:
            assert replay.add(*record)
        self.state = PartitionState(GAP, self.grace, FunnelBook([]))
        replay.restore(self.state)
        self.journal = Journal(self.state, low)
        self.budget = -1
        self.write_partition()
        self.position = max(0, self.committed - back)

    def fold(self, size: int) -> None:
        """What `Partitions.process` does with a chunk."""
        while (closed := self.processing.close(self.state)) is not None:
            self.write(closed)
        records = [
            SimpleNamespace(
                topic="t", partition=0, offset=offset, key=b"", value=self.log[offset], timestamp=0, headers=()
            )
            for offset in range(self.position, min(self.position + size, len(self.log)))
        ]
        self.write(self.processing.chunk(self.state, records))
        self.position += len(records)

    def write(self, effects: Effects) -> None:
        """What `Partitions._write` does."""
        deliveries: list[Delivery] = [("session", record) for record in effects.sessions]
        # The changes are made when the output is out: the rest of them may be what a paused worker sends later.
        changes: list[Delivery] = [("change", record) for record in self.journal.changes(effects.gone)]
        self.deliver([*deliveries, *changes, ("change", self.journal.partition([]))])
        self.journal.delivered(len(self.changelog) - 1)

    def write_partition(self) -> None:
        self.deliver([("change", self.journal.partition([]))])
        self.journal.delivered(len(self.changelog) - 1)

    def deliver(self, deliveries: list[Delivery]) -> None:
        for number, (kind, (key, value, headers)) in enumerate(deliveries):
            if self.budget == 0:
                self.left_over = deliveries[number:]
                raise CrashError
            self.budget -= 1
            if kind == "change":
                self.changelog.append((key, value, headers))
                continue
            record = decode_session(key, value, headers)
            known = self.store.get(record.id)
            if known is None or record.version > known[0]:
                self.store[record.id] = (record.version, record if isinstance(record, Session) else None)

    @rule(steps=st.lists(st.tuples(st.integers(0, 3), KINDS, st.integers(-1, 1)), min_size=1, max_size=6))
    def clicks(self, steps: list[tuple[int, str, int]]) -> None:
        for who, kind, step in steps:
            key = self.keys[who]
            t = {
                "on": self.latest + (step + 1) * MINUTE,
                "gap": self.latest + GAP + step,
                "back": self.latest - GAP - step,
                "edge": self.latest - GAP - self.grace + step,
                "jump": self.latest + 2 * GAP + self.grace + step,
            }[kind]
            self.log.append((key, t, f"e{len(self.log)}"))
            self.latest = max(self.latest, t)

    def recent(self) -> list[tuple[str, int, str]]:
        """Records inside the session horizon: their duplicates are promised to be recognized."""
        return [record for record in self.log if record[1] > self.latest - GAP - self.grace]

    @precondition(lambda self: self.recent())
    @rule(data=st.data())
    def duplicate(self, data: st.DataObject) -> None:
        key, t, event_id = data.draw(st.sampled_from(self.recent()))
        # What sends it again may call itself otherwise, and its clock may have moved.
        self.log.append(
            (key.swapcase() if data.draw(st.booleans()) else key, t + data.draw(st.integers(-1, 1)), event_id)
        )

    @precondition(lambda self: self.position < len(self.log))
    @rule(size=st.integers(1, 10))
    def process(self, size: int) -> None:
        self.fold(size)
        self.committed = self.position

    @precondition(lambda self: self.position < len(self.log))
    @rule(size=st.integers(1, 10), cut=st.integers(0, 40), back=st.integers(0, 5))
    def crash_or_pause_in_a_chunk(self, size: int, cut: int, back: int) -> None:
        self.budget = cut
        try:
            self.fold(size)
        except CrashError:
            pass
        else:
            self.left_over = []
        self.recover(back)

    @rule(back=st.integers(0, 20))
    def rebalance(self, back: int) -> None:
        self.recover(back)

    @precondition(lambda self: self.left_over)
    @rule()
    def paused_worker_wakes_up(self) -> None:
        left, self.left_over = self.left_over, []
        self.budget = -1
        self.deliver(left)
        # Somebody else has written: what is owned here is read anew, as at the next assignment.
        self.journal.end = len(self.changelog) - 1

    def teardown(self) -> None:
        if not hasattr(self, "log"):
            return
        self.paused_worker_wakes_up()
        self.recover(0)
        while self.position < len(self.log):
            self.process(7)
        self.check(all_closed=False)
        # A click far ahead closes everything before it.
        for _ in range(2):
            self.log.append((FLUSH, self.latest + 3 * GAP + 2 * self.grace, f"e{len(self.log)}"))
            self.process(1)
        self.process_nothing()
        self.check(all_closed=True)

    def process_nothing(self) -> None:
        """A tick: what is over is closed without a record."""
        self.fold(0)

    def check(self, *, all_closed: bool) -> None:
        expected, undisturbed = Rule(self.grace), PartitionState(GAP, self.grace, FunnelBook([]))
        ids = set()
        for offset, value in enumerate(self.log):
            expected.take(offset, *value)
            outcome = undisturbed.apply(value[0].lower().encode(), FakeFlow().enrich(value, 0), offset)
            ids |= {outcome.upsert.id} if outcome.upsert is not None else set()
            ids -= {retraction.id for retraction in outcome.retractions}
        stored = [session for _, session in self.store.values() if session is not None]
        assert {session.id for session in stored} == ids
        assert sorted(
            (named(session), session.start, session.end, session.events, len(session.merged_ids)) for session in stored
        ) == sorted(
            (key, visit.start, visit.end, visit.events, visit.absorbed)
            for key, visits in expected.visits.items()
            for visit in visits
        )
        # A closed session and a live one may overlap (as in Kafka Streams), but are never the same window.
        versions = {(key, v.start, v.end): v.version for key, visits in expected.visits.items() for v in visits}
        for session in stored:
            touched = versions[named(session), session.start, session.end]
            assert session.version > touched if session.closed else session.version == touched
            assert session.closed or session.user_id == FLUSH or not all_closed
            assert len(set(session.merged_ids)) == len(session.merged_ids)
            for merged in session.merged_ids:  # an absorbed id is retracted, or was never published
                assert self.store.get(merged, (0, None))[1] is None


def named(session: Session) -> str:
    return session.user_id.upper() if session.bot else session.user_id


Partition.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class TestSessionsSurviveTheirWorkers(Partition.TestCase):
    """With the sizes that a pipeline has."""


class OneBusyKey(Partition):
    """A person, who is sometimes a bot, and many sessions at a time."""

    keys = ("a", "a", "a", "A")
    graces = (5 * GAP, 23 * 60 * MINUTE + 50 * MINUTE)


OneBusyKey.TestCase.settings = Partition.TestCase.settings


class TestSessionsSurviveInManySmallRecords(OneBusyKey.TestCase):
    """With sizes so small that the key has several records, all of which are written again every now and then."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(event_ids, "BLOCK", 2)
        monkeypatch.setattr(changelog, "INLINE", 1)
        monkeypatch.setattr(journal, "MIN_BYTES", 300)
