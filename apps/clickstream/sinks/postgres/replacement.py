"""Replayed clicks in PostgreSQL: what is missing is inserted, what differs is replaced, and the rollups are adjusted.

One transaction. The rows that will change are locked and noted with what the rollups counted of them; so the minute's
views get exact differences, and a user leaves an hour (and then its day) only if no other click of that hour is left.
That is looked up in the hour's clicks while inserts are locked out, and only where clicks became or ceased to be a
bot's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg

from clickstream.sinks.postgres.connection import Connection
from clickstream.sinks.postgres.rows import CLICK_JSON, CLICK_SCALARS, COPY_FORMAT, click_line
from clickstream.sinks.postgres.statements import CLICK_COLUMNS, day_of, insert_clicks, temporary, time_of
from clickstream.sinks.records import Record, StoredClick

_TIME: Final = time_of("s.replay_ms")
_KEYS: Final = ("storage_day", "event_id", "user_id", "client_session_id", "source")
_TIMES: Final = ("event_time", "received_at", "client_timestamp")
"""What a click has of its raw record; a copy that came at another time is another record."""

_NEW: Final = {
    column: expression
    for column, expression in CLICK_COLUMNS.items()
    if column not in {*_KEYS, *_TIMES, "session_id", "late"}
} | {
    "session_id": "CASE WHEN s.keeps_session THEN c.session_id ELSE s.session END",
    "late": "CASE WHEN s.keeps_session THEN c.late ELSE s.late END",
}
_VALUES: Final = {
    column: expression if expression.startswith("CASE") else f"s.{expression}" for column, expression in _NEW.items()
}
_SAME: Final = f"""
    c.storage_day = {day_of("s.storage_day")} AND c.event_id = s.event_id AND c.user_id = s.user_id
    AND c.client_session_id = s.client_session_id AND c.source = s.source
    AND c.event_time = {time_of("s.event_time")} AND c.received_at = {time_of("s.received_at")}
    AND c.client_timestamp = {time_of('s."timestamp"')}"""

PREPARE_REPLAYS: Final = (
    temporary("staged_replays", CLICK_SCALARS | {"replay_ms": "bigint", "keeps_session": "boolean"}, CLICK_JSON),
    """CREATE TEMPORARY TABLE IF NOT EXISTS replaced_clicks (
        staged tid, user_id text, event_time timestamptz,
        old_type text, old_path text, old_bot boolean, new_type text, new_path text, new_bot boolean
    ) ON COMMIT DELETE ROWS""",
)

_COPY: Final = f"""COPY staged_replays ({", ".join(f'"{column}"' for column in (*CLICK_SCALARS, *CLICK_JSON))},
    replay_ms, keeps_session) FROM STDIN {COPY_FORMAT}"""

# The staged rows have no statistics: by default the planner may read all clicks.
_BY_KEY: Final = (
    "SET LOCAL enable_hashjoin TO off",
    "SET LOCAL enable_mergejoin TO off",
    "SET LOCAL enable_nestloop TO on",
)
_BY_RANGE: Final = (
    "SET LOCAL enable_hashjoin TO on",
    "SET LOCAL enable_mergejoin TO off",
    "SET LOCAL enable_nestloop TO off",
)

_FIND: Final = f"""
INSERT INTO replaced_clicks
SELECT s.ctid, c.user_id, c.event_time, c.type, c.page_path, c.bot, s.type, s.page_path, s.bot
FROM staged_replays s JOIN clicks c ON {_SAME}
WHERE (c.replayed_at IS NULL OR c.replayed_at < {_TIME})
    AND ({", ".join(f"c.{column}" for column in _VALUES)}) IS DISTINCT FROM ({", ".join(_VALUES.values())})
ORDER BY c.storage_day, c.event_id, c.user_id, c.client_session_id, c.source
FOR UPDATE OF c"""  # noqa: S608 - names of this package

_FLIPS: Final = "SELECT EXISTS (SELECT FROM replaced_clicks WHERE old_bot <> new_bot)"

# Not the partitions: their maintenance continues.
_HOLD_INSERTS: Final = "LOCK TABLE ONLY clicks IN SHARE ROW EXCLUSIVE MODE"

_INSERT: Final = insert_clicks("staged_replays s", CLICK_COLUMNS | {"replayed_at": _TIME})

_UPDATE: Final = f"""
UPDATE clicks c SET {", ".join(f"{column} = {value}" for column, value in _VALUES.items())}, replayed_at = {_TIME}
FROM staged_replays s WHERE s.ctid = ANY(ARRAY(SELECT staged FROM replaced_clicks)) AND {_SAME}"""  # noqa: S608

_VIEWS: Final = """
INSERT INTO page_views_minute AS m (minute, page_path, bot, views)
SELECT date_trunc('minute', event_time), min(page_path), bot, sum(views)
FROM (
    SELECT event_time, old_path AS page_path, old_bot AS bot, -1 AS views FROM replaced_clicks WHERE old_type = \
'page_view'
    UNION ALL
    SELECT event_time, new_path, new_bot, 1 FROM replaced_clicks WHERE new_type = 'page_view'
) difference
GROUP BY 1, page_key(page_path), 3 HAVING sum(views) <> 0 ORDER BY 1, page_key(page_path), 3
ON CONFLICT (minute, page_key, bot) DO UPDATE SET views = m.views + EXCLUDED.views"""

_NO_VIEWS: Final = """
DELETE FROM page_views_minute m USING replaced_clicks r
WHERE m.minute = date_trunc('minute', r.event_time) AND m.page_key = page_key(r.old_path) AND m.bot = r.old_bot
    AND m.views <= 0"""

_FLIPPED: Final = (
    """
