"""Retention in PostgreSQL: day partitions are dropped; rows of other tables, and traits, are deleted.

A day is dropped once it is older than the retention and nothing in it was received within the retention: a client whose
clock is 20 days behind writes into a day that is 20 days old. A click that comes for a dropped day makes a fresh
partition, which is dropped in its turn.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, date, datetime, timedelta
from typing import Final

import psycopg
from psycopg import sql

from clickstream.contracts.durations import duration_ms
from clickstream.contracts.times import DAY_MS
from clickstream.sinks.postgres.connection import Connection, told
from clickstream.sinks.postgres.partitions import partition_days, partition_name

log = logging.getLogger(__name__)

_DELETE: Final = (
    "DELETE FROM clicks_undated WHERE received_at < %(cutoff)s",
    "DELETE FROM session_records WHERE ended_at < %(cutoff)s",
    "DELETE FROM session_records WHERE merged_into IS NOT NULL AND recorded_at < %(cutoff)s",
    "DELETE FROM session_aliases WHERE recorded_at < %(cutoff)s",
    "DELETE FROM page_views_minute WHERE minute < %(cutoff)s",
    "DELETE FROM active_users_hour WHERE hour < %(cutoff)s",
    # Whole days only, in the reporting time zone: the day in which the retention ends stays complete.
    "DELETE FROM active_users_day WHERE day < (%(cutoff)s AT TIME ZONE (SELECT time_zone FROM pipeline))::date",
    # What was said of somebody goes as the events go that said it, and the row with the last of them.
    *(
        statement.format(table)
        for table in ("users", "groups")
        for statement in (
            "DELETE FROM {} WHERE oldest_trait < %(cutoff)s AND last_identified < %(cutoff)s",
            "UPDATE {} SET trait_versions = traits_since(trait_versions, %(cutoff)s) WHERE oldest_trait < %(cutoff)s",
        )
    ),
    "DELETE FROM group_members WHERE last_day < (%(cutoff)s AT TIME ZONE 'UTC')::date",
    "DELETE FROM identity_edges WHERE last_day < (%(cutoff)s AT TIME ZONE 'UTC')::date",
)


def apply_retention(connection: Connection, schema: str, retention: str, now_ms: int | None = None) -> list[str]:
    """Delete what is older than `retention` (a duration); returns the dropped days. Only one process at a time does it.

    Raises psycopg.Error.
    """
    now_ms = int(time.time() * 1_000) if now_ms is None else now_ms
    cutoff_ms = now_ms - duration_ms(retention)
    cutoff = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=cutoff_ms)
    key = f"{schema} retention"
    row = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [key]).fetchone()
    if row is None or not row[0]:
        return []
    try:
        dropped = [day for day in partition_days(connection) if _drop(connection, schema, day, cutoff_ms, cutoff)]
        for statement in _DELETE:
            count = connection.execute(statement, {"cutoff": cutoff}).rowcount
            if count:
                log.info("retention: %d rows, %s", count, statement.split(" WHERE")[0].lower())
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key])
    return dropped


def _drop(connection: Connection, schema: str, day: str, cutoff_ms: int, cutoff: datetime) -> bool:
    day_end = (date.fromisoformat(day) - date(1970, 1, 1)).days + 1
    if day_end * DAY_MS > cutoff_ms:
        return False
    name = sql.Identifier(schema, partition_name(day))
    try:
        with connection.transaction():
            # Dropping waits for every running query and blocks new ones: not for long, it can be done later as well.
            connection.execute("SET LOCAL lock_timeout = '5s'")
            # Only writers of this old day wait while it is searched.
            connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(name))
            recent = connection.execute(
                sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE received_at >= %s)").format(name), [cutoff]
            ).fetchone()
            if recent is None or recent[0]:
                return False
            connection.execute(sql.SQL("DROP TABLE {}").format(name))
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        log.info("partition %s is in use and stays until the next run: %s", partition_name(day), told(error))
        return False
    except psycopg.errors.UndefinedTable:
        return False
    log.info("dropped partition %s", partition_name(day))
    return True
