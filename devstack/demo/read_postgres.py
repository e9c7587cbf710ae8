"""Everything that PostgreSQL holds of a pipeline, for the check.

Why it exists: the check must see every row of every partition, copies included. Deliberately absent: rollups and views
for analysts (`numbers`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from sys import intern
from typing import Any, Final

import msgspec
import psycopg
from psycopg import sql

from clickstream.contracts.names import Names
from clickstream.contracts.session_records import Session, storage_day_of
from devstack.demo.stored import Stored, StoredClick

_PAGE: Final = 5_000
_CLICKS: Final = sql.SQL("""
    SELECT event_id, user_id, client_session_id, session_id, (extract(epoch FROM event_time) * 1000)::bigint,
           (extract(epoch FROM received_at) * 1000)::bigint, type, source, page_path
    FROM {}""")
_SESSIONS: Final = sql.SQL("""
    SELECT session_id, user_id, (extract(epoch FROM started_at) * 1000)::bigint,
           (extract(epoch FROM ended_at) * 1000)::bigint, version, events, page_views, entry_page, exit_page,
           medium, device, bot, bounce, closed, referrer_host, referrer_source, campaign, country, funnels, merged_ids
    FROM {}""")
_SESSION_FIELDS: Final = ("id", *(name for name in Session.__struct_fields__ if name not in {"id", "storage_day"}))
"""In the order of the query's columns."""
_ALIASES: Final = sql.SQL("SELECT session_id, merged_into FROM {}")


def read_postgres(connection: psycopg.Connection[Any], names: Names) -> Stored:
    """All clicks, all sessions that stand, all aliases. Raises psycopg.Error."""
    clicks: dict[str, list[StoredClick]] = defaultdict(list)
    for event_id, user, client, session, event_time, received_at, kind, source, path in _rows(
        connection, _CLICKS, names, "clicks"
    ):
        clicks[event_id].append(
            StoredClick(
                intern(user),
                intern(client),
                None if session is None else intern(session),
                event_time,
                received_at,
                intern(kind),
                intern(source),
                intern(path),
            )
        )
    sessions: dict[str, list[Session]] = defaultdict(list)
    for row in _rows(connection, _SESSIONS, names, "sessions"):
        fields = {name: value for name, value in zip(_SESSION_FIELDS, row, strict=True) if value is not None}
        session = msgspec.convert(fields | {"storage_day": storage_day_of(row[0])}, Session)
        sessions[session.id].append(session)
    aliases = dict(_rows(connection, _ALIASES, names, "session_aliases"))
    return Stored("postgres", dict(clicks), dict(sessions), aliases)


def _rows(connection: psycopg.Connection[Any], query: sql.SQL, names: Names, table: str) -> Iterator[tuple[Any, ...]]:
    """All rows, fetched a page at a time."""
    with connection.transaction(), connection.cursor(name="demo_check") as cursor:
        cursor.itersize = _PAGE
        cursor.execute(query.format(sql.Identifier(names.schema, table)))
        yield from cursor
