"""What a store holds, as the check wants it: every click and session with all its copies.

Why it exists: a dictionary by id would hide exactly what the check looks for. Both stores are read into the same shape
(`read_elasticsearch`, `read_postgres`). Deliberately absent: the columns that no rule of the check needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from clickstream.contracts.session_records import Session


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
    """One store's content: all copies by event id, all copies by session id, absorbed session id → survivor."""

    name: str
    clicks: Mapping[str, list[StoredClick]]
    sessions: Mapping[str, list[Session]]
    aliases: Mapping[str, str]

    def session_of(self, click: StoredClick) -> str | None:
        """The session that the click belongs to now: sessions that were absorbed lead to the one that stands."""
        session, seen = click.session, set[str]()
        while session is not None and session in self.aliases and session not in seen:
            seen.add(session)
            session = self.aliases[session]
        return session
