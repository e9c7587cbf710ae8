"""What the pipeline document declares for the warehouse: the reporting time zone and the funnels.

A funnel that is changed gets a new version, so that a session is read with the steps that were in force when it
started. A changed time zone recomputes the rollups that count by its hours and days, while the sinks wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from clickstream.contracts.pipeline import Funnel
from clickstream.sinks.postgres.connection import Connection

Progress = Callable[[str], None]

_RECOMPUTE: Final = (
    "DELETE FROM active_users_hour",
    """
    INSERT INTO active_users_hour (hour, user_id, bot)
    SELECT DISTINCT date_trunc('hour', event_time, p.time_zone), user_id, bot FROM clicks CROSS JOIN pipeline p
    """,
    "DELETE FROM active_users_day",
    """
    INSERT INTO active_users_day (day, user_id, bot)
    SELECT DISTINCT (event_time AT TIME ZONE p.time_zone)::date, user_id, bot FROM clicks CROSS JOIN pipeline p
    """,
)


class UnknownTimeZoneError(Exception):
    """PostgreSQL does not know the pipeline's time zone."""


def set_time_zone(connection: Connection, time_zone: str, progress: Progress) -> None:
    """Within a transaction: count hours and days in this zone, past ones included.

    Raises UnknownTimeZoneError, psycopg.Error.
    """
    known = connection.execute("SELECT 1 FROM pg_timezone_names WHERE name = %s", [time_zone]).fetchone()
    if known is None:
        msg = f"timeZone: PostgreSQL knows no time zone {time_zone!r}; a name such as Europe/Berlin is wanted"
        raise UnknownTimeZoneError(msg)
    row = connection.execute("SELECT time_zone FROM pipeline").fetchone()
    if row is not None and row[0] == time_zone:
        return
    progress(f"the time zone becomes {time_zone}: hours and days are counted anew")
    # No click may be counted by the old zone after this: the sinks' inserts wait for the end of this transaction.
    connection.execute("LOCK TABLE clicks IN SHARE ROW EXCLUSIVE MODE")
    connection.execute("UPDATE pipeline SET time_zone = %s", [time_zone])
    for statement in _RECOMPUTE:
        connection.execute(statement)


def declare_funnels(connection: Connection, funnels: Sequence[Funnel], progress: Progress) -> None:
    """Within a transaction: bring the funnels in force to what is declared. Raises psycopg.Error."""
    in_force: dict[str, list[tuple[str, str]]] = {}
    for name, step_name, pattern in connection.execute(
        "SELECT funnel, step_name, page_pattern FROM funnels WHERE valid_to IS NULL ORDER BY funnel, step"
    ):
        in_force.setdefault(name, []).append((step_name, pattern))
    declared = {funnel.name: [(step.name, step.page) for step in funnel.steps] for funnel in funnels}
    for name, steps in in_force.items():
        if declared.get(name) != steps:
            connection.execute("UPDATE funnels SET valid_to = now() WHERE funnel = %s AND valid_to IS NULL", [name])
            progress(f"funnel {name}: the old definition ends")
    for name, steps in declared.items():
        if in_force.get(name) == steps:
            continue
        row = connection.execute(
            "SELECT coalesce(max(version), 0) + 1 FROM funnels WHERE funnel = %s", [name]
        ).fetchone()
        assert row is not None
        version = row[0]
        for number, (step_name, pattern) in enumerate(steps, 1):
            connection.execute(
                "INSERT INTO funnels (funnel, version, step, step_name, page_pattern, valid_from) "
                "VALUES (%s, %s, %s, %s, %s, CASE %s WHEN 1 THEN timestamptz 'epoch' ELSE now() END)",
                [name, version, number, step_name, pattern, version],
            )
        progress(f"funnel {name}: version {version} is in force")
