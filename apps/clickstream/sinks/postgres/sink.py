"""The PostgreSQL sink: each batch is one transaction of COPY into staging tables and a few statements.

A batch that holds a value which PostgreSQL refuses is halved until that record stands alone; all others are stored.
When the connection breaks within a commit nobody knows whether it happened: the batch is written again, and what was
there already adds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import psycopg

from clickstream.contracts.pipeline import Pipeline, PostgresSink
from clickstream.contracts.session_records import Retraction
from clickstream.sinks.postgres.connection import Connection, connect, is_bad_data, is_for_now, told
from clickstream.sinks.postgres.installation import missing
from clickstream.sinks.postgres.partitions import Partitions, days_ahead
from clickstream.sinks.postgres.retention import apply_retention
from clickstream.sinks.postgres.rows import click_line, session_line
from clickstream.sinks.postgres.statements import (
    COPY_CLICKS,
    COPY_SESSIONS,
    PREPARE,
    STORE_ALIASES,
    STORE_CLICKS,
    STORE_SESSIONS,
)
from clickstream.sinks.records import Record, Refused, StoredClick, newest
from clickstream.sinks.sink import CLICK, RETRACTION, SESSION, Outcome

_COLUMN: Final = re.compile(r"COPY staged_\w+, line \d+, column (\w+)")


class PostgresStore:
    """One pipeline's PostgreSQL, as the loop sees it."""

    name = "postgres"

    def __init__(self, pipeline: Pipeline, spec: PostgresSink) -> None:
        self._pipeline = pipeline
        self._spec = spec
        self._schema = pipeline.names.schema
        self._partitions = Partitions(self._schema)
        self._connection: Connection | None = None

    def write(self, records: Sequence[Record]) -> Outcome:
        """See `Sink`."""
        outcome = Outcome()
        clicks = [record for record in records if isinstance(record.content, StoredClick)]
        sessions, surplus = newest(record for record in records if not isinstance(record.content, StoredClick))
        outcome.known[SESSION] += surplus
        parts = [clicks + sessions]
        looked_again = False
        while parts:
            part = parts.pop()
            try:
                self._store(part, outcome)
            except psycopg.Error as error:
                if _no_partition(error) and not looked_again:
                    looked_again = True
                    self._partitions.forget()  # dropped under our hands
                    parts.append(part)
                    continue
                if _no_partition(error):
                    outcome.trouble = "a day partition is not there"
                elif is_bad_data(error):
                    parts += _halved(part, error, outcome)
                    continue
                elif is_for_now(error):
                    outcome.trouble = told(error)
                    if error.sqlstate is None or not error.sqlstate.startswith(("40", "55")):
                        self.close()
                else:
                    self.close()
                    raise
            except _NotInstalledError as error:
                outcome.trouble = str(error)
            else:
                continue
            outcome.later = [record for rest in (part, *reversed(parts)) for record in rest]
            break
        return outcome

    def upkeep(self) -> None:
        """See `Sink`."""
        with connect(self._spec, self._schema, "upkeep") as connection:
            if missing(connection, self._pipeline) is None:
                Partitions(self._schema).ensure(connection, days_ahead())
                apply_retention(connection, self._schema, self._spec.retention)

    def close(self) -> None:
        """See `Sink`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        connection = connect(self._spec, self._schema, "sink-postgres")
        try:
            _require_installed(connection, self._pipeline)
            # The loop must turn: what takes longer is tried again.
            connection.execute("SET statement_timeout = '30s'")
            connection.execute("SET lock_timeout = '10s'")
            for statement in PREPARE:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        self._partitions.forget()
        self._connection = connection
        return connection

    def _store(self, records: Sequence[Record], outcome: Outcome) -> None:
        """One transaction. Adds to `outcome` only once it is committed."""
        connection = self._connected()
        clicks = [record for record in records if isinstance(record.content, StoredClick)]
        sessions = [record for record in records if not isinstance(record.content, StoredClick)]
        self._partitions.ensure(connection, {record.content.storage_day for record in clicks})  # type: ignore[union-attr]
        added = 0
        changed: list[bool] = []
        with connection.transaction(), connection.cursor() as cursor:
            if clicks:
                with cursor.copy(COPY_CLICKS) as copy:
                    copy.write(b"".join([click_line(record.content) for record in clicks]))  # type: ignore[arg-type]
                row = cursor.execute(STORE_CLICKS).fetchone()
                assert row is not None
                added = row[0]
            if sessions:
                with cursor.copy(COPY_SESSIONS) as copy:
                    copy.write(b"".join([session_line(record) for record in sessions]))
                changed = [retracted for (retracted,) in cursor.execute(STORE_SESSIONS)]
                cursor.execute(STORE_ALIASES)
        retractions = sum(isinstance(record.content, Retraction) for record in sessions)
        outcome.stored[CLICK] += added
        outcome.known[CLICK] += len(clicks) - added
        outcome.stored[RETRACTION] += sum(changed)
        outcome.known[RETRACTION] += retractions - sum(changed)
        outcome.stored[SESSION] += len(changed) - sum(changed)
        outcome.known[SESSION] += len(sessions) - retractions - (len(changed) - sum(changed))
        if added:
            outcome.acknowledged.extend(clicks)


class _NotInstalledError(Exception):
    pass


def _require_installed(connection: Connection, pipeline: Pipeline) -> None:
    absent = missing(connection, pipeline)
    if absent is not None:
        raise _NotInstalledError(absent)


def _no_partition(error: psycopg.Error) -> bool:
    """Not a check that a value failed, although it has that code: the row's day has no partition."""
    return error.sqlstate == "23514" and error.diag.constraint_name is None


def _halved(records: Sequence[Record], error: psycopg.Error, outcome: Outcome) -> list[list[Record]]:
    """The halves of a batch with a bad value in it, the first one last; a single record is refused."""
    if len(records) > 1:
        middle = len(records) // 2
        return [list(records[middle:]), list(records[:middle])]
    column = error.diag.column_name
    if column is None and (found := _COLUMN.search(error.diag.context or "")):
        column = found[1]
    where = "a value" if column is None else f"the value of {column}"
    reason = f"PostgreSQL refuses {where} (SQLSTATE {error.sqlstate})"
    code = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
    outcome.refused.append(Refused.by_store(records[0], code, reason, "$" if column is None else f"$.{column}"))
    return []
