"""The stores reject writes: overload, blocks, locks, no connection left."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any, Final

import psycopg
from psycopg import sql

from faults.errors import HarnessError
from faults.fault import Fault
from faults.servers import ELASTICSEARCH
from faults.world import World
from preview.search import Search

_REASONS: Final = {429: "es_rejected_execution_exception", 503: "cluster_block_exception", 502: "bad_gateway"}


def _answers(world: World, seconds: float, status: int) -> None:
    body = {"error": {"type": _REASONS[status], "reason": "a fault"}, "status": status}
    world.links[ELASTICSEARCH].answer(status, json.dumps(body).encode())
    time.sleep(seconds)
    world.links[ELASTICSEARCH].restore()
    world.wait_ready()


def _block(world: World, seconds: float, setting: str, *, oldest: bool = False) -> None:
    """Block all indices of clicks and sessions, or the oldest index of clicks alone, while the others must go on."""
    search = Search(world.servers.stack.elasticsearch.url, timeout=20)
    names = world.pipeline.names
    found = sorted(search.call("GET", f"/{names.clicks_alias}/_alias"))
    indices = found[0] if oldest else f"{names.clicks_alias},{names.sessions_alias}"
    search.call("PUT", f"/{indices}/_settings", {"index": {"blocks": {setting: True}}})
    time.sleep(seconds)
    search.call("PUT", f"/{indices}/_settings", {"index": {"blocks": {setting: None}}})
    search.close()
    world.wait_ready()


def _connect(world: World) -> psycopg.Connection[Any]:
    return psycopg.connect(world.servers.stack.postgres.dsn, connect_timeout=10)


def _lock(world: World, seconds: float) -> None:
    """A lock as a migration or a careless analyst takes it: nothing can be written until it is released."""
    with _connect(world) as connection:
        for table in ("clicks", "session_records"):
            name = sql.Identifier(world.pipeline.names.schema, table)
            connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(name))
        time.sleep(seconds)
    world.wait_ready()


def _no_connections(world: World, seconds: float) -> None:
    """Take all that are left, then end all others: they cannot reconnect before these are closed."""
    held: list[psycopg.Connection[Any]] = []
    try:
        _take_all(world, held)
        mine = [connection.info.backend_pid for connection in held]
        held[0].execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> ALL(%s)",
            [mine],
        )
        held[0].commit()
        _take_all(world, held)
        time.sleep(seconds)
    finally:
        for connection in held:
            connection.close()
    world.wait_ready()


def _take_all(world: World, held: list[psycopg.Connection[Any]]) -> None:
    for _ in range(200):
        try:
            held.append(_connect(world))
        except psycopg.OperationalError:
            return
    msg = "PostgreSQL has more connections than expected"
    raise HarnessError(msg)


FAULTS = (
    *(
        Fault(f"elasticsearch answers {status}", "stores", partial(_answers, status=status))
        for status in (429, 502, 503)
    ),
    Fault("elasticsearch is read-only", "stores", partial(_block, setting="read_only_allow_delete")),
    Fault("an old index is write-blocked", "stores", partial(_block, setting="write", oldest=True)),
    Fault("postgres' tables are locked", "stores", _lock),
    Fault("postgres has no connections left", "stores", _no_connections),
)
