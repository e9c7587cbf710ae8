"""One transaction of the PostgreSQL sink: its clicks, its sessions, their aliases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from clickstream.contracts.replays import FIRST_VERSION
from clickstream.sinks.postgres.connection import Connection
from clickstream.sinks.postgres.rows import click_line, session_line
from clickstream.sinks.postgres.statements import (
    ALIASES_ARE_NEWS,
    COPY_CLICKS,
    COPY_SESSIONS,
    END_ALIASES,
    FOLLOW_ALIASES,
    FOLLOW_ALL_ALIASES,
    LOCK_ALIASES,
    MOST_STEPS,
    REPOINT_ALIASES,
    STORE_ALIASES,
    STORE_CLICKS,
    STORE_SESSIONS,
)
from clickstream.sinks.records import Record


def store(
    connection: Connection,
    clicks: Sequence[Record],
    sessions: Sequence[Record],
    *,
    lock_seconds: int | None = None,
    empty: bool = False,
    beat: Callable[[], None] = lambda: None,
) -> tuple[int, list[bool]]:
    """(number of new clicks, for each session record that is newer than the stored one whether it is a retraction).

    `lock_seconds` instead of the connection's own lock timeout; `empty` runs every statement also without rows; `beat`
    is called before each that may take long. Raises psycopg.Error; then nothing is changed.
    """
    added = 0
    changed: list[bool] = []
    with connection.transaction(), connection.cursor() as cursor:
        if lock_seconds is not None:
            cursor.execute(f"SET LOCAL lock_timeout = '{lock_seconds}s'".encode())
        if clicks or empty:
            with cursor.copy(COPY_CLICKS) as copy:
                copy.write(b"".join([click_line(record.content) for record in clicks]))  # type: ignore[arg-type]
            beat()
            row = cursor.execute(STORE_CLICKS).fetchone()
            assert row is not None
            added = row[0]
        if sessions or empty:
            beat()
            with cursor.copy(COPY_SESSIONS) as copy:
                copy.write(b"".join([session_line(record) for record in sessions]))
            beat()
            changed = [retracted for (retracted,) in cursor.execute(STORE_SESSIONS)]
            beat()
            replayed = any(record.content.version >= FIRST_VERSION for record in sessions)  # type: ignore[union-attr]
            _store_aliases(cursor, empty=empty, replayed=replayed)
    return added, changed


def follow_aliases(connection: Connection) -> int:
    """Make every alias name the current session, also those written by the previous release. Returns their number.

    Raises psycopg.Error.
    """
    total = 0
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(LOCK_ALIASES)
        for _ in range(MOST_STEPS):
            changed = cursor.execute(FOLLOW_ALL_ALIASES).rowcount
            total += changed
            if changed == 0:
                break
    return total


def _store_aliases(cursor: psycopg.Cursor[tuple[Any, ...]], *, empty: bool, replayed: bool) -> None:
    """Make every alias name the current session, whatever order the merges come in."""
    if replayed or empty:
        cursor.execute(LOCK_ALIASES)
        cursor.execute(END_ALIASES)
    news = cursor.execute(ALIASES_ARE_NEWS).fetchone()
    if not (empty or (news is not None and news[0])):
        return
    cursor.execute(LOCK_ALIASES)
    changed = [session_id for (session_id,) in cursor.execute(STORE_ALIASES)]
    if not (changed or empty):
        return
    for _ in range(MOST_STEPS):
        if cursor.execute(FOLLOW_ALIASES, [changed]).rowcount == 0:
            break
    cursor.execute(REPOINT_ALIASES, [changed])
