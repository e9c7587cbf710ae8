"""Installing, checking and removing a pipeline's schema: migrations, identity, funnels, time zone.

Everything of one installation happens in one transaction under an advisory lock, so that two at once, or one that is
killed in its middle, leave nothing half done. What a migration wants computed from the clicks that are stored already
comes after it: sinks would wait for a look at all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import psycopg
from psycopg import sql

from clickstream.contracts.pipeline import Pipeline
from clickstream.sinks.postgres.connection import Connection
from clickstream.sinks.postgres.declarations import declare_funnels, set_time_zone
from clickstream.sinks.postgres.identities import backfill
from clickstream.sinks.postgres.partitions import Partitions, days_ahead
from clickstream.sinks.postgres.reader_role import drop_reader, ensure_reader
from clickstream.sinks.records import GROUPING_FIELD

Progress = Callable[[str], None]

_APPLIED: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT \
now()
)
"""


class SchemaConflictError(Exception):
    """The schema is another pipeline's, or not what this release made; the message says whose and what to do."""


class MissingGrantError(Exception):
    """The user lacks a right that only an administrator can give; the message says which."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file of `migrations/`."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Of the text, to detect a file that was changed after it was applied."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All of them, in order."""
    return sorted(_read(), key=lambda migration: migration.version)


def newest_version() -> int:
    """The schema version that this release writes to."""
    return max(migration.version for migration in migrations())


def install(connection: Connection, pipeline: Pipeline, progress: Progress) -> None:
    """Create or migrate the schema and bring its declarations up to date.

    Raises SchemaConflictError, MissingGrantError, psycopg.Error.
    """
    schema = pipeline.names.schema
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"clickstream setup {schema}"])
        _own(connection, pipeline)
        connection.execute(_APPLIED)
        # What the primary key of clicks is made of; groupBy never changes.
        field = GROUPING_FIELD[pipeline.enricher.group_by]
        connection.execute("SELECT set_config('clickstream.grouping_field', %s, true)", [field])
        for migration in _pending(connection, progress):
            connection.execute(migration.text.encode())
            connection.execute(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
                [migration.version, migration.name, migration.checksum],
            )
            progress(f"schema {schema}: migration {migration.version} ({migration.name}) is applied")
        connection.execute(
            "INSERT INTO pipeline (namespace, name, time_zone) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            [pipeline.namespace, pipeline.name, pipeline.time_zone],
        )
        set_time_zone(connection, pipeline.time_zone, progress)
        declare_funnels(connection, pipeline.funnels, progress)
        ensure_reader(connection, schema, progress)
    Partitions(schema).ensure(connection, days_ahead())
    backfill(connection, progress)
    progress(f"schema {schema} is installed")


def missing(connection: Connection, pipeline: Pipeline) -> str | None:
    """What keeps a sink from writing, for the log; None when nothing is missing (a newer version is fine).

    Raises SchemaConflictError for the schema of another pipeline, psycopg.Error.
    """
    schema = pipeline.names.schema
    if not _has_table(connection, schema, "pipeline"):
        return f"schema {schema} is not installed: run `clickstream setup postgres`"
    _check_owner(connection, pipeline)
    row = connection.execute("SELECT max(version) FROM schema_migrations").fetchone()
    version = 0 if row is None or row[0] is None else int(row[0])
    if version < newest_version():
        return f"schema {schema} has version {version}, {newest_version()} is needed: run `clickstream setup postgres`"
    return None


def drop(connection: Connection, pipeline: Pipeline, progress: Progress) -> None:
    """Delete the schema and all that is in it, if it is this pipeline's. Raises SchemaConflictError, psycopg.Error."""
    schema = pipeline.names.schema
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"clickstream setup {schema}"])
        if not _has_schema(connection, schema):
            progress(f"schema {schema} is not there")
            return
        _own(connection, pipeline)
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
    progress(f"schema {schema} is gone")
    drop_reader(connection, schema, progress)


def _own(connection: Connection, pipeline: Pipeline) -> None:
    """Make sure that the schema exists and is either empty or this pipeline's."""
    schema = pipeline.names.schema
    if not _has_schema(connection, schema):
        try:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        except psycopg.errors.ReservedName as error:
            msg = f"PostgreSQL keeps the name {schema!r} for itself: the pipeline needs another name"
            raise SchemaConflictError(msg) from error
        except psycopg.errors.InsufficientPrivilege as error:
            msg = (
                f"schema {schema} is not there and this user may not create it: have an administrator run "
                f"`CREATE SCHEMA {schema} AUTHORIZATION` with this user, or grant it CREATE on the database"
            )
            raise MissingGrantError(msg) from error
        return
    if _has_table(connection, schema, "pipeline"):
        _check_owner(connection, pipeline)
        return
    row = connection.execute(
        "SELECT count(*) FROM pg_class WHERE relnamespace = %s::regnamespace", [_quoted(schema)]
    ).fetchone()
    assert row is not None
    if row[0]:
        msg = (
            f"schema {schema} holds {row[0]} relations that clickstream did not make: "
            "give the pipeline another name, or another database"
        )
        raise SchemaConflictError(msg)


def _check_owner(connection: Connection, pipeline: Pipeline) -> None:
    row = connection.execute(
        sql.SQL("SELECT namespace, name FROM {}").format(sql.Identifier(pipeline.names.schema, "pipeline"))
    ).fetchone()
    if row is not None and row != (pipeline.namespace, pipeline.name):
        msg = (
            f"schema {pipeline.names.schema} belongs to pipeline {row[0]}/{row[1]}, not to "
            f"{pipeline.namespace}/{pipeline.name}: give one of them another name, or another database"
        )
        raise SchemaConflictError(msg)


def _pending(connection: Connection, progress: Progress) -> Iterator[Migration]:
    applied = {row[0]: row[1:] for row in connection.execute("SELECT version, name, checksum FROM schema_migrations")}
    known = migrations()
    newest = max(applied, default=0)
    if newest > known[-1].version:
        # After a rollback. Migrations leave a schema that the release before writes to (CONTRIBUTING.md).
        progress(f"the schema has version {newest}, which is newer than this release's {known[-1].version}: it stays")
    for migration in known:
        if migration.version not in applied:
            yield migration
        elif applied[migration.version] != (migration.name, migration.checksum):
            msg = f"migration {migration.version} ({migration.name}) was changed after it was applied"
            raise SchemaConflictError(msg)


def _has_schema(connection: Connection, schema: str) -> bool:
    return connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]).fetchone() is not None


def _has_table(connection: Connection, schema: str, table: str) -> bool:
    found = connection.execute("SELECT to_regclass(%s)", [f"{_quoted(schema)}.{table}"]).fetchone()
    return found is not None and found[0] is not None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _read() -> Iterator[Migration]:
    for file in files("clickstream.sinks.postgres").joinpath("migrations").iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("_")
        if file.name.endswith(".sql"):
            yield Migration(int(number), name, file.read_text(encoding="utf-8"))
