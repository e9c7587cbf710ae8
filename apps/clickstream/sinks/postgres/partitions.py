"""Day partitions of `clicks`: made ahead by setup and maintenance, and on demand by a sink.

A partition is created apart and then attached: that takes a lock which does not block readers and writers, where CREATE
TABLE … PARTITION OF would wait for every running query and block all others meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from psycopg import sql

from clickstream.contracts.names import UNDATED
from clickstream.sinks.postgres.connection import Connection

DAYS_AHEAD: Final = 3

_LIST: Final = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass('clicks') ORDER BY 1
"""


def partition_name(storage_day: str) -> str:
    """`clicks_20260131` for `2026-01-31`."""
    return f"clicks_{storage_day.replace('-', '')}"


def partition_days(connection: Connection) -> list[str]:
    """The days that have a partition, `YYYY-MM-DD`, without the undated one."""
    names = [row[0].removeprefix("clicks_") for row in connection.execute(_LIST)]
    return [f"{name[:4]}-{name[4:6]}-{name[6:]}" for name in names if len(name) == 8 and name.isdigit()]


def days_ahead(now: datetime | None = None) -> list[str]:
    """Today (UTC) and the days after it that should have a partition before the first click comes."""
    today = (now or datetime.now(UTC)).date()
    return [(today + timedelta(days=number)).isoformat() for number in range(DAYS_AHEAD + 1)]


class Partitions:
    """Cache of existing partitions, so that a batch asks the server only about new days."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._known: set[str] = {UNDATED}

    def forget(self) -> None:
        """Clear the cache: another process may have dropped some."""
        self._known = {UNDATED}

    def ensure(self, connection: Connection, days: Iterable[str]) -> list[str]:
        """Make what is missing; returns the days that were made. Safe in several processes at once.

        Raises psycopg.Error.
        """
        missing = sorted(set(days) - self._known)
        if not missing:
            return []
        made = [day for day in missing if self._make(connection, day)]
        self._known.update(missing)
        return made

    def _make(self, connection: Connection, day: str) -> bool:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{self._schema} partitions"])
            if day in partition_days(connection):
                return False
            name = sql.Identifier(self._schema, partition_name(day))
            connection.execute(sql.SQL("CREATE TABLE {} (LIKE clicks INCLUDING ALL)").format(name))
            connection.execute(
                sql.SQL("ALTER TABLE clicks ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({}::date + 1)").format(
                    name, sql.Literal(day), sql.Literal(day)
                )
            )
        return True
