"""The PostgreSQL sink: each batch is one transaction of COPY into staging tables and a few statements.

A batch that PostgreSQL rejects for its content is halved until the bad record stands alone; all others are stored.
Before a record is blamed for an error that is not known to be of the data, the same statements are run without any
rows. A batch that takes too long, or meets a lock, is split by table, and into smaller portions. When the connection
breaks within a commit its result is unknown: the batch is written again, and what was there already adds nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Final

import psycopg

from clickstream.contracts.pipeline import Pipeline, PostgresSink
from clickstream.contracts.session_records import Retraction
from clickstream.sinks.postgres.connection import (
    Connection,
    connect,
    is_bad_data,
    is_for_now,
    is_slow_or_locked,
    told,
)
from clickstream.sinks.postgres.installation import missing
from clickstream.sinks.postgres.partitions import Partitions, days_ahead, partition_name
from clickstream.sinks.postgres.replacement import PREPARE_REPLAYS, replace_clicks
from clickstream.sinks.postgres.retention import apply_retention
from clickstream.sinks.postgres.statements import PREPARE
from clickstream.sinks.postgres.transaction import follow_aliases, store
from clickstream.sinks.records import Record, Refused, StoredClick, newest
from clickstream.sinks.replayed import newest_replays
from clickstream.sinks.sink import CLICK, RETRACTION, SESSION, MaintenanceError, Outcome

WRITE_SECONDS: Final = 60.0
"""After that long a write returns what it has not begun: the consumer must poll."""
PORTION: Final = 1 << 20
_LOCK_SECONDS: Final = 10
_APART_LOCK_SECONDS: Final = 1
_STATEMENT_SECONDS: Final = 30
_COLUMN: Final = re.compile(r"COPY staged_\w+, line \d+, column (\w+)")
_POOLER: Final = (
    "the tables of this connection are gone: is there a connection pooler between, in transaction mode? "
    "The sink needs a session of its own (PgBouncer: pool_mode = session)"
)


class PostgresStore:
    """One pipeline's PostgreSQL, as the loop sees it."""

    name = "postgres"

    def __init__(self, pipeline: Pipeline, spec: PostgresSink) -> None:
        self._pipeline = pipeline
        self._spec = spec
        self.retention = spec.retention
        self._schema = pipeline.names.schema
        self._partitions = Partitions(self._schema)
        self._portion = PORTION
        self._connection: Connection | None = None
        self.beat: Callable[[], None] = lambda: None

    def target(self, record: Record) -> str:
        """The table, for clicks the partition; see `Sink`."""
        content = record.content
        return partition_name(content.storage_day) if isinstance(content, StoredClick) else "session_records"

    def write(self, records: Sequence[Record]) -> Outcome:
        outcome = Outcome()
        clicks = [r for r in records if isinstance(r.content, StoredClick) and r.replay is None]
        sessions, surplus = newest(record for record in records if not isinstance(record.content, StoredClick))
        outcome.known[SESSION] += surplus
        replays, surplus = newest_replays(record for record in records if record.replay is not None)
        outcome.known[CLICK] += surplus
        attempt = _Attempt(clicks + sessions, replays)
        deadline = time.monotonic() + WRITE_SECONDS
        while attempt.parts and outcome.trouble is None:
            if time.monotonic() > deadline:
                outcome.trouble = f"the store is slow: no more than this was done in {WRITE_SECONDS:.0f} s"
                break
            self.beat()
            part = attempt.parts.pop()
            if len(part) > self._portion:
                attempt.parts += [part[self._portion :], part[: self._portion]]
                continue
            try:
                self._store(part, outcome, apart=attempt.apart)
            except psycopg.Error as error:
                self._failed(part, error, attempt, outcome)
            except _NotInstalledError as error:
                outcome.trouble = str(error)
                attempt.parts.append(part)
            else:
                if len(part) == self._portion:
                    self._portion = min(PORTION, self._portion * 2)
        outcome.later = [record for rest in reversed(attempt.parts) for record in rest]
        return outcome

    def _failed(self, part: list[Record], error: psycopg.Error, attempt: _Attempt, outcome: Outcome) -> None:
        """Decide what becomes of a part that was not stored. Raises the error when no record is to blame."""
        if _no_partition(error):
            attempt.parts.append(part)
            if attempt.looked_again:
                outcome.trouble = "a day partition is not there"
            attempt.looked_again = True
            self._partitions.forget()  # dropped meanwhile
        elif is_slow_or_locked(error):
            self._apart(part, error, attempt, outcome)
        elif is_for_now(error) or (error.sqlstate == "42P01" and "staged_" in str(error)):
            attempt.parts.append(part)
            outcome.trouble = told(error) if is_for_now(error) else _POOLER
            if error.sqlstate is None or not error.sqlstate.startswith(("40", "55")):
                self.close()
        elif is_bad_data(error) or (other := self._error_without_rows(attempt)) is None:
            attempt.parts += _halved(part, error, outcome)
        elif is_for_now(other):
            attempt.parts.append(part)
            outcome.trouble = told(other)
        else:
            self.close()
            raise error

    def _apart(self, part: list[Record], error: psycopg.Error, attempt: _Attempt, outcome: Outcome) -> None:
        """Write what took too long, or met a lock, table by table, then in halves; a single record left is blocked."""
        attempt.apart = True
        targets: dict[str, list[Record]] = {}
        for record in part:
            targets.setdefault(self.target(record), []).append(record)
        slow = error.sqlstate == "57014"
        if slow:
            self._portion = max(1, min(self._portion, len(part)) // 2)
        if len(targets) > 1:
            attempt.parts += reversed(targets.values())
        elif slow and len(part) > 1:
            middle = len(part) // 2
            attempt.parts += [part[middle:], part[:middle]]
        else:
            outcome.blocked += part
            outcome.blocked_by = told(error)

    def _error_without_rows(self, attempt: _Attempt) -> psycopg.Error | None:
        """The error of the same statements without any rows; None: the rows cause it."""
        if not attempt.passes_empty:
            assert self._connection is not None
            try:
                store(self._connection, [], [], empty=True)
                replace_clicks(self._connection, [], empty=True)
            except psycopg.Error as error:
                return error
            attempt.passes_empty = True
        return None

    def maintain(self) -> None:
        try:
            with connect(self._spec, self._schema, "maintenance") as connection:
                if missing(connection, self._pipeline) is None:
                    Partitions(self._schema).ensure(connection, days_ahead())
                    follow_aliases(connection)
                    apply_retention(connection, self._schema, self._spec.retention)
        except psycopg.Error as error:
            raise MaintenanceError(told(error)) from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        connection = connect(self._spec, self._schema, "sink-postgres")
        try:
            _require_installed(connection, self._pipeline)
            # The consumer must poll: what takes longer is retried.
            connection.execute(f"SET statement_timeout = '{_STATEMENT_SECONDS}s'")
            connection.execute(f"SET lock_timeout = '{_LOCK_SECONDS}s'")
            for statement in (*PREPARE, *PREPARE_REPLAYS):
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        self._partitions.forget()
        self._connection = connection
        return connection

    def _store(self, records: Sequence[Record], outcome: Outcome, *, apart: bool) -> None:
        """One transaction. Adds to `outcome` only once it is committed.

        `apart`: others wait, so locks are not waited for long.
        """
        connection = self._connected()
        lock_seconds = _APART_LOCK_SECONDS if apart else None
        clicks = [record for record in records if isinstance(record.content, StoredClick)]
        sessions = [record for record in records if not isinstance(record.content, StoredClick)]
        days = {record.content.storage_day for record in clicks}  # type: ignore[union-attr]
        self._partitions.ensure(connection, days)
        if records[0].replay is not None:
            added, replaced = replace_clicks(connection, records, lock_seconds=lock_seconds, beat=self.beat)
            outcome.stored[CLICK] += added
            outcome.replaced[CLICK] += replaced
            outcome.known[CLICK] += len(records) - added - replaced
            return
        added, changed = store(connection, clicks, sessions, lock_seconds=lock_seconds, beat=self.beat)
        retractions = sum(isinstance(record.content, Retraction) for record in sessions)
        outcome.stored[CLICK] += added
        outcome.known[CLICK] += len(clicks) - added
        outcome.stored[RETRACTION] += sum(changed)
        outcome.known[RETRACTION] += retractions - sum(changed)
        outcome.stored[SESSION] += len(changed) - sum(changed)
        outcome.known[SESSION] += len(sessions) - retractions - (len(changed) - sum(changed))
        if added:
            outcome.acknowledged.extend(clicks)


class _Attempt:
    """What is left of one write, the next part last, and its outcome so far.

    Replayed clicks come after the others, in parts of their own.
    """

    def __init__(self, records: list[Record], replays: list[Record]) -> None:
        self.parts = [part for part in (replays, records) if part]
        self.looked_again = False
        self.apart = False
        self.passes_empty = False


class _NotInstalledError(Exception):
    pass


def _require_installed(connection: Connection, pipeline: Pipeline) -> None:
    absent = missing(connection, pipeline)
    if absent is not None:
        raise _NotInstalledError(absent)


def _no_partition(error: psycopg.Error) -> bool:
    """Whether the row's day has no partition, which has the code of a failed check."""
    return error.sqlstate == "23514" and error.diag.constraint_name is None


def _halved(records: Sequence[Record], error: psycopg.Error, outcome: Outcome) -> list[list[Record]]:
    """The halves of a batch with a bad record in it, the first one last; a single record is rejected."""
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
