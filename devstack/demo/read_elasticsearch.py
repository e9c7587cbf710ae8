"""Everything that Elasticsearch holds of a pipeline, for the check.

Why it exists: the check must see every document, over all day indices, copies included; so it pages through a point in
time and never asks by id. Deliberately absent: aggregations (`numbers`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from sys import intern
from typing import Any, Final

import msgspec

from clickstream.contracts.clicks import PAGE_VIEW
from clickstream.contracts.names import Names
from clickstream.contracts.session_records import Session
from devstack.demo.search import Search
from devstack.demo.stored import Stored, StoredClick

_PAGE: Final = 5_000
_CLICK: Final = ["event_id", "user_id", "client_session_id", "session", "event_time", "received_at", "type", "source", "page_path"]  # fmt: skip
_SESSION: Final = list(Session.__struct_fields__)


def read_elasticsearch(search: Search, names: Names) -> Stored:
    """All clicks and all sessions that stand. Raises DevstackError, OSError."""
    clicks: dict[str, list[StoredClick]] = defaultdict(list)
    for source in _all(search, names.clicks_alias, _CLICK):
        clicks[source["event_id"]].append(_click(source))
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
