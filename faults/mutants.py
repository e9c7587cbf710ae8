"""`python -m faults.mutants NAME SHIFT …` runs `clickstream …` broken in one way, its clock off by SHIFT seconds.

Each mutant is a mistake that such a pipeline may have. A harness that lets one pass proves nothing, so there is a test
for each. A name is `<the part that is broken>/<the mistake>`.
"""

from __future__ import annotations

import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final

from faults.shifted import shift


def _replace(owner: Any, name: str, new: Callable[..., Any]) -> None:
    """Replace an attribute that must exist: a mutant that changes nothing would be none."""
    assert callable(getattr(owner, name))
    setattr(owner, name, new)


def _acks_0() -> None:
    """The tracking API answers 202 for what no broker has."""
    from clickstream.tracking_api import app

    original = app._producer_config
    _replace(app, "_producer_config", lambda settings: original(settings) | {"acks": 0})


def _commit_first() -> None:
    """A sink commits what it has read, then stores it."""
    from clickstream.sinks.continuity import Mark, fingerprint_of
    from clickstream.sinks.loop import Loop

    original = Loop._batch

    def batch(self: Loop, messages: list[Any]) -> None:
        for message in messages:
            place = message.topic(), message.partition()
            self._marks[place] = Mark(message.offset() + 1, fingerprint_of(message))
            self._times[place] = message.timestamp()[1]
        self._settle()
        original(self, messages)

    _replace(Loop, "_batch", batch)


def _random_id() -> None:
    """A document's id is random."""
    from clickstream.sinks.elasticsearch import sink
    from clickstream.sinks.elasticsearch.documents import action as original

    def action(record: Any, names: Any, click_id: str | None = None) -> bytes:
        return original(record, names, click_id or uuid.uuid4().hex)

    _replace(sink, "action", action)


def _day_from_now() -> None:
    """A click's partition is chosen by the writer's clock."""
    from clickstream.contracts.times import iso_day
    from clickstream.enrichment import flow

    _replace(flow, "storage_day", lambda _timestamp, _received_at: iso_day(int(time.time() * 1_000)))


def _no_replay_guard() -> None:
    """Records are applied again although the state has them already."""
    from clickstream.enricher.event_ids import EventIds
    from clickstream.enricher.processing import Effects, Processing
    from clickstream.enricher.sessions import PartitionState

    original = Processing.chunk

    def chunk(self: Processing, state: PartitionState, records: Iterable[Any], base: int = 0) -> Effects:
        state.applied = -1
        for key in state.keys.values():
            key.offset, key.ids = -1, EventIds()
        return original(self, state, records, base)

    _replace(Processing, "chunk", chunk)


def _skip_backward() -> None:
    """Offsets below the highest one read count as read."""
    from clickstream.enricher import partitions, recovery
    from clickstream.enricher.source import Look, Position

    def position_after(applied: int, base: int, _known: bytes | None, look: Look) -> Position:
        last = applied - base
        return Position(look.low if look.high <= last else max(last + 1, look.low), base)

    def jumped(_self: Any, _partition: int, owned: partitions.Owned, offset: int) -> None:
        owned.next = offset

    _replace(recovery, "position_after", position_after)
    _replace(partitions, "position_after", position_after)
    _replace(partitions.Partitions, "_jumped", jumped)


def _unbounded_matcher() -> None:
    """A page pattern is an ordinary regular expression, which backtracks over its wildcards."""
    from clickstream.enrichment import page

    def matcher(pattern: str) -> Callable[[str], bool]:
        expression = re.compile(".*".join(re.escape(part) for part in pattern.split("*")))
        return lambda path: expression.fullmatch(path) is not None

    _replace(page, "matcher", matcher)


MUTANTS: Final[dict[str, Callable[[], None]]] = {
    "tracking-api/acks-0": _acks_0,
    "sink-postgres/commit-first": _commit_first,
    "sink-elasticsearch/random-id": _random_id,
    "enricher/day-from-now": _day_from_now,
    "enricher/no-replay-guard": _no_replay_guard,
    "enricher/skip-backward": _skip_backward,
    "enricher/unbounded-matcher": _unbounded_matcher,
}


if __name__ == "__main__":
    name, seconds = sys.argv[1:3]
    if float(seconds):
        shift(float(seconds))
    MUTANTS[name]()
    from clickstream.cli import main

    sys.argv[:] = ["clickstream", *sys.argv[3:]]
    sys.exit(main())
