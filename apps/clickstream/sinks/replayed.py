"""Replayed clicks of one batch, reduced to one for each stored click that they may change.

A replay changes what was found out about a click, never which of its copies is stored. So a store replaces a click only
by one with the same identity and times: those of one raw record.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from clickstream.contracts.replays import Replay
from clickstream.sinks.records import Record, StoredClick


def newest_replays(records: Iterable[Record]) -> tuple[list[Record], int]:
    """(of each click the record of the replay that was started last, how many others there were).

    Where that one keeps the stored session, it keeps what the others would have stored.
    """
    found: dict[tuple[Any, ...], Record] = {}
    surplus = 0
    for record in records:
        identity = _copy(record)
        other = found.get(identity)
        if other is None:
            found[identity] = record
            continue
        surplus += 1
        if _started(record) != _started(other):
            older, newer = sorted((record, other), key=_started)
            found[identity] = _after(older, newer)
    return list(found.values()), surplus


def same_copy(click: StoredClick, stored: dict[str, Any]) -> bool:
    """Whether a document that has the click's identity was made of the same raw record."""
    return all(stored.get(name) == getattr(click, name) for name in ("timestamp", "event_time", "received_at"))


def _after(older: Record, newer: Record) -> Record:
    before, replay = older.replay, newer.replay
    assert isinstance(older.content, StoredClick)
    assert before is not None
    assert replay is not None
    if not replay.keeps_session:
        return newer
    click = msgspec.structs.replace(newer.content, session=older.content.session, late=older.content.late)
    return replace(newer, content=click, replay=Replay(replay.started, before.keeps_session))


def _started(record: Record) -> int:
    assert record.replay is not None
    return record.replay.started


def _copy(record: Record) -> tuple[Any, ...]:
    click = record.content
    assert isinstance(click, StoredClick)
    who = click.storage_day, click.source, click.user_id, click.client_session_id, click.event_id
    return (*who, click.timestamp, click.event_time, click.received_at)
