"""Sessions: windows of activity that end after a gap of inactivity, kept exactly as Kafka Streams keeps them.

The rule is that of Kafka Streams' SessionWindows over its in-memory store with retention gap + grace
(tests/integration/sessions_oracle compares the two). Stream time belongs to a partition and runs over all its keys. A
click joins every live session that it touches; touching several merges them, the earliest one's id survives and the
others are retracted. A click whose session would be closed already is late: it is in no session.

Pure and deterministic: the same records in the same order give the same state, upserts and retractions.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import islice, takewhile
from typing import Annotated, Final, NamedTuple, Protocol

import msgspec
from xxhash import xxh3_128_digest

from clickstream.contracts.clicks import PAGE_VIEW
from clickstream.contracts.session_records import Retraction, Session
from clickstream.contracts.times import MAX_MS
from clickstream.enricher.event_ids import MINUTE_MS, EventIds
from clickstream.enrichment.funnels import FunnelBook, Hit, add_hit, merge_hits

MAX_MERGED: Final = 500
"""Absorbed ids that a session names; the newest. Each was named when it was absorbed, and has its retraction."""

MAX_OFFSET: Final = 2**62
"""Logical offsets are below it; so is what is made of them."""

_Id = Annotated[str, msgspec.Meta(pattern=r"^(\d{4}-\d\d-\d\d|undated)-[0-9a-f]{1,64}\Z")]
_Millis = Annotated[int, msgspec.Meta(ge=0, le=MAX_MS)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Word = Annotated[str, msgspec.Meta(max_length=64)]
_Name = Annotated[str, msgspec.Meta(max_length=256)]
_Path = Annotated[str, msgspec.Meta(max_length=2_048)]

BOT: Final = b"\xff"
"""What the key of a bot's sessions begins with: no byte of UTF-8, so a bot's clicks never meet a person's."""


class Facts(Protocol):
    """What the fold needs to know of a click; the flow's click has it, times in ms."""

    event_id: str
    source: str
    event_time: int
    storage_day: str
    user_id: str
    type: str
    page_path: str
    medium: str
    referrer_host: str | None
    referrer_source: str | None
    campaign: str | None
    device: str
    country: str | None
    bot: bool


class LiveSession(msgspec.Struct, array_like=True, gc=False):
    """A session that may still grow. `hits` maps a funnel to its views (funnels.py). Field order is the changelog's.

    The bounds are checked when it is read back: foreign data must not become a record that no sink takes.
    """

    id: _Id
    user_id: _Name
    storage_day: _Word
    start: _Millis
    end: _Millis
    version: Annotated[int, msgspec.Meta(ge=0, lt=MAX_OFFSET)]
    events: _Count
    page_views: _Count
    entry_page: _Path
    exit_page: _Path
    medium: _Word
    device: _Word
    bot: bool
    referrer_host: _Name | None
    referrer_source: _Name | None
    campaign: _Name | None
    country: _Word | None
    hits: dict[str, list[Hit]]
    merged_ids: Annotated[list[_Id], msgspec.Meta(max_length=MAX_MERGED)]

    def __post_init__(self) -> None:
        """Raises ValueError, which a decoder turns into its own error."""
        if self.start > self.end:
            msg = "a session that ends before it starts"
            raise ValueError(msg)


class KeyState:
    """What is remembered of one key: the offset applied last, its sessions by end, the event ids seen.

    The previous release stored ids without their source; until `legacy_until` (a minute) an id is looked up in that
    form too. `parked` has the version that each session had when it was written as a changelog record of its own.
    """

    __slots__ = ("ids", "legacy_until", "offset", "parked", "sessions")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.sessions: list[LiveSession] = []
        self.ids = EventIds()
        self.legacy_until = -1
        self.parked: dict[str, int] | None = None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What one click did. `session` is its session's id, None when `late`; `duplicate` clicks are not to be emitted.

    Nor is a record that was `applied` before: state is written after the output, so its output was delivered. Making it
    again from the current state would be wrong: a duplicate could not be distinguished from the click that it repeats.
    """

    session: str | None
    duplicate: bool = False
    applied: bool = False
    late: bool = False
    upsert: LiveSession | None = None
    retractions: tuple[Retraction, ...] = ()


_DUPLICATE: Final = Outcome(None, duplicate=True)
_LATE: Final = Outcome(None, late=True)
_APPLIED: Final = Outcome(None, applied=True)


class Settled(NamedTuple):
    """How far a partition's state is on the changelog: the applied offset and the stream time (ms); -1: nothing is."""

    applied: int
    stream_time: int


NOTHING_SETTLED: Final = Settled(-1, -1)