INSERT INTO active_users_hour (hour, user_id, bot)
SELECT DISTINCT date_trunc('hour', event_time, p.time_zone), user_id, new_bot
FROM replaced_clicks CROSS JOIN pipeline p WHERE old_bot <> new_bot ORDER BY 1, 2, 3
ON CONFLICT DO NOTHING""",
    """
INSERT INTO active_users_day (day, user_id, bot)
SELECT DISTINCT (event_time AT TIME ZONE p.time_zone)::date, user_id, new_bot
FROM replaced_clicks CROSS JOIN pipeline p WHERE old_bot <> new_bot ORDER BY 1, 2, 3
ON CONFLICT DO NOTHING""",
)

_HOURS: Final = """
SELECT DISTINCT date_trunc('hour', event_time, p.time_zone)
FROM replaced_clicks CROSS JOIN pipeline p WHERE old_bot <> new_bot ORDER BY 1"""

_LEAVE_HOUR: Final = """
WITH flipped AS MATERIALIZED (
    SELECT DISTINCT user_id, old_bot AS bot FROM replaced_clicks CROSS JOIN pipeline p
    WHERE old_bot <> new_bot AND date_trunc('hour', event_time, p.time_zone) = %(hour)s
), left_over AS MATERIALIZED (
    SELECT DISTINCT c.user_id, c.bot FROM clicks c JOIN flipped f ON f.user_id = c.user_id AND f.bot = c.bot
    WHERE c.event_time >= %(hour)s AND c.event_time < %(hour)s + interval '1 hour'
        AND date_trunc('hour', c.event_time, (SELECT time_zone FROM pipeline)) = %(hour)s
)
DELETE FROM active_users_hour a USING (SELECT user_id, bot FROM flipped EXCEPT SELECT user_id, bot FROM left_over) gone
WHERE a.hour = %(hour)s AND a.user_id = gone.user_id AND a.bot = gone.bot"""

# An hour is of one day. Since 2000 hours begin at a multiple of 30 minutes after its midnight in every time zone.
_LEAVE_DAY: Final = """
DELETE FROM active_users_day d
USING (
    SELECT DISTINCT (event_time AT TIME ZONE p.time_zone)::date AS day, user_id, old_bot AS bot, p.time_zone
    FROM replaced_clicks CROSS JOIN pipeline p WHERE old_bot <> new_bot
) f
WHERE d.day = f.day AND d.user_id = f.user_id AND d.bot = f.bot AND NOT EXISTS (
    SELECT FROM active_users_hour h
    WHERE h.user_id = f.user_id AND h.bot = f.bot AND (h.hour AT TIME ZONE f.time_zone)::date = f.day
        AND h.hour = ANY(ARRAY(SELECT generate_series(f.day::timestamp AT TIME ZONE f.time_zone,
            (f.day + 1)::timestamp AT TIME ZONE f.time_zone, interval '30 minutes')))
)"""


def replace_clicks(
    connection: Connection,
    clicks: Sequence[Record],
    *,
    lock_seconds: int | None = None,
    empty: bool = False,
    beat: Callable[[], None] = lambda: None,
) -> tuple[int, int]:
    """(how many of the replayed clicks are new, how many stored ones were changed). For the parameters see `store`.

    Raises psycopg.Error, and has done nothing then.
    """
    with connection.transaction(), connection.cursor() as cursor:
        if lock_seconds is not None:
            cursor.execute(f"SET LOCAL lock_timeout = '{lock_seconds}s'".encode())
        # 1. Which rows change, and what of them the rollups have counted.
        with cursor.copy(_COPY.encode()) as copy:
            copy.write(b"".join([_line(record) for record in clicks]))
        beat()
        _plan(cursor, _BY_KEY)
        replaced = cursor.execute(_FIND.encode()).rowcount
        flips = _is_true(cursor, _FLIPS) or empty
        if flips:
            cursor.execute(_HOLD_INSERTS)
        # 2. The clicks.
        beat()
        row = cursor.execute(_INSERT.encode()).fetchone()
        assert row is not None
        beat()
        if replaced or empty:
            cursor.execute(_UPDATE.encode())
            # 3. The rollups.
            cursor.execute(_VIEWS)
            cursor.execute(_NO_VIEWS)
        if flips:
            _move_users(cursor, beat)
    return row[0], replaced


def _move_users(cursor: psycopg.Cursor[tuple[Any, ...]], beat: Callable[[], None]) -> None:
    for statement in _FLIPPED:
        cursor.execute(statement.encode())
    _plan(cursor, _BY_RANGE)
    for (hour,) in cursor.execute(_HOURS).fetchall():
        beat()
        cursor.execute(_LEAVE_HOUR, {"hour": hour})
    _plan(cursor, _BY_KEY)
    beat()
    cursor.execute(_LEAVE_DAY)


def _plan(cursor: psycopg.Cursor[tuple[Any, ...]], how: Sequence[str]) -> None:
    for statement in how:
        cursor.execute(statement.encode())


def _is_true(cursor: psycopg.Cursor[tuple[Any, ...]], query: str) -> bool:
    row = cursor.execute(query.encode()).fetchone()
    return row is not None and bool(row[0])


def _line(record: Record) -> bytes:
    click, replay = record.content, record.replay
    assert isinstance(click, StoredClick)
    assert replay is not None
    kept = b"true" if replay.keeps_session else b"false"
    return b"%b,%d,%b\n" % (click_line(click)[:-1], replay.started, kept)
