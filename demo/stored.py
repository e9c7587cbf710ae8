"""What a store holds, for the check: every click and session with all its copies.

A dictionary by id would hide the copies that the check looks for. Both stores are read into the same shape
(`read_elasticsearch`, `read_postgres`), with the columns that the check needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, NamedTuple

import msgspec
import psycopg
from psycopg import sql

from clickstream.contracts.clicks import PAGE_VIEW
from clickstream.contracts.names import Names
from clickstream.contracts.session_records import Session, storage_day_of
from demo.document import BROWSER
from preview.search import Search


class StoredClick(NamedTuple):
    """One stored click; times in ms since the epoch. `session`: the id that it was given, None for a late click."""

    user_id: str
    client_session_id: str
    session: str | None
    event_time: int
    received_at: int
    type: str
    source: str
    page_path: str


@dataclass(frozen=True, slots=True)
class Stored:
    """One store's content: all copies by what identifies a click (`key_of`), by session id; absorbed id → survivor."""

    name: str
    clicks: Mapping[str, list[StoredClick]]
    sessions: Mapping[str, list[Session]]
    aliases: Mapping[str, str]

    def session_of(self, click: StoredClick) -> str | None:
        """The session that the click belongs to now: absorbed sessions are followed to the current one."""
        session, seen = click.session, set[str]()
        while session is not None and session in self.aliases and session not in seen:
            seen.add(session)
            session = self.aliases[session]
        return session


def key_of(event_id: str, click: StoredClick) -> str:
    """What identifies a click: the ledger's event id; of real visitors, who may choose the same one, with its user."""
    return f"{event_id} of {click.user_id}" if click.source == BROWSER else event_id


_PAGE: Final = 5_000
_CLICK: Final = ["event_id", "user_id", "client_session_id", "session", "event_time", "received_at", "type", "source",
                 "page_path"]  # fmt: skip
_SESSION: Final = list(Session.__struct_fields__)


def read_elasticsearch(search: Search, names: Names) -> Stored:
    """All clicks and all current sessions. Raises DevstackError, OSError."""
    clicks: dict[str, list[StoredClick]] = defaultdict(list)
    for source in _all(search, names.clicks_alias, _CLICK):
        click = _click(source)
        clicks[key_of(source["event_id"], click)].append(click)
    sessions: dict[str, list[Session]] = defaultdict(list)
    aliases: dict[str, str] = {}
    for source in _all(search, names.sessions_alias, _SESSION):
        session = msgspec.convert({name: value for name, value in source.items() if value is not None}, Session)
        sessions[session.id].append(session)
        aliases |= dict.fromkeys(session.merged_ids, session.id)
    return Stored("elasticsearch", dict(clicks), dict(sessions), aliases)


def _click(source: dict[str, Any]) -> StoredClick:
    session = source.get("session")
    return StoredClick(
        intern(source["user_id"]),
        intern(source["client_session_id"]),
        None if session is None else intern(session),
        source["event_time"],
        source["received_at"],
        intern(source.get("type", PAGE_VIEW)),
        intern(source.get("source", "")),
        intern(source["page_path"]),
    )


def _all(search: Search, alias: str, fields: list[str]) -> Iterator[dict[str, Any]]:
    search.call("POST", f"/{alias}/_refresh?ignore_unavailable=true")
    pit = search.call("POST", f"/{alias}/_pit?keep_alive=2m&ignore_unavailable=true")["id"]
    after: list[Any] | None = None
    try:
        while True:
            body: dict[str, Any] = {
                "size": _PAGE,
                "pit": {"id": pit, "keep_alive": "2m"},
                "sort": ["_shard_doc"],
                "_source": fields,
                "track_total_hits": False,
            }
            if after is not None:
                body["search_after"] = after
            hits = search.call("POST", "/_search", body)["hits"]["hits"]
            for hit in hits:
                yield hit["_source"]
            if len(hits) < _PAGE:
                return
            after = hits[-1]["sort"]
    finally:
        search.call("DELETE", "/_pit", {"id": pit})


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
    """All clicks, all current sessions, all aliases. Raises psycopg.Error."""
    clicks: dict[str, list[StoredClick]] = defaultdict(list)
    for event_id, user, client, session, event_time, received_at, kind, source, path in _rows(
        connection, _CLICKS, names, "clicks"
    ):
        click = StoredClick(
            intern(user),
            intern(client),
            None if session is None else intern(session),
            event_time,
            received_at,
            intern(kind),
            intern(source),
            intern(path),
        )
        clicks[key_of(event_id, click)].append(click)
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
