"""Whatever happens to the workers, the sessions that the stores end up with are those of one undisturbed reading.

Hypothesis drives one partition through clicks (out of order, duplicated), chunks of any size, folded ahead of what is
delivered, crashes between any two delivered records, rebalances, replays from earlier offsets, and a paused worker that
wakes up and sends what it had left. The brokers are lists, in which only records of one producer for one partition keep
their order. The store here keeps what the sinks' promise says: a session record that is not newer than the one it has
is ignored. The expectation is written down a second time, naively, from the rule in the design.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from unittest.mock import Mock

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from clickstream.contracts.clicks import EnrichedClick
from clickstream.contracts.kafka_records import header
from clickstream.contracts.names import Names
from clickstream.contracts.session_records import Session, decode_session
from clickstream.enricher import changelog, event_ids, journal
from clickstream.enricher.changelog import PARTITION_KEY, Replay
from clickstream.enricher.funnels import FunnelBook
from clickstream.enricher.journal import LOW, Journal
from clickstream.enricher.metrics import Metrics
from clickstream.enricher.partitions import Owned, Partitions, Piece, Recovered
from clickstream.enricher.processing import Processing
from clickstream.enricher.sessions import PartitionState
from clickstream.enricher.source import Look, Position

MINUTE = 60_000
GAP = 10 * MINUTE
START = 1_000 * GAP
FLUSH = "flush"
CHUNKS = 3  # that are folded together, at most
NAMES = Names("shop", "clicks")
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


def as_record(click: tuple[str, int, str]) -> bytes:
    return msgspec.json.encode(click)


class FakeFlow:
    """Records hold (key, time, event id). A key in capitals is a bot of that name."""

    def enrich(self, value: bytes, record_time: int) -> EnrichedClick:
        key, t, event_id = msgspec.json.decode(value)
        draft = EnrichedClick(
            event_id, t, t, t, "2026-01-31", key.lower(), "s", "/", page_path="/", page_category="home"
        )
        draft.bot = key.isupper()
        return draft


Record = tuple[bytes, bytes | None, list]
Delivery = tuple[str, Record, Callable[[int, int], None] | None]


class CrashError(Exception):
    """The process is killed between two records."""


@dataclass
class Brokers:
    """An `Output`: a stage is a queue for each producer and topic partition, which are taken in any order of theirs."""

    chance: Random
    changelog: list[Record] = field(default_factory=list)
    store: dict[str, tuple[int, Session | None]] = field(default_factory=dict)
    left_over: list[Delivery] = field(default_factory=list)
    budget: int = -1
    _queues: dict[str, list[Delivery]] = field(default_factory=dict)

    def send(self, topic: str, records: Iterable[Record], partition: int = -1) -> None:
        self._queues.setdefault(topic, []).extend((topic, record, None) for record in records)

    def send_reporting(self, topic: str, record: Record, partition: int, delivered: Callable[[int, int], None]) -> None:
        self._queues.setdefault("reporting", []).append((topic, record, delivered))

    def deliver(self) -> None:
        queues, self._queues = [queue for queue in self._queues.values() if queue], {}
        order: list[Delivery] = []
        while queues:
            queue = self.chance.choice(queues)
            order.append(queue.pop(0))
            queues = [queue for queue in queues if queue]
        for number, delivery in enumerate(order):
            if self.budget == 0:
                self.left_over = order[number:]
                raise CrashError
            self.budget -= 1
            self.take(delivery)

    def take(self, delivery: Delivery) -> None:
        topic, (key, value, headers), delivered = delivery
        if topic == NAMES.enricher_changelog:
            self.changelog.append((key, value, headers))
        elif topic == NAMES.sessions:
            record = decode_session(key, value, headers)
            known = self.store.get(record.id)
            if known is None or record.version > known[0]:
                self.store[record.id] = (record.version, record if isinstance(record, Session) else None)
        if delivered is not None:
            delivered(len(self.changelog) - 1, 0)


class Partition(RuleBasedStateMachine):
    """One source partition, its workers, its changelog, and the store behind the sessions topic."""

    keys: tuple[str, ...] = ("a", "b", "c", "A")
    graces: tuple[int, ...] = (0, 10 * MINUTE, 23 * 60 * MINUTE + 50 * MINUTE)
    chunk: int = 10  # records, at most

    @initialize(data=st.data(), seed=st.integers(0, 2**32))
    def begin(self, data: st.DataObject, seed: int) -> None:
        self.grace = data.draw(st.sampled_from(self.graces))
        self.log: list[tuple[str, int, str]] = []
        self.latest = START
        self.brokers = Brokers(Random(seed))
        self.committed = 0
        self.begin_anew(0)

    def begin_anew(self, back: int) -> None:
        """Another worker owns the partition, or the same one after a restart."""
        self.brokers.budget = -1
        self.partitions = Partitions(
            NAMES,
            Processing(FakeFlow(), "user_id"),  # type: ignore[arg-type]
            self.brokers,  # type: ignore[arg-type]
            Mock(spec=Metrics),
            self,
            lambda: None,
        )
        self.assign(back)

    def assign(self, back: int) -> None:
        self.back = back
        assert self.partitions.assign([0], lambda: None)
        found = self.partitions.next_offset(0)
        assert found is not None
        self.position = found
        self.folded: list[Piece] = []

    # What `Partitions` asks of its recovery.

    def recover(self, partitions: Collection[int], go_on: Callable[[], bool]) -> dict[int, Recovered]:
        if not partitions:
            return {}
        newest, written = Replay(), self.brokers.changelog
        for record in written:
            if record[0] == PARTITION_KEY:
                newest.add(*record)
        text = header(newest.partition_headers, LOW)
        low = None if text is None else int(text)
        replay = Replay()
        for record in written[low or 0 :]:
            assert replay.add(*record)
        state = PartitionState(GAP, self.grace, FunnelBook([]))
        replay.restore(state)
        position = Position(max(0, self.committed - self.back), 0)
        return {0: Recovered(Owned(state, Journal(state, low)), position, 0, [])}

    def changelog_ends(self, partitions: Collection[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, len(self.brokers.changelog))

    def look(self, partition: int, offset: int) -> Look:
        raise NotImplementedError  # chunks follow each other

    # What the worker does with a chunk.

    def fold(self, size: int) -> None:
        """Fold a chunk, and leave its pieces to be delivered."""
        size = min(size, self.chunk)
        records = [
            SimpleNamespace(
                topic="t",
                partition=0,
                offset=offset,
                key=b"",
                value=msgspec.json.encode(self.log[offset]),
                timestamp=0,
                headers=(),
            )
            for offset in range(self.position, min(self.position + size, len(self.log)))
        ]
        while True:
            self.folded.append(self.partitions.fold(records))
            if self.folded[-1].chunk:
                break
        self.position += len(records)

    def deliver(self) -> None:
        """One round of deliveries; what is through is committed."""
        pieces, self.folded = self.folded, []
        for piece in self.partitions.deliver(pieces):
            self.committed = piece.next

    def deliver_all(self) -> None:
        while self.folded or self.partitions.under_way:
            self.deliver()

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
    @rule(sizes=st.lists(st.integers(1, 10), min_size=1, max_size=CHUNKS))
    def process(self, sizes: list[int]) -> None:
        """Chunks that are delivered together; what precedes them may be under way."""
        for size in sizes:
            if self.position < len(self.log):
                self.fold(size)
        self.deliver()

    @rule()
    def nothing_more_comes(self) -> None:
        self.deliver_all()

    @precondition(lambda self: self.position < len(self.log))
    @rule(
        sizes=st.lists(st.integers(1, 10), min_size=1, max_size=CHUNKS), cut=st.integers(0, 60), back=st.integers(0, 5)
    )
    def crash_or_pause(self, sizes: list[int], cut: int, back: int) -> None:
        self.brokers.budget = cut
        self.brokers.left_over = []
        try:
            self.process(sizes)
            self.deliver_all()
        except CrashError:
            pass
        self.begin_anew(back)

    @rule(back=st.integers(0, 20), through=st.booleans())
    def rebalance(self, back: int, through: bool) -> None:
        """The partition is taken away, and comes back. `through`: what was begun could be finished before."""
        if through:
            self.deliver_all()
        self.partitions.drop()
        self.assign(back)

    @precondition(lambda self: self.brokers.left_over)
    @rule()
    def paused_worker_wakes_up(self) -> None:
        left, self.brokers.left_over = self.brokers.left_over, []
        for topic, record, _ in left:
            self.brokers.take((topic, record, None))

    def teardown(self) -> None:
        if not hasattr(self, "log"):
            return
        self.paused_worker_wakes_up()
        self.begin_anew(0)
        while self.position < len(self.log):
            self.process([7])
        self.deliver_all()
        self.check(all_closed=False)
        # A click far ahead closes everything before it, when the next one comes.
        for _ in range(3):
            self.log.append((FLUSH, self.latest + 3 * GAP + 2 * self.grace, f"e{len(self.log)}"))
            self.process([1])
            self.deliver_all()
        self.check(all_closed=True)

    def check(self, *, all_closed: bool) -> None:
        expected, undisturbed = Rule(self.grace), PartitionState(GAP, self.grace, FunnelBook([]))
        ids = set()
        for offset, value in enumerate(self.log):
            expected.take(offset, *value)
            outcome = undisturbed.apply(
                value[0].lower().encode(), FakeFlow().enrich(msgspec.json.encode(value), 0), offset
            )
            ids |= {outcome.upsert.id} if outcome.upsert is not None else set()
            ids -= {retraction.id for retraction in outcome.retractions}
        stored = [session for _, session in self.brokers.store.values() if session is not None]
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
                assert self.brokers.store.get(merged, (0, None))[1] is None


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

    chunk = 2

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
        # What a worker has under way here: the changes of one group of chunks, and the partition's records of another.
        monkeypatch.setattr(journal, "AHEAD", 2 * CHUNKS * OneBusyKey.chunk)
