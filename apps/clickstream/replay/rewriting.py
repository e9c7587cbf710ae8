"""The two passes over the records of a partition: first which clicks belong together, then what is written. Pure.

The first finds the chains and whether each can be enriched anew as a whole (chains.py). The second folds the records
into a fresh state as the enricher does. Session ids are hashes of what begins a session, so the same sessions get the
same ids. Clicks of whole chains are written with their sessions; other clicks of the range keep their stored session.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest

from clickstream.contracts.clicks import EnrichedClick, encode_enriched
from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.replays import Replay, replay_header, session_version
from clickstream.contracts.session_records import Retraction, Session, encode_session
from clickstream.contracts.times import FUTURE_TOLERANCE_MS
from clickstream.enricher.changelog import Record
from clickstream.enricher.sessions import BOT, Outcome, PartitionState, session_id
from clickstream.replay.chains import NONE, Chains

_CLOSED_AT_ONCE: Final = 10_000
_CHUNK: Final = 2_000

Standing = MutableMapping[str, int]
"""The current sessions on the sessions topic, each with the `fingerprint` of its record."""


class Raw(NamedTuple):
    """A record of raw-clicks, its time in ms."""

    offset: int
    timestamp: int
    value: bytes | None


class Span(NamedTuple):
    """A range of record times in ms, its end excluded."""

    start: int
    end: int

    def holds(self, time: int) -> bool:
        """Whether it is in the range."""
        return self.start <= time < self.end


class Rules(NamedTuple):
    """What a fold goes by: session gap and grace in ms, and whether the grouping key is the user."""

    gap: int
    grace: int
    by_user: bool

    def key(self, click: EnrichedClick) -> bytes:
        """The click's grouping key."""
        return (click.user_id if self.by_user else click.client_session_id).encode()


@dataclass(slots=True)
class Counts:
    """What was read and what is written. `kept` clicks stay in the session that they are stored with."""

    read: int = 0
    refused: int = 0
    duplicates: int = 0
    clicks: int = 0
    kept: int = 0
    sessions: int = 0
    sessions_new: int = 0
    sessions_changed: int = 0
    retracted: int = 0


@dataclass(slots=True)
class Written:
    """Records for enriched-clicks and for sessions: key, value, headers."""

    clicks: list[Record] = field(default_factory=list)
    sessions: list[Record] = field(default_factory=list)


class Survey:
    """The first pass.

    `nothing_before`: there is no record before the first one; otherwise what began before is not known.
    """

    def __init__(
        self,
        read: Callable[[bytes | None, int | None], EnrichedClick | BadRow],
        rules: Rules,
        span: Span,
        *,
        nothing_before: bool,
    ) -> None:
        self._read, self._rules, self._span = read, rules, span
        self._nothing_before = nothing_before
        self._chains = Chains(rules.gap, rules.grace)
        self._known_from: int | None = None
        self.first = -1
        self._numbers = array("i")

    @property
    def end(self) -> int:
        """The offset after the last record."""
        return self.first + len(self._numbers)

    def add(self, records: Iterable[Raw]) -> bool:
        """Take records in order; False: no later one is needed."""
        for record in records:
            if self.first < 0:
                self._begin(record)
            self._numbers.extend([NONE] * (record.offset - self.end))
            click = self._read(record.value, record.timestamp)
            if isinstance(click, BadRow):
                self._numbers.append(NONE)
                continue
            wanted = self._span.holds(record.timestamp)
            self._numbers.append(self._chains.add(self._rules.key(click), click.event_time, wanted=wanted))
            if record.timestamp >= self._span.end:
                self._chains.close_due()
                if not self._chains.open_wanted:
                    return False
        self._chains.close_due()
        return True

    def finish(self, stream_time: int) -> None:
        """All that the enricher has processed is read; its stream time (ms) may be ahead of the records'."""
        self._chains.close_due(stream_time)

    def is_whole(self, offset: int) -> bool:
        """Whether the click at that offset is of a chain that is written as a whole."""
        number = self._numbers[offset - self.first]
        return number != NONE and self._chains.is_whole(number, self._known_from)

    def _begin(self, first: Raw) -> None:
        self.first = first.offset
        if not self._nothing_before:
            # No earlier click is later than that. Its session may continue for a gap; a duplicate of it is recognized
            # for gap and grace.
            latest = first.timestamp + 2 * FUTURE_TOLERANCE_MS
            self._known_from = latest + 2 * self._rules.gap + self._rules.grace


