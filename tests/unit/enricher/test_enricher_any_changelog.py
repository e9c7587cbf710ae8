"""Whatever lies on the changelog: it is counted and passed over, or it is a state that goes on without harm."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.dead_letters import Origin
from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import Funnel, FunnelStep
from clickstream.contracts.session_records import Session, encode_session
from clickstream.contracts.topics import RECORD_BYTES
from clickstream.enricher.changelog import PARTITION_KEY, Record, Replay, gone_records, key_records, partition_record
from clickstream.enricher.sessions import PartitionState
from clickstream.enrichment.funnels import FunnelBook
from clickstream.sinks import records as sink_records
from support.mutations import arrays_like

NOW = 1_769_860_800_000
KEPT = 40 * 86_400_000
MINUTE = 60_000
NAMES = Names("shop", "web")
FUNNELS = FunnelBook([Funnel("f", [FunnelStep("one", "/"), FunnelStep("two", "/x")])])


def click(event_id: str, when: int, page_path: str = "/", *, bot: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        event_id=event_id, source="web", event_time=when, storage_day="2026-01-31", user_id="u", type="page_view",
        page_path=page_path, medium="direct", referrer_host=None, referrer_source=None, campaign=None, device="desktop",
        country=None, bot=bot,
    )  # fmt: skip


def empty() -> PartitionState:
    return PartitionState(MINUTE, 30 * MINUTE, FUNNELS)


def written() -> list[Record]:
    """What a worker wrote of a busy user: sealed blocks of ids, older sessions of their own, the key, the partition."""
    state, records = empty(), []
    for number in range(80):
        state.apply(b"u", click(f"e{number}", NOW + number % 8 * 3 * MINUTE, "/x" if number % 3 else "/"), number)
    records += key_records(b"u", state.keys[b"u"], state.horizon_minute(state.stream_time))
    state.applied = 79
    return [*records, partition_record(state)]


VALID = written()
KINDS = {key[:1] for key, _, _ in VALID}
MUTATED = {
    place: arrays_like(msgspec.msgpack.decode(value)) for place, (_, value, _) in enumerate(VALID) if value is not None
}
changes = st.dictionaries(st.sampled_from(sorted(MUTATED)), st.none() | st.just(b"!"), min_size=1, max_size=3).flatmap(
    lambda chosen: st.fixed_dictionaries({place: MUTATED[place] | st.none() for place in chosen})
)
headers = st.sampled_from([b"79", b"78", b"0", b"-1", b"-2", b"80", b"9" * 18, b"9" * 30, b"", b"x", b"1_0"])


def test_the_records_that_are_changed_are_of_all_kinds() -> None:
    assert {b"k", b"x", b"b", PARTITION_KEY} == KINDS


@given(changes, st.none() | headers, st.randoms(use_true_random=False))
def test_any_record_is_passed_over_or_a_state_that_goes_on(
    changed: dict[int, bytes | None], offset: bytes | None, order: object
) -> None:
    replay = Replay()
    records = [
        (key, changed.get(place, value), [("applied", offset)] if offset is not None and place in changed else told)
        for place, (key, value, told) in enumerate(VALID)
    ]
    order.shuffle(records)  # type: ignore[attr-defined]
    for record in records:
        replay.add(*record)
    state = empty()
    replay.restore(state)
    goes_on(state)


def goes_on(state: PartitionState) -> None:
    """Clicks come, sessions end, keys are forgotten: all that is written fits, and is a session to the sinks."""
    offset = max([state.applied, *(each.offset for each in state.keys.values())]) + 1
    for number, (when, bot) in enumerate([(0, False), (2, False), (5, True), (11, False), (25, False), (200, False)]):
        ended, gone = state.close_due(1_000)
        for session in ended:
            is_published(session)
        for key, forgotten in gone:
            fit(gone_records(key, forgotten, state.applied))
        outcome = state.apply(b"u", click(f"new{number}", NOW + when * MINUTE, bot=bot), offset + number)
        if outcome.upsert is not None:
            is_published(state.record(outcome.upsert))
        for each in outcome.retractions:
            fit([(each.id.encode(), None, each.headers())])
        for key in sorted(state.dirty):
            fit(key_records(key, state.keys[key], state.horizon_minute(state.stream_time)))
        state.dirty.clear()
        state.applied = offset + number
        fit([partition_record(state)])


def is_published(session: Session) -> None:
    origin = Origin(NAMES.sessions, 0, 0, session.id.encode())
    value = encode_session(session)
    assert len(value) < RECORD_BYTES - 10_000
    found = sink_records.read_record(NAMES, origin, value, NOW, KEPT)
    assert isinstance(found, sink_records.Record), found


def fit(records: list[Record]) -> None:
    for key, value, told in records:
        size = len(key) + len(value or b"") + sum(len(name) + len(content) for name, content in told)
        assert size < RECORD_BYTES - 10_000
