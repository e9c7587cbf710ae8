"""Checking sessions: a second opinion, computed from the stored clicks alone.

In each store, clicks are grouped by the session that they belong to, absorbed sessions followed to the current one;
each group's start, end, events and page views must be the stored session's, and no session may be without clicks. Then
sort and cut: by time, two neighbours of one session are never further apart than the gap, and two sessions of one
visitor never as close (a gap of exactly the limit is one session). Finally, both stores' sessions must be the same,
field by field.

The last rule of the cut does not hold for clicks that were sent so late that their session had closed; visitors with
such clicks are left out of it. It shares no code with the enricher.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from clickstream.contracts.clicks import PAGE_VIEW
from clickstream.contracts.session_records import Session
from demo.stored import Stored, StoredClick
from demo.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Rules:
    """How sessions are cut: times in ms; `by_user`: the grouping key is user_id, otherwise the client's session id."""

    gap_ms: int
    grace_ms: int
    by_user: bool = True


def check_sessions(verdict: Verdict, stores: tuple[Stored, Stored], rules: Rules) -> None:
    """Add to the verdict whatever is wrong with sessions."""
    for store in stores:
        groups = _groups(store)
        _check_recomputed(verdict, store, groups)
        _check_cut(verdict, store, groups, rules)
    _check_equal(verdict, *stores)


Groups = dict[str, list[StoredClick]]


def _groups(store: Stored) -> Groups:
    """The clicks of each current session, by time. Late clicks are in no session; copies count once."""
    groups: Groups = defaultdict(list)
    for copies in store.clicks.values():
        session = store.session_of(copies[0])
        if session is not None:
            groups[session].append(copies[0])
    for clicks in groups.values():
        clicks.sort(key=lambda click: click.event_time)
    return groups


def _check_recomputed(verdict: Verdict, store: Stored, groups: Groups) -> None:
    for session_id, copies in store.sessions.items():
        if len(copies) > 1:
            verdict.differ("session twice", f"{session_id} is {len(copies)} times in {store.name}")
        if session_id not in groups:
            verdict.differ("session without clicks", f"{session_id} in {store.name}")
    for session_id, clicks in groups.items():
        stored = store.sessions.get(session_id)
        if stored is None:
            verdict.differ("session missing", f"{session_id} of {len(clicks)} clicks in {store.name}")
            continue
        ours = (
            clicks[0].event_time,
            clicks[-1].event_time,
            len(clicks),
            sum(click.type == PAGE_VIEW for click in clicks),
        )
        theirs = (stored[0].start, stored[0].end, stored[0].events, stored[0].page_views)
        for field, our, their in zip(("start", "end", "events", "page_views"), ours, theirs, strict=True):
            if our != their:
                verdict.differ(
                    "session recomputed", f"{session_id} in {store.name}: {field} {their}, by its clicks {our}"
                )


def _check_cut(verdict: Verdict, store: Stored, groups: Groups, rules: Rules) -> None:
    visitors: dict[tuple[str, bool], list[tuple[str, list[StoredClick]]]] = defaultdict(list)
    for session_id, clicks in groups.items():
        keys = {click.user_id if rules.by_user else click.client_session_id for click in clicks}
        if len(keys) > 1:
            verdict.differ("session of several visitors", f"{session_id} in {store.name}")
        bot = any(session.bot for session in store.sessions.get(session_id, ()))  # they have sessions of their own
        visitors[min(keys), bot].append((session_id, clicks))
        for one, next_one in pairwise(clicks):
            if next_one.event_time - one.event_time > rules.gap_ms:
                verdict.differ("session too long a gap", f"{session_id} in {store.name} after {one.event_time}")
                break
    for sessions in visitors.values():
        if len(sessions) < 2 or any(_was_late(click, rules) for _, clicks in sessions for click in clicks):
            continue
        sessions.sort(key=lambda each: each[1][0].event_time)
        for (one_id, one_clicks), (next_id, next_clicks) in pairwise(sessions):
            if next_clicks[0].event_time - one_clicks[-1].event_time <= rules.gap_ms:
                verdict.differ("sessions too close", f"{one_id} and {next_id} in {store.name}")


def _was_late(click: StoredClick, rules: Rules) -> bool:
    """Sent so late that its session may have been closed meanwhile (half the grace is the safety margin)."""
    return click.received_at - click.event_time > rules.grace_ms // 2


def _check_equal(verdict: Verdict, one: Stored, other: Stored) -> None:
    for session_id in one.sessions.keys() | other.sessions.keys():
        ours, theirs = one.sessions.get(session_id), other.sessions.get(session_id)
        if ours is None or theirs is None:
            verdict.differ("session in one store", f"{session_id} is only in {(other if ours is None else one).name}")
        elif ours[0] != theirs[0]:
            verdict.differ("session differs", f"{session_id}: {_fields(one.name, ours[0], other.name, theirs[0])}")


def _fields(one: str, ours: Session, other: str, theirs: Session) -> str:
    left, right = msgspec.to_builtins(ours), msgspec.to_builtins(theirs)
    names = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
    return "; ".join(f"{name} {left.get(name)!r} in {one}, {right.get(name)!r} in {other}" for name in names)