class PartitionState:
    """The sessions of one source partition. `gap` and `grace` in ms.

    Offsets are logical: they only grow, also when the topic's own begin again (partitions.py). `applied` is the last
    one whose effects are all in the state (-1: none); those at or below it, or at or below a key's own, change nothing
    when they come again. `dirty` holds the keys whose state changed and is not on the changelog yet; `forgotten` counts
    event ids that were dropped for the bound of their key.
    """

    def __init__(self, gap: int, grace: int, funnels: FunnelBook) -> None:
        self.gap = gap
        self.grace = grace
        self.applied = -1
        self.stream_time = -1
        self.keys: dict[bytes, KeyState] = {}
        self.dirty: set[bytes] = set()
        self.forgotten = 0
        self._funnels = funnels
        # When to check a key for closing: a heap, and each key's one valid entry in it (others are stale). An entry may
        # be too early, when its session has grown since; it is never too late.
        self._due: list[tuple[int, bytes]] = []
        self._due_of: dict[bytes, int] = {}

    def apply(self, key: bytes, click: Facts, offset: int) -> Outcome:
        """Fold one click of `key` at source `offset` into the state."""
        t = click.event_time
        before = self.stream_time
        self.stream_time = max(before, t)
        if click.bot:
            key, other = BOT + key, key
        else:
            other = BOT + key
        state = self.keys.get(key)
        if offset <= self.applied or (state is not None and offset <= state.offset):
            return _APPLIED
        horizon = self.stream_time - self.gap - self.grace
        digest = xxh3_128_digest(f"{click.source}\0{click.event_id}".encode())
        touched: list[LiveSession] = []
        if state is not None:
            if digest in state.ids or (state.legacy_until >= 0 and self._known_of_old(state, click, horizon)):
                return _DUPLICATE
            touched = _touched(state.sessions, t, self.gap, before - self.gap - self.grace)
        twin = self.keys.get(other)
        if twin is not None and digest in twin.ids:  # sent again with another bot flag
            return _DUPLICATE
        if state is None:
            state = self.keys[key] = KeyState(offset)
        state.offset = offset
        self.dirty.add(key)
        # By stream time, so that ids expire in the order in which they came; a late click is remembered as long.
        self.forgotten += state.ids.add(digest, self.stream_time // MINUTE_MS)
        if not touched and t <= horizon:
            self._schedule(key, state)
            return _LATE
        merged, retractions = self._merge(key, state, touched, click, offset)
        self._schedule(key, state)
        return Outcome(merged.id, upsert=merged, retractions=retractions)

    def close_due(
        self, limit: int, settled: Settled | None = None
    ) -> tuple[list[Session], list[tuple[bytes, KeyState]]]:
        """Sessions that can no longer change, as their last record, and keys about which nothing is left to remember.

        `settled`: where the changelog is behind this state. A key may go only by a stream time that a recovery finds
        again: otherwise a replay would meet clicks of a key that is gone. No click after it can touch what is over by
        then.

        Checks up to `limit` keys; call it again until both lists are empty. The version is applied + 1: newer than any
        record of the session, older than the next click's.
        """
        applied, stream_time = settled or self.to_settle
        horizon = stream_time - self.gap - self.grace
        closed: list[Session] = []
        gone: list[tuple[bytes, KeyState]] = []
        while self._due and self._due[0][0] <= horizon and limit > 0:
            due, key = heappop(self._due)
            if self._due_of.get(key) != due:
                continue
            limit -= 1
            del self._due_of[key]
            state = self.keys[key]
            ended = [session for session in state.sessions if session.end <= horizon]
            if ended:
                state.sessions = [session for session in state.sessions if session.end > horizon]
                closed += [self.record(session, closed=True, version=applied + 1) for session in ended]
                self.dirty.add(key)
            if state.sessions or (state.ids.newest + 1) * MINUTE_MS > horizon:
                self._schedule(key, state)
            else:
                del self.keys[key]
                self.dirty.discard(key)
                gone.append((key, state))
        return closed, gone

    @property
    def to_settle(self) -> Settled:
        """What is settled once the changelog has this state."""
        return Settled(self.applied, self.stream_time)

    def horizon_minute(self, stream_time: int) -> int:
        """Event ids that came before this minute need not be remembered any more at that stream time."""
        return (stream_time - self.gap - self.grace) // MINUTE_MS

    def anything_due(self, stream_time: int) -> bool:
        """Whether `close_due` might find something at that stream time."""
        return bool(self._due) and self._due[0][0] <= stream_time - self.gap - self.grace

    def record(self, session: LiveSession, *, closed: bool = False, version: int | None = None) -> Session:
        """The session as it is published."""
        return Session(
            session.id,
            session.user_id,
            session.storage_day,
            session.start,
            session.end,
            session.version if version is None else version,
            session.events,
            session.page_views,
            session.entry_page,
            session.exit_page,
            session.medium,
            session.device,
            session.bot,
            session.page_views <= 1,
            closed,
            session.referrer_host,
            session.referrer_source,
            session.campaign,
            session.country,
            self._funnels.reached(session.hits),
            session.merged_ids,
        )

    def restore(self, key: bytes, state: KeyState) -> None:
        """Put back a key's state from the changelog."""
        self.keys[key] = state
        self._schedule(key, state)

    def _known_of_old(self, state: KeyState, click: Facts, horizon: int) -> bool:
        if (state.legacy_until + 1) * MINUTE_MS <= horizon:
            state.legacy_until = -1
            return False
        return xxh3_128_digest(click.event_id.encode()) in state.ids

    def _merge(
        self, key: bytes, state: KeyState, hits: list[LiveSession], click: Facts, offset: int
    ) -> tuple[LiveSession, tuple[Retraction, ...]]:
        if not hits:
            session = self._begin(key, click, offset)
            insort(state.sessions, session, key=_end)
            return session, ()
        survivor, *others = hits
        if others:
            gone = {absorbed.id for absorbed in others}
            state.sessions = [session for session in state.sessions if session.id not in gone]
            for absorbed in others:
                _absorb(survivor, absorbed)
        self._extend(survivor, click, offset)
        return survivor, tuple([Retraction(absorbed.id, offset, survivor.id) for absorbed in others]) if others else ()

    def _begin(self, key: bytes, click: Facts, offset: int) -> LiveSession:
        t, path = click.event_time, click.page_path
        return LiveSession(
            id=session_id(key, click),
            user_id=click.user_id,
            storage_day=click.storage_day,
            start=t,
            end=t,
            version=offset,
            events=1,
            page_views=1 if click.type == PAGE_VIEW else 0,
            entry_page=path,
            exit_page=path,
            medium=click.medium,
            device=click.device,
            bot=click.bot,
            referrer_host=click.referrer_host,
            referrer_source=click.referrer_source,
            campaign=click.campaign,
            country=click.country,
            hits={name: [(t, step)] for name, step in self._funnels.steps_of(click)},
            merged_ids=[],
        )

    def _extend(self, session: LiveSession, click: Facts, offset: int) -> None:
        t = click.event_time
        session.version = offset
        session.events += 1
        if t < session.start:
            # The earliest click says how a visit began, also when it arrives late.
            session.start = t
            session.entry_page = click.page_path
            session.medium = click.medium
            session.referrer_host = click.referrer_host
            session.referrer_source = click.referrer_source
            session.campaign = click.campaign
            session.device = click.device
            session.country = click.country
        if t >= session.end:
            session.end = t
            session.exit_page = click.page_path
        if click.type == PAGE_VIEW:
            session.page_views += 1
            for name, step in self._funnels.steps_of(click):
                add_hit(session.hits.setdefault(name, []), (t, step))

    def _schedule(self, key: bytes, state: KeyState) -> None:
        due = state.sessions[0].end if state.sessions else (state.ids.newest + 1) * MINUTE_MS
        scheduled = self._due_of.get(key)
        if scheduled is None or due < scheduled:
            self._due_of[key] = due
            heappush(self._due, (due, key))


def session_id(key: bytes, click: Facts) -> str:
    """The id of the session that this click begins among the sessions of `key`.

    The time is part of it: a click that is sent again after its session is over begins another one.
    """
    first = b"\0".join((key, click.source.encode(), click.event_id.encode(), b"%d" % click.event_time))
    return f"{click.storage_day}-{blake2b(first, digest_size=12).hexdigest()}"


def _absorb(survivor: LiveSession, absorbed: LiveSession) -> None:
    """Fold a later session into an earlier one; the click that joins them is added afterwards."""
    survivor.end = absorbed.end
    survivor.exit_page = absorbed.exit_page
    survivor.events += absorbed.events
    survivor.page_views += absorbed.page_views
    for name, hits in absorbed.hits.items():
        if name in survivor.hits:
            merge_hits(survivor.hits[name], hits)
        else:
            survivor.hits[name] = hits
    survivor.merged_ids = [*survivor.merged_ids, *absorbed.merged_ids, absorbed.id][-MAX_MERGED:]


def _touched(sessions: list[LiveSession], t: int, gap: int, live_after: int) -> list[LiveSession]:
    """The live sessions that a click at `t` belongs to, by start. `sessions` is sorted by end.

    Those that are not live any more all end before the others, which do not overlap: their starts are in order too.
    """
    if not sessions or (last := sessions[-1]).end < t - gap:
        return []
    if len(sessions) == 1 or sessions[-2].end < t - gap:  # nearly always
        return [last] if last.end > live_after and last.start <= t + gap else []
    first = max(bisect_left(sessions, t - gap, key=_end), bisect_right(sessions, live_after, key=_end))
    return list(takewhile(lambda session: session.start <= t + gap, islice(sessions, first, None)))


def _end(session: LiveSession) -> int:
    return session.end
