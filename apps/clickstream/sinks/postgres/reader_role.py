"""The role with which analysts and dashboards read a pipeline's schema: `<schema>_reader`, without login.

An administrator grants it to logins (`GRANT shop_reader TO alice`). Roles belong to the whole database server, so the
user that runs the setup may not be allowed to create one; then the setup logs who must do what, and continues without.
Logins and passwords are deliberately absent: they are the administrator's.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from psycopg import sql

from clickstream.sinks.postgres.connection import Connection

Progress = Callable[[str], None]


def reader_role(schema: str) -> str:
    return f"{schema}_reader"


def ensure_reader(connection: Connection, schema: str, progress: Progress) -> None:
    """Within a transaction: make the role if it is not there and may be made, and let it read everything in the schema.

    Raises psycopg.Error for anything but a missing right.
    """
    role = reader_role(schema)
    names = {"role": sql.Identifier(role), "schema": sql.Identifier(schema)}
    if not _exists(connection, role):
        try:
            with connection.transaction():
                connection.execute(sql.SQL("CREATE ROLE {role} NOLOGIN").format(**names))
        except psycopg.errors.InsufficientPrivilege:
            progress(
                f"role {role} is not there and this user may not create roles: have an administrator run "
                f"`CREATE ROLE {role} NOLOGIN` and run setup again"
            )
            return
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            pass  # made by a setup in another database of this server meanwhile
        else:
            progress(f"role {role} is made: grant it to whoever may read schema {schema}")
    for statement in (
        "GRANT USAGE ON SCHEMA {schema} TO {role}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}",
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {role}",
    ):
        connection.execute(sql.SQL(statement).format(**names))


def drop_reader(connection: Connection, schema: str, progress: Progress) -> None:
    """Drop the role once its schema is gone; kept, with a log line, while it is used elsewhere or not ours to drop."""
    role = reader_role(schema)
    if not _exists(connection, role):
        return
    try:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.InsufficientPrivilege) as error:
        progress(f"role {role} stays: {error.diag.message_primary}")
    else:
        progress(f"role {role} is gone")


def _exists(connection: Connection, role: str) -> bool:
    return connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None
