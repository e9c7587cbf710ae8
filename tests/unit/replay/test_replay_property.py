"""Whatever is replayed of whatever traffic: clicks and sessions agree, and what is known is as a fresh run would store
it."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from clickstream.replay.rewriting import Span
from support.replay_model import (
    MINUTE,
    NEW,
    OLD,
    PEOPLE,
    PROBER,
    REFORMED,
    START,
    Live,
    Raw,
    Store,
    raw,
    replay,
)

CLICK = st.tuples(
    st.sampled_from(("ann", "bob")),
    st.sampled_from((0, 1, 4, 9, 10, 11, 25)),  # minutes since the click before
    st.sampled_from((0, 0, 0, 0, 3, 9, 12, 25, 60)),  # minutes that it is late
    st.sampled_from((PEOPLE, PEOPLE, PROBER, REFORMED)),
    st.sampled_from(("/", "/p1", "/p2")),
    st.integers(0, 9),  # 0: the click before is sent again instead
)
TRAFFIC = st.lists(CLICK, min_size=1, max_size=40)


def records_of(traffic: list[tuple[str, int, int, str, str, int]]) -> list[Raw]:
    made: list[Raw] = []
    at = START
    for user, wait, back, agent, page, again in traffic:
        at += wait * MINUTE
        if again == 0 and made:
            made.append(Raw(len(made), at, made[-1].value))
        else:
            made.append(raw(len(made), user, at, event_id=f"e{len(made)}", back=back * MINUTE, agent=agent, page=page))
    return made


def lived(records: list[Raw], chunk: int, idle: int) -> Live:
    """The old enrichment's life, with a pause of the partition after each `idle` chunks."""
    live = Live(OLD)
    for number, start in enumerate(range(0, len(records), chunk)):
        live.chunk(records[start : start + chunk])
        if idle and number % idle == 0:
            following = records[start + chunk : start + chunk + 1]
            live.idle((following[0].timestamp if following else records[-1].timestamp + 30 * MINUTE) - MINUTE)
    return live


@settings(max_examples=400, deadline=None)
@given(TRAFFIC, st.integers(1, 7), st.integers(0, 3), st.integers(0, 60))
def test_all_that_is_over_becomes_what_a_fresh_run_would_have_stored(traffic, chunk, idle, rest):
    records = records_of(traffic)
    live = lived(records, chunk, idle)
    live.idle(records[-1].timestamp + rest * MINUTE)
    assert live.store.differences() == []
    replay(live, records, Span(START, records[-1].timestamp + 1), started=1)
    assert live.store.differences() == []
    fresh = Live(NEW)
    for record in records:
        fresh.chunk([record])
    fresh.idle(live.state.stream_time)
    horizon = live.state.stream_time - 20 * MINUTE
    # Sessions of a chain that is open at the end are left as they are: here, those of a user's last clicks.
    over = {s.id: s for s in fresh.store.standing().values() if s.closed and all_over(fresh.store, s.user_id, horizon)}
    found = live.store.standing()
    assert {session: plain(found[session]) for session in over} == {session: plain(over[session]) for session in over}
    for identity, click in fresh.store.clicks.items():
        stored = live.store.clicks[identity]
        if all_over(fresh.store, click.user_id, horizon):
            assert stored == click
        else:
            kept = msgspec.structs.replace(stored, session=click.session, late=click.late)
            assert kept == click
    gone = {s.id for s in found.values() if s.id not in fresh.store.standing()}
    assert not {session for session in gone if all_over(fresh.store, found[session].user_id, horizon)}


@settings(max_examples=400, deadline=None)
@given(
    TRAFFIC, st.integers(1, 7), st.integers(0, 3), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40),
    st.integers(1, 40),
)  # fmt: skip
def test_any_range_leaves_clicks_and_sessions_that_agree_also_when_live_traffic_goes_on(
    traffic, chunk, idle, first, begin, length, until
):
    records = records_of(traffic)
    live = lived(records[:until], chunk, idle)
    low = min(begin, len(records) - 1)
    span = Span(records[low].timestamp, records[min(low + length, len(records) - 1)].timestamp + 1)
    before = dict(live.store.clicks)
    replay(live, records, span, started=1, first=min(first, low))
    assert live.store.differences() == []
    in_range = {record.value for record in records if span.holds(record.timestamp)}
    for identity, click in live.store.clicks.items():
        if click.session == before[identity].session and click == before[identity]:
            continue
        assert click.page_category in {"new", "home"}, "every click is wholly of one enrichment"
    once = Store(dict(live.store.clicks), dict(live.store.sessions))
    again = replay(live, records, span, started=2, first=min(first, low))
    assert (again.retracted, again.sessions_new, again.sessions_changed) == (0, 0, 0)
    assert live.store.clicks == once.clicks
    assert {s: plain(v) for s, v in live.store.standing().items()} == {s: plain(v) for s, v in once.standing().items()}
    live.use(NEW)
    for record in records[until:]:
        live.chunk([record])
    live.idle(records[-1].timestamp + 60 * MINUTE)
    assert live.store.differences() == []
    assert in_range or until


def all_over(store: Store, user: str, horizon: int) -> bool:
    """Whether none of the user's clicks is of a chain that is open."""
    times = sorted(click.event_time for click in store.clicks.values() if click.user_id == user)
    return not times or times[-1] <= horizon


def plain(session):
    """A session but for its version and what it absorbed."""
    return msgspec.structs.replace(session, version=0, merged_ids=[])
