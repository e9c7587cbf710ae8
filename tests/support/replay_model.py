"""A partition's life without servers: a live enricher, a replay, and the stores that follow their records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from clickstream.contracts.clicks import Click, EnrichedClick, encode_click
from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.pipeline import Enricher, Funnel, FunnelStep, Kafka, PageCategory, Pipeline
from clickstream.contracts.replays import replay_of
from clickstream.contracts.session_records import Retraction, Session, decode_session
from clickstream.enricher.processing import Processing
from clickstream.enricher.sessions import PartitionState
from clickstream.enrichment.flow import Flow
from clickstream.enrichment.funnels import FunnelBook
from clickstream.replay import rewriting
from clickstream.replay.rewriting import Counts, Rewriting, Rules, Span, Survey, fingerprint
from support.records import decode_enriched

MINUTE = 60_000
GAP = GRACE = 10 * MINUTE
START = 1_767_225_600_000
RULES = Rules(GAP, GRACE, by_user=True)
PEOPLE, PROBER, REFORMED = "Mozilla/5.0 Firefox/140.0", "Probe/1", "Formerly/2"
"""User agents: a person's; one that only the new rules call a bot; one that only the old rules do."""


class Raw(NamedTuple):
    """A record of raw-clicks as either reader sees it."""

    offset: int
    timestamp: int
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    def read(self) -> rewriting.Raw:
        """The record as a replay reads it."""
        return rewriting.Raw(self.offset, self.timestamp, self.value)


def raw(offset: int, user: str, at: int, *, event_id: str, back: int = 0, agent: str = PEOPLE, page: str = "/") -> Raw:
    """A click of `user` that came at `at` and happened `back` ms earlier."""
    click = Click(event_id, at - back, user, "tab", page, at, "web", user_agent=agent)
    return Raw(offset, at, encode_click(click))


@dataclass
class Enrichment:
    """A flow with a rule for bots of its own, and its funnels."""

    bots: str
    category: str
    steps: tuple[str, ...]

    def __post_init__(self) -> None:
        settings = Enricher(page_categories=[PageCategory(self.category, "/p*")])
        self.funnels = FunnelBook([Funnel("way", [FunnelStep(page, page) for page in self.steps])])
        self.flow = Flow(Pipeline("a", "b", Kafka("unused:1"), enricher=settings), lambda _: None, {})

    def enrich(self, value: bytes | None, time: int | None) -> EnrichedClick | BadRow:
        """Enrich as the flow does, but for the bots."""
        draft = self.flow.enrich(value, time)
        assert isinstance(draft, EnrichedClick)
        draft.bot = draft.user_agent == self.bots
        return draft


OLD = Enrichment(REFORMED, "old", ("/", "/p1"))
NEW = Enrichment(PROBER, "new", ("/p1", "/p2"))


@dataclass
class Store:
    """A store that follows the contracts: live clicks are inserted once, replayed ones replace their copy."""

    clicks: dict[tuple[str, ...], EnrichedClick] = field(default_factory=dict)
    sessions: dict[str, Session | Retraction] = field(default_factory=dict)

    def take(self, clicks: Iterable[Any], sessions: Iterable[Any]) -> None:
        """Records in the order of their topics."""
        for _, value, headers in clicks:
            self._click(decode_enriched(value), replay_of(headers))
        for key, value, headers in sessions:
            record = decode_session(key, value, headers)
            known = self.sessions.get(record.id)
            if known is None or known.version < record.version:
                self.sessions[record.id] = record

    def _click(self, click: EnrichedClick, replay: Any) -> None:
        identity = click.storage_day, click.source, click.user_id, click.event_id
        stored = self.clicks.setdefault(identity, click)
        if replay is None or times(stored) != times(click):
            return
        if replay.keeps_session:
            click = msgspec.structs.replace(click, session=stored.session, late=stored.late)
        self.clicks[identity] = click

    def standing(self) -> dict[str, Session]:
        """The current sessions."""
        return {record.id: record for record in self.sessions.values() if isinstance(record, Session)}

    def resolved(self, session: str) -> str:
        """The current session of one."""
        while isinstance(found := self.sessions[session], Retraction) and found.merged_into != session:
            session = found.merged_into
        return session

    def differences(self) -> list[str]:
        """Closed sessions that differ from their clicks; clicks of sessions that are not current."""
        found, by_session = [], dict[str, list[EnrichedClick]]()
        standing = self.standing()
        for click in self.clicks.values():
            if click.session is not None:
                by_session.setdefault(self.resolved(click.session), []).append(click)
        for session, clicks in by_session.items():
            if session not in standing:
                found.append(f"{[click.event_id for click in clicks]} name {session}, which does not stand")
        for stands in standing.values():
            ts = [click.event_time for click in by_session.get(stands.id, [])]
            said = min(ts, default=0), max(ts, default=0), len(ts)
            if said != (stands.start, stands.end, stands.events):
                found.append(f"{stands.id}: {(stands.start, stands.end, stands.events)}, by its clicks {said}")
        return found


def times(click: EnrichedClick) -> tuple[int, int, int]:
    """What distinguishes copies of a click."""
    return click.timestamp, click.event_time, click.received_at


class Live:
    """The enricher of one partition, and the store behind it."""

    def __init__(self, enrichment: Enrichment) -> None:
        self.state = PartitionState(GAP, GRACE, enrichment.funnels)
        self.store = Store()
        self.use(enrichment)

    def use(self, enrichment: Enrichment) -> None:
        """Continue with another enrichment, as after a roll-out."""
        self._processing = Processing(enrichment, "user_id")  # type: ignore[arg-type]
        self.state._funnels = enrichment.funnels

    def chunk(self, records: Sequence[Raw]) -> None:
        self._close()
        effects = self._processing.chunk(self.state, records)
        self.store.take(effects.enriched, effects.sessions)
        for key in self.state.dirty:
            self.state.keys[key].ids.expire(self.state.horizon_minute(self.state.stream_time))
        self.state.dirty.clear()

    def idle(self, until: int) -> None:
        """The clock moves stream time on, as on a partition that has been idle."""
        self.state.stream_time = max(self.state.stream_time, until)
        self._close()

    def _close(self) -> None:
        while (effects := self._processing.close(self.state)) is not None:
            self.store.take(effects.enriched, effects.sessions)


def replay(
    live: Live,
    records: Sequence[Raw],
    span: Span,
    *,
    started: int,
    first: int = 0,
) -> Counts:
    """Replay what `live` has processed with the new enrichment, read from offset `first` on, into its store."""
    read = [record.read() for record in records if first <= record.offset <= live.state.applied]
    survey = Survey(NEW.flow.read, RULES, span, nothing_before=first == 0)
    whole = all(survey.add([record]) for record in read)
    if whole:
        survey.finish(live.state.stream_time)
    standing = {session.id: fingerprint(session) for session in live.store.standing().values()}
    state = PartitionState(GAP, GRACE, NEW.funnels)
    second = Rewriting(NEW.enrich, state, RULES, survey, span, started, standing)
    for record in read if whole else read[: survey.end - first]:
        written = second.add([record])
        live.store.take(written.clicks, written.sessions)
    written = second.finish(live.state.stream_time if whole else -1)
    live.store.take(written.clicks, written.sessions)
    assert not second._open, "every session that clicks were given is written"
    return second.counts
