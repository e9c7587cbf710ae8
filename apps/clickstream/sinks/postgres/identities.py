"""Users, groups, their members and identity edges, as the stored clicks give them.

The trigger `store_identities` (migration 0005) keeps these tables, whatever release's sink inserts a click. The same is
computed here from clicks that are stored: once by setup, for those from before the trigger, and by `clickstream check`.
Everything merges in any order and as often as it comes, so that setup need not keep sinks from writing meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from clickstream.sinks.postgres.connection import Connection
from clickstream.sinks.postgres.partitions import partition_days
from clickstream.sinks.postgres.statements import UNDATED_DAY

Progress = Callable[[str], None]

_BACKFILL: Final = "identities"
_GROUP_ID: Final = "properties ->> 'group_id'"
_OF_LENGTH: Final = "BETWEEN 1 AND 256"
"""As the trigger: longer ids do not fit into an index, and are not taken."""


def _subjects(kind: str, key: str, where: str) -> str:
    """Whom events of this type describe, with the latest traits."""
    return f"""
    SELECT {key} AS id, min(event_time) AS first_identified, max(event_time) AS last_identified,
           latest_traits(click_traits(properties, event_time, received_at, event_id)) AS trait_versions
    FROM clicks WHERE type = '{kind}' AND length({key}) {_OF_LENGTH} AND {where} GROUP BY 1"""  # noqa: S608 - our own text


def _members(where: str) -> str:
    return f"""
    SELECT {_GROUP_ID} AS group_id, user_id, min(event_time) AS first_seen,
           (max(event_time) AT TIME ZONE 'UTC')::date AS last_day
    FROM clicks WHERE type = 'group' AND length({_GROUP_ID}) {_OF_LENGTH} AND length(user_id) {_OF_LENGTH} AND {where}
    GROUP BY 1, 2"""  # noqa: S608


def _edges(where: str) -> str:
    return f"""
    SELECT from_id, user_id, kind, min(event_time) AS first_seen,
           (max(event_time) AT TIME ZONE 'UTC')::date AS last_day
    FROM (
        SELECT properties ->> 'visitor_id' AS from_id, user_id, 'visitor' AS kind, event_time
        FROM clicks WHERE properties ->> 'visitor_id' <> user_id AND {where}
        UNION ALL
        SELECT properties ->> 'previous_id', user_id, 'alias', event_time
        FROM clicks WHERE type = 'alias' AND properties ->> 'previous_id' <> user_id AND {where}
    ) said
    WHERE length(from_id) {_OF_LENGTH} AND length(user_id) {_OF_LENGTH} GROUP BY 1, 2, 3"""  # noqa: S608


def _store_subjects(table: str, id_column: str, found: str) -> str:
    return f"""
    INSERT INTO {table} AS t ({id_column}, first_identified, last_identified, trait_versions)
    SELECT * FROM ({found}) f ORDER BY 1
    ON CONFLICT ({id_column}) DO UPDATE SET
        first_identified = least(t.first_identified, EXCLUDED.first_identified),
        last_identified = greatest(t.last_identified, EXCLUDED.last_identified),
        trait_versions = merge_traits(t.trait_versions, EXCLUDED.trait_versions)"""  # noqa: S608


def _store_pairs(table: str, key: str, found: str) -> str:
    return f"""
    INSERT INTO {table} AS t ({key}, first_seen, last_day)
    SELECT * FROM ({found}) f ORDER BY {key}
    ON CONFLICT ({key}) DO UPDATE SET
        first_seen = least(t.first_seen, EXCLUDED.first_seen), last_day = greatest(t.last_day, EXCLUDED.last_day)
    WHERE t.first_seen > EXCLUDED.first_seen OR t.last_day < EXCLUDED.last_day"""  # noqa: S608


_MEMBER_KEY: Final = "group_id, user_id"
_EDGE_KEY: Final = "from_id, user_id, kind"
_OF_DAY: Final = "storage_day = %(day)s"
_OF_A_DAY: Final = (
    _store_subjects("users", "user_id", _subjects("identify", "user_id", _OF_DAY)),
    _store_subjects("groups", "group_id", _subjects("group", _GROUP_ID, _OF_DAY)),
    _store_pairs("group_members", _MEMBER_KEY, _members(_OF_DAY)),
    _store_pairs("identity_edges", _EDGE_KEY, _edges(_OF_DAY)),
)


def backfill(connection: Connection, progress: Progress) -> None:
    """Add what the clicks say that were stored before the trigger was there, unless that is done; a day a transaction.

    When it is ended in its middle, the next one begins anew. Raises psycopg.Error.
    """
    if connection.execute("SELECT FROM backfills WHERE name = %s", [_BACKFILL]).fetchone() is not None:
        return
    days = [UNDATED_DAY, *partition_days(connection)]
    for day in days:
        with connection.transaction():
            for statement in _OF_A_DAY:
                connection.execute(statement.encode(), {"day": day})
    connection.execute("INSERT INTO backfills (name) VALUES (%s) ON CONFLICT DO NOTHING", [_BACKFILL])
    progress(f"users, groups and identity edges are those of the stored clicks ({len(days) - 1} days)")


_SINCE: Final = "(SELECT now() - %(kept)s * interval '1 millisecond')"
_LATELY: Final = f"event_time >= {_SINCE}"


def _check_subjects(table: str, id_column: str, found: str) -> str:
    """Differences name traits, never their values. What began before `_SINCE` may have lost its first clicks."""

    def told(row: str, other: str) -> str:
        versions = f"jsonb_each({row}.versions) e WHERE e.value IS DISTINCT FROM {other}.versions -> e.key"
        names = f"ARRAY(SELECT key FROM {versions} ORDER BY 1)"  # noqa: S608
        values = f"{row}.first_identified, {row}.last_identified, {names}"
        return f"CASE WHEN {row}.id IS NOT NULL THEN format('%%s to %%s, traits %%s', {values}) END"

    return f"""
    SELECT coalesce(s.id, c.id), {told("s", "c")}, {told("c", "s")}
    FROM (
        SELECT {id_column} AS id, first_identified, last_identified, traits_since(trait_versions, {_SINCE}) AS versions
        FROM {table} WHERE last_identified >= {_SINCE}
    ) s
    FULL JOIN (SELECT id, first_identified, last_identified, trait_versions AS versions FROM ({found}) f) c
        ON c.id = s.id
    WHERE (s.last_identified, s.versions) IS DISTINCT FROM (c.last_identified, c.versions)
        OR (s.first_identified >= {_SINCE} AND s.first_identified <> c.first_identified)
    ORDER BY 1"""  # noqa: S608


def _check_pairs(table: str, key: str, found: str) -> str:
    return f"""
    SELECT {key}, s.first_seen || ' to ' || s.last_day, c.first_seen || ' to ' || c.last_day
    FROM {table} s FULL JOIN ({found}) c USING ({key})
    WHERE greatest(s.last_day, c.last_day) > ({_SINCE} AT TIME ZONE 'UTC')::date
        AND (s.last_day IS DISTINCT FROM c.last_day
             OR (s.first_seen >= {_SINCE} AND s.first_seen <> c.first_seen))
    ORDER BY {key}"""  # noqa: S608


CHECKS: Final = {
    "users": _check_subjects("users", "user_id", _subjects("identify", "user_id", _LATELY)),
    "groups": _check_subjects("groups", "group_id", _subjects("group", _GROUP_ID, _LATELY)),
    "group_members": _check_pairs("group_members", _MEMBER_KEY, _members(_LATELY)),
    "identity_edges": _check_pairs("identity_edges", _EDGE_KEY, _edges(_LATELY)),
}
"""Differences between each table and the clicks, by table: what identifies the row, what is stored, what the clicks
give."""
