"""The SQL of one batch: staging tables, and what moves their rows on, all within one transaction.

Rollups are computed from the rows that the insert really added, in the same statement, so that a click that comes twice
is counted once. Rows are sorted before each upsert, so that two replicas lock in the same order; of two rows with one
key the earlier one wins (`ctid` is the order of the COPY), as in Elasticsearch.
"""

from __future__ import annotations

from typing import Final

from clickstream.sinks.postgres.rows import CLICK_JSON, CLICK_SCALARS, COPY_FORMAT, SESSION_JSON, SESSION_SCALARS

UNDATED_DAY: Final = "0001-01-01"
"""What stands for `undated` in a date column: before every real day, and a date in every client language."""


def temporary(name: str, scalars: dict[str, str], documents: tuple[str, ...]) -> str:
    """A table of one connection, emptied by each commit; `documents` are columns of JSON."""
    columns = [f'"{column}" {kind}' for column, kind in scalars.items()] + [f'"{column}" jsonb' for column in documents]
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({', '.join(columns)}) ON COMMIT DELETE ROWS"


def time_of(column: str) -> str:
    """Milliseconds as timestamptz, exact for every year (a double of seconds is not)."""
    return f"to_timestamp({column} / 1000) + ({column} % 1000) * interval '1 millisecond'"


def day_of(column: str) -> str:
    """A storage day as a date."""
    return f"CASE {column} WHEN 'undated' THEN DATE '{UNDATED_DAY}' ELSE {column}::date END"


PREPARE: Final = (
    temporary("staged_clicks", CLICK_SCALARS, CLICK_JSON),
    temporary("staged_sessions", SESSION_SCALARS, SESSION_JSON),
)

COPY_CLICKS: Final = f"COPY staged_clicks FROM STDIN {COPY_FORMAT}"
COPY_SESSIONS: Final = f"COPY staged_sessions FROM STDIN {COPY_FORMAT}"

CLICK_COLUMNS: Final[dict[str, str]] = {
    "event_id": "event_id",
    "storage_day": day_of("storage_day"),
    "event_time": time_of("event_time"),
    "received_at": time_of("received_at"),
    "client_timestamp": time_of('"timestamp"'),
    "session_id": "session",
} | {
    column: f'"{column}"'
    for column in (*CLICK_SCALARS, *CLICK_JSON)
    if column not in {"event_id", "storage_day", "event_time", "received_at", "timestamp", "session"}
}


def insert_clicks(staged: str, columns: dict[str, str]) -> str:
    """The statement that inserts the new clicks in `staged` and counts them; `columns` of clicks, by expression."""
    return f"""
WITH added AS (
    INSERT INTO clicks ({", ".join(columns)})
    SELECT {", ".join(columns.values())}
    FROM {staged} ORDER BY 2, 1, ctid
    ON CONFLICT DO NOTHING
    RETURNING event_time, type, page_path, user_id, bot
), views AS (
    INSERT INTO page_views_minute AS m (minute, page_path, bot, views)
    SELECT date_trunc('minute', event_time), min(page_path), bot, count(*)
    FROM added WHERE type = 'page_view' GROUP BY 1, page_key(page_path), 3 ORDER BY 1, page_key(page_path), 3
    ON CONFLICT (minute, page_key, bot) DO UPDATE SET views = m.views + EXCLUDED.views
), hours AS (
    INSERT INTO active_users_hour (hour, user_id, bot)
    SELECT DISTINCT date_trunc('hour', event_time, p.time_zone), user_id, bot
    FROM added CROSS JOIN pipeline p ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING
), days AS (
    INSERT INTO active_users_day (day, user_id, bot)
    SELECT DISTINCT (event_time AT TIME ZONE p.time_zone)::date, user_id, bot
    FROM added CROSS JOIN pipeline p ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM added
"""  # noqa: S608 - names of this package


STORE_CLICKS: Final = insert_clicks("staged_clicks", CLICK_COLUMNS)

