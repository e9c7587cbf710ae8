"""From the records of a chunk to all their effects: the flow, then the session step, for one partition.

Pure but for the state that it folds the records into, and deterministic, so that a replay of the same records gives the
same output. Nothing is sent here.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from clickstream.contracts.clicks import EnrichedClick, encode_enriched
from clickstream.contracts.dead_letters import BadRow, Origin
from clickstream.contracts.kafka_records import TRACEPARENT, header
from clickstream.contracts.session_records import encode_session
from clickstream.enricher.changelog import Record
from clickstream.enricher.sessions import KeyState, LiveSession, PartitionState, Settled
from clickstream.enrichment.flow import Flow

log: Final = logging.getLogger(__name__)

CLOSED_AT_ONCE: Final = 10_000
"""Keys that are looked at for closing before what follows from it is written."""

Headers = list[tuple[str, bytes]]
_NO_HEADERS: Final[Headers] = []


@dataclass(slots=True)
class Effects:
    """What a chunk causes. `enriched` and `sessions` hold (key, value, headers); `gone` the keys to delete."""

    enriched: list[Record] = field(default_factory=list)
    sessions: list[Record] = field(default_factory=list)
    dead_letters: list[BadRow] = field(default_factory=list)
    gone: list[tuple[bytes, KeyState]] = field(default_factory=list)
    processed: int = 0
    duplicates: int = 0
    late: int = 0
    forgotten: int = 0


class Processing:
    """The flow and the session step of a pipeline; `group_by` is `user_id` or `session_id`.

    `hand_on` maps the traceparent of a sampled click to the one to send on.
    """

    def __init__(self, flow: Flow, group_by: str, hand_on: Callable[[str], str] = str) -> None:
        self._flow = flow
        self._hand_on = hand_on
        self._by_user = group_by == "user_id"

    def close(self, state: PartitionState, settled: Settled | None = None) -> Effects | None:
        """Close some of the sessions that are over by what is `settled` (sessions.py); None when none is left.

        Call it before a chunk's records, until it returns None.
        """
        closed, gone = state.close_due(CLOSED_AT_ONCE, settled)
        if not closed and not gone:
            return None
        return Effects(
            sessions=[(session.id.encode(), encode_session(session), _NO_HEADERS) for session in closed], gone=gone
        )

    def chunk(self, state: PartitionState, records: Iterable[Any], base: int = 0) -> Effects:
        """Fold records (aiokafka ConsumerRecords of one partition, in order) into the state.

        `base` is added to their offsets (source.py).
        """
        enrich, apply, by_user = self._enriched, state.apply, self._by_user
        effects = Effects()
        forgotten = state.forgotten
        enriched = effects.enriched
        upserts: dict[str, LiveSession] = {}
        retracted: dict[str, Record] = {}
        last = applied = state.applied
        # Records read again are left out: the state was written after all their output was delivered.
        for record in records:
            offset = record.offset + base
            if offset <= applied:
                continue
            last = offset
            effects.processed += 1
            click = enrich(record)
            if isinstance(click, BadRow):
                effects.dead_letters.append(click)
                continue
            key = (click.user_id if by_user else click.client_session_id).encode()
            outcome = apply(key, click, last)
            if outcome.duplicate or outcome.applied:
                effects.duplicates += outcome.duplicate
                continue
            if outcome.late or click.late:
                effects.late += 1
            headers = self._onward(record.headers) if record.headers else _NO_HEADERS
            enriched.append((key, encode_enriched(click.finish(outcome.session, late=outcome.late)), headers))
            if outcome.upsert is not None:
                upserts[outcome.upsert.id] = outcome.upsert
                for retraction in outcome.retractions:
                    # A session that was published before, or in this chunk: its clicks carry its id either way.
                    upserts.pop(retraction.id, None)
                    retracted[retraction.id] = (retraction.id.encode(), None, retraction.headers())
        effects.sessions += retracted.values()
        # One record a session and chunk: nobody needs the states in between.
        for session in upserts.values():
            effects.sessions.append((session.id.encode(), encode_session(state.record(session)), _NO_HEADERS))
        state.applied = last
        effects.forgotten = state.forgotten - forgotten
        return effects

    def codes(self, effects: Effects) -> Counter[str]:
        """Number of dead letters by code."""
        return Counter(row.code for row in effects.dead_letters)

    def _onward(self, headers: Any) -> Headers:
        """The headers of what is made of a record with these."""
        traceparent = header(headers, TRACEPARENT)
        if traceparent is None:
            return _NO_HEADERS
        return [(TRACEPARENT, self._hand_on(traceparent.decode("latin-1")).encode("latin-1"))]

    def _enriched(self, record: Any) -> EnrichedClick | BadRow:
        try:
            found = self._flow.enrich(record.value, record.timestamp)
        except Exception as error:  # the flow is pure: nothing is half done, and the next record is another one
            log.exception(
                "a record could not be enriched and goes to dead-letters",
                extra={"fields": {"topic": record.topic, "partition": record.partition, "offset": record.offset}},
            )
            found = BadRow(
                record.value or b"", "enrich", "internal_error", type(error).__name__, "$", record.timestamp or 0
            )
        if isinstance(found, BadRow):
            origin = Origin(record.topic, record.partition, record.offset, record.key, tuple(record.headers or ()))
            return replace(found, origin=origin)
        return found