class Rewriting:
    """The second pass, over the records of a survey. Removes what it writes or retracts from `standing`."""

    def __init__(
        self,
        enrich: Callable[[bytes | None, int | None], EnrichedClick | BadRow],
        state: PartitionState,
        rules: Rules,
        survey: Survey,
        span: Span,
        started: int,
        standing: Standing,
    ) -> None:
        self.counts = Counts()
        self._enrich, self._state, self._rules = enrich, state, rules
        self._survey, self._span, self._standing = survey, span, standing
        self._version = session_version(started)
        self._whole = [replay_header(Replay(started))]
        self._kept = [replay_header(Replay(started, keeps_session=True))]
        self._open: set[str] = set()

    def add(self, records: Iterable[Raw]) -> Written:
        """What follows from records, in their order."""
        written = Written()
        self._close(written)
        for record in records:
            self.counts.read += 1
            click = self._enrich(record.value, record.timestamp)
            if isinstance(click, BadRow):
                self.counts.refused += 1
                continue
            key = self._rules.key(click)
            outcome = self._state.apply(key, click, record.offset)
            if outcome.duplicate:
                self.counts.duplicates += 1
            else:
                self._write(record, key, click, outcome, written)
        self._forget()
        return written

    def finish(self, stream_time: int) -> Written:
        """The last records of the sessions, once the enricher's stream time is that (ms)."""
        written = Written()
        self._state.stream_time = max(self._state.stream_time, stream_time)
        self._close(written)
        return written

    def _write(self, record: Raw, key: bytes, click: EnrichedClick, outcome: Outcome, written: Written) -> None:
        if self._survey.is_whole(record.offset):
            self.counts.clicks += 1
            self._follow(key, click, outcome, written)
            headers = self._whole
        elif self._span.holds(record.timestamp):
            self.counts.kept += 1
            headers = self._kept
        else:
            return
        written.clicks.append((key, encode_enriched(click.finish(outcome.session, late=outcome.late)), headers))

    def _follow(self, key: bytes, click: EnrichedClick, outcome: Outcome, written: Written) -> None:
        """Note the click's session, and retract the one that it might have begun but did not."""
        if outcome.session is not None:
            self._open.add(outcome.session)
        for retraction in outcome.retractions:
            self._open.discard(retraction.id)
            self._retract(retraction.id, retraction.merged_into, written)
        for begun in (session_id(key, click), session_id(BOT + key, click)):
            if begun in self._standing and begun != outcome.session and begun not in self._open:
                # None of its clicks names it any more. It was not merged into another one: its clicks may be in
                # several.
                self._retract(begun, begun, written)

    def _retract(self, session: str, into: str, written: Written) -> None:
        self.counts.retracted += self._standing.pop(session, None) is not None
        retraction = Retraction(session, self._version, into)
        written.sessions.append((session.encode(), None, retraction.headers()))

    def _close(self, written: Written) -> None:
        while True:
            closed, gone = self._state.close_due(_CLOSED_AT_ONCE)
            if not closed and not gone:
                return
            for session in closed:
                if session.id in self._open:
                    self._open.discard(session.id)
                    self._finish(session, written)

    def _finish(self, session: Session, written: Written) -> None:
        before = self._standing.pop(session.id, None)
        self.counts.sessions += 1
        self.counts.sessions_new += before is None
        self.counts.sessions_changed += before is not None and before != fingerprint(session)
        value = encode_session(msgspec.structs.replace(session, version=self._version))
        written.sessions.append((session.id.encode(), value, []))

    def _forget(self) -> None:
        """Ids are forgotten as the enricher forgets them: when their keys are written to the changelog."""
        state, minute = self._state, self._state.horizon_minute(self._state.stream_time)
        for key in state.dirty:
            state.keys[key].ids.expire(minute)
        state.dirty.clear()


def fingerprint(session: Session) -> int:
    """What a session record says, but for its version and what it absorbed."""
    return xxh3_64_intdigest(encode_session(msgspec.structs.replace(session, version=0, closed=True, merged_ids=[])))