_SESSION_COLUMNS: Final[dict[str, str]] = {
    "session_id": "id",
    "storage_day": day_of("storage_day"),
    "recorded_at": time_of("recorded_at"),
    "started_at": time_of("start_ms"),
    "ended_at": time_of("end_ms"),
    "merged_ids": "CASE WHEN merged_ids IS NULL THEN NULL ELSE ARRAY(SELECT jsonb_array_elements_text(merged_ids)) END",
} | {
    column: column
    for column in (*SESSION_SCALARS, *SESSION_JSON)
    if column not in {"id", "storage_day", "recorded_at", "start_ms", "end_ms", "merged_ids"}
}

STORE_SESSIONS: Final = f"""
INSERT INTO session_records AS s ({", ".join(_SESSION_COLUMNS)})
SELECT {", ".join(_SESSION_COLUMNS.values())}
FROM staged_sessions ORDER BY 1
ON CONFLICT (session_id) DO UPDATE SET
    {", ".join(f"{column} = EXCLUDED.{column}" for column in _SESSION_COLUMNS if column != "session_id")}
WHERE s.version < EXCLUDED.version
RETURNING merged_into IS NOT NULL
"""  # noqa: S608

_EDGES: Final = """
    SELECT DISTINCT ON (absorbed) absorbed, survivor, version, recorded_at
    FROM (
        SELECT id AS absorbed, merged_into AS survivor, version, recorded_at
        FROM staged_sessions WHERE merged_into IS NOT NULL
        UNION ALL
        SELECT jsonb_array_elements_text(merged_ids), id, version, recorded_at
        FROM staged_sessions WHERE merged_into IS NULL
    ) found
    WHERE absorbed <> survivor
    ORDER BY absorbed, version DESC, survivor"""

# A session that a replay took out of another one is current; what absorbed it before may still be written again.
_ABSORBED: Final = """
    coalesce((SELECT r.version FROM session_records r WHERE r.session_id = e.absorbed AND r.merged_into IS NULL), -1)
        < e.version"""

ALIASES_ARE_NEWS: Final = f"""
SELECT EXISTS (
    SELECT FROM ({_EDGES}) e LEFT JOIN session_aliases a ON a.session_id = e.absorbed
    WHERE (a.session_id IS NULL OR (a.version < e.version AND a.merged_into <> e.survivor)) AND {_ABSORBED}
)"""  # noqa: S608

END_ALIASES: Final = """
DELETE FROM session_aliases a USING staged_sessions s
WHERE s.merged_into IS NULL AND a.session_id = s.id AND a.version <= s.version"""
"""An absorbed session that is current again, which only a replay causes, no longer belongs to another."""

LOCK_ALIASES: Final = (
    "SELECT pg_advisory_xact_lock(hashtextextended((SELECT namespace || '.' || name FROM pipeline) || ' aliases', 0))"
)
"""Merges of one chain come from different partitions, so from different replicas, each of which must see the
other's."""

STORE_ALIASES: Final = f"""
INSERT INTO session_aliases AS a (session_id, merged_into, version, recorded_at)
SELECT absorbed, survivor, version, {time_of("recorded_at")} FROM ({_EDGES}) e WHERE {_ABSORBED} ORDER BY 1
ON CONFLICT (session_id) DO UPDATE SET
    merged_into = EXCLUDED.merged_into, version = EXCLUDED.version, recorded_at = EXCLUDED.recorded_at
WHERE a.version < EXCLUDED.version AND a.merged_into <> EXCLUDED.merged_into
RETURNING session_id
"""  # noqa: S608

FOLLOW_ALL_ALIASES: Final = """
UPDATE session_aliases a SET merged_into = b.merged_into, version = greatest(a.version, b.version)
FROM session_aliases b WHERE b.session_id = a.merged_into AND b.merged_into <> a.session_id"""

FOLLOW_ALIASES: Final = f"{FOLLOW_ALL_ALIASES} AND a.session_id = ANY(%s)"
"""One step of each of these aliases towards the current session; twice as far with each repetition."""

REPOINT_ALIASES: Final = f"{FOLLOW_ALL_ALIASES} AND b.session_id = ANY(%s)"
"""Those that named one of these sessions, which are no longer current."""

MOST_STEPS: Final = 40
"""Of FOLLOW_ALIASES; a chain of 2^40 merges, or one that goes in a circle, which no enricher writes."""
