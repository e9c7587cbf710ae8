"""Connecting to a pipeline's PostgreSQL, and what the errors of PostgreSQL mean.

Every wait is bounded (connect, lock, statement, dead peer), so that the loop keeps iterating whatever the server does.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import conninfo, sql

from clickstream.contracts.pipeline import PostgresSink
from clickstream.runtime.credentials import trust
from clickstream.runtime.settings import SettingsError, read_secret

Connection = psycopg.Connection[tuple[Any, ...]]

_PATIENT: Final = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

# Classes and codes of https://www.postgresql.org/docs/current/errcodes-appendix.html
_FOR_NOW: Final = ("08", "53", "57", "58", "28", "40", "25006", "3D000", "55P03", "55006", "42501")
_NO_CONNECT: Final = "User does not have CONNECT privilege"
_BAD_DATA: Final = ("22", "23502", "23514", "54000")


def conninfo_of(spec: PostgresSink, process: str) -> str:
    """The whole connection string, password included. Raises SettingsError, which never quotes it."""
    options: dict[str, Any] = dict(_PATIENT) | {"application_name": f"clickstream-{process}", "client_encoding": "UTF8"}
    tls = {}
    if spec.ca_file is not None:
        trust(spec.ca_file, "sinks.postgres.caFile")  # libpq would fail at each connection
        tls = {"sslrootcert": spec.ca_file, "sslmode": "verify-full"}
    if spec.dsn_file is not None:
        where, dsn = f"the content of {spec.dsn_file}", read_secret(spec.dsn_file, "sinks.postgres.dsnFile")
    elif spec.dsn is not None:
        where, dsn = "sinks.postgres.dsn", spec.dsn
    else:
        msg = "sinks.postgres: give dsn or dsnFile"
        raise SettingsError(msg)
    try:
        # The DSN wins over these defaults, but not over the certificate authority.
        return conninfo.make_conninfo("", **(options | conninfo.conninfo_to_dict(dsn) | tls))
    except psycopg.ProgrammingError:
        msg = f"{where} is not a PostgreSQL connection string"  # libpq's own message would quote it
        raise SettingsError(msg) from None


def connect(spec: PostgresSink, schema: str, process: str) -> Connection:
    """An autocommit connection that sees the pipeline's schema first. Raises SettingsError, psycopg.Error."""
    connection: Connection = psycopg.connect(conninfo_of(spec, process), autocommit=True)
    try:
        connection.execute(sql.SQL("SET search_path TO {}, pg_catalog").format(sql.Identifier(schema)))
        connection.execute("SET timezone TO 'UTC'")
    except psycopg.Error:
        connection.close()
        raise
    return connection


def is_for_now(error: psycopg.Error) -> bool:
    """Whether the error is temporary: no connection, no room, a deadlock, a server that starts or fails over."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(_FOR_NOW)


def is_slow_or_locked(error: psycopg.Error) -> bool:
    """Whether a timeout ended the statement: a lock was not available, or it took too long."""
    return error.sqlstate in {"55P03", "57014"}


def is_bad_data(error: psycopg.Error) -> bool:
    """Whether a value that was sent caused the error."""
    return error.sqlstate is not None and error.sqlstate.startswith(_BAD_DATA)


def told(error: psycopg.Error) -> str:
    """The error for the log: PostgreSQL's first line. Connection errors name host and user, never the password."""
    whole = str(error)
    text = (whole.strip() or type(error).__name__).splitlines()[0]
    if _NO_CONNECT in whole:  # its second line; others may quote data
        text = f"{text}: {_NO_CONNECT}"
    return text if error.sqlstate is None else f"{error.sqlstate} {text}"
