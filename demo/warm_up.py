"""Warms Elasticsearch up: some thousand documents and searches like the demo's, in temporary indices.

A Java server that has just started runs interpreted code, ten times slower than a minute later; a demo of one minute
would measure that and nothing else. Servers in production are warm.
"""

from __future__ import annotations

import http.client
import os
import random
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from clickstream.contracts.names import Names
from clickstream.simulator.shop import Shop, generated_products
from clickstream.simulator.traffic import Mix, traffic
from devstack.errors import DevstackError
from preview.search import Search

MOST_SECONDS: Final = 20.0
_BATCH: Final = 2_000
_CALM: Final = 0.15
_CALM_S: Final = 0.5
_DOCUMENTS: Final = 100_000
"""After about as many the hot code is compiled; with half as many, a run of one minute starts with a backlog."""


def warm_up(url: str, names: Names, tell: Callable[[str], object]) -> None:
    """Index and search for a while, at most `MOST_SECONDS`.

    Raises DevstackError, OSError, http.client.HTTPException.
    """
    search = Search(url)
    clicks, sessions = (f"warm-up.{names.prefix}.{kind}" for kind in ("clicks", "sessions"))
    try:
        for index, template in ((clicks, names.clicks_alias), (sessions, names.sessions_alias)):
            body = search.call("GET", f"/_index_template/{template}")["index_templates"][0]["index_template"][
                "template"
            ]
            search.call("PUT", f"/{index}", {part: body[part] for part in ("settings", "mappings")})
        _index(search, url, clicks, sessions, tell)
    finally:
        for index in (clicks, sessions):
            search.call("DELETE", f"/{index}?ignore_unavailable=true")
        search.close()


def wait_until_calm(pid: int | None, tell: Callable[[str], object]) -> None:
    """Wait until the process needs little CPU: the compiler continues for a while after the load has ended."""
    if pid is None or not Path(f"/proc/{pid}/stat").exists():
        return
    tell("compiling")
    ends = time.monotonic() + MOST_SECONDS
    before = _processor_seconds(pid)
    while time.monotonic() < ends:
        time.sleep(_CALM_S)
        now = _processor_seconds(pid)
        if now - before < _CALM * _CALM_S:
            return
        before = now


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _index(search: Search, url: str, clicks: str, sessions: str, tell: Callable[[str], object]) -> None:
    parts = urlsplit(url)
    bulk = http.client.HTTPConnection(parts.hostname or "", parts.port or 9200, timeout=60)
    ends = time.monotonic() + MOST_SECONDS
    actions = _actions(clicks, sessions)
    for number in range(0, _DOCUMENTS, _BATCH):
        batch = list(islice(actions, _BATCH))
        began = time.monotonic()
        bulk.request("POST", "/_bulk", b"".join(batch), {"Content-Type": "application/x-ndjson"})
        answer = bulk.getresponse()
        if b'"errors":true' in answer.read(200):
            msg = "Elasticsearch refused documents like the pipeline's own"
            raise DevstackError(msg)
        answer.read()
        tell(f"{_BATCH / (time.monotonic() - began):,.0f} documents a second")
        _ask(search, clicks, number)
        if time.monotonic() > ends:
            break
    bulk.close()


def _ask(search: Search, clicks: str, number: int) -> None:
    values = [f"{each:032x}" for each in range(number, number + 40)]
    search.search(clicks, {"query": {"ids": {"values": values}}, "size": 40, "_source": False})


def _actions(clicks: str, sessions: str) -> Iterator[bytes]:
    """Bulk actions, a click and a session in turn; sessions grow, so the same documents are written again."""
    shop = Shop("https://shop.example", generated_products())
    encode = msgspec.json.Encoder().encode
    rng = random.Random(0)  # noqa: S311 - no secret
    mix = Mix(repeated=0, delayed=0, spoiled=0, time_scale=0.1)
    for version, sent in enumerate(traffic(0, shop, 1_000, 1_780_000_000_000, mix)):
        event: dict[str, Any] = msgspec.json.decode(sent.body)
        at = 1_780_000_000_000 + int(sent.due_s * 1_000)
        click = {name: event.get(name) for name in ("event_id", "user_id", "page", "title", "referrer", "user_agent")}
        path = event["page"].removeprefix(shop.origin).partition("?")[0]
        click |= {
            "timestamp": at,
            "event_time": at,
            "received_at": at,
            "storage_day": "2026-05-28",
            "client_session_id": event["session_id"],
            "page_path": path,
            "page_category": "product",
            "source": "web",
            "type": "page_view",
            "session": event["session_id"],
            "late": False,
            "bot": False,
            "page_host": "shop.example",
            "medium": "direct",
            "browser": "Chrome",
            "device": "desktop",
            "joins": {"product": {"name": "Item", "category": "kitchen", "price": rng.random()}},
            "properties": event.get("properties", {}),
        }
        yield b"%b\n%b\n" % (encode({"create": {"_index": clicks, "_id": event["event_id"]}}), encode(click))
        session = {
            "id": event["session_id"],
            "version": version,
            "storage_day": "2026-05-28",
            "retracted": False,
            "user_id": event["user_id"],
            "start": at,
            "end": at,
            "duration": 0,
            "events": 1,
            "page_views": 1,
            "entry_page": path,
            "exit_page": path,
            "medium": "direct",
            "device": "desktop",
            "bot": False,
            "bounce": True,
            "closed": False,
            "funnels": {"checkout": 1},
            "funnel_steps": ["checkout:1"],
            "merged_ids": [],
        }
        order = {"_index": sessions, "_id": session["id"], "version": version, "version_type": "external"}
        yield b"%b\n%b\n" % (encode({"index": order}), encode(session))
