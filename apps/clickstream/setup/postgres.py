"""The jobs of `clickstream setup` in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from clickstream.contracts.pipeline import Pipeline
from clickstream.setup.exit_codes import ExitCode, NotYetError, SetupError
from clickstream.sinks.postgres.connection import connect, is_for_now, told
from clickstream.sinks.postgres.declarations import UnknownTimeZoneError
from clickstream.sinks.postgres.installation import MissingGrantError, SchemaConflictError, drop, install, missing
from clickstream.sinks.postgres.retention import apply_retention


def run(pipeline: Pipeline, job: str, progress: Callable[[str], None]) -> None:
    """Do the job once. Raises NotYetError, SetupError, SettingsError."""
    spec = pipeline.sinks.postgres
    assert spec is not None
    schema = pipeline.names.schema
    try:
        with connect(spec, schema, "setup") as connection:
            if job == "drop":
                drop(connection, pipeline, progress)
                return
            if job == "install":
                install(connection, pipeline, progress)
            elif (absent := missing(connection, pipeline)) is not None:
                raise SetupError(absent, ExitCode.REFUSED)
            dropped = apply_retention(connection, schema, spec.retention)
            progress(f"retention of {spec.retention} is applied, {len(dropped)} days dropped")
    except SchemaConflictError as error:
        raise SetupError(str(error), ExitCode.CONFLICT) from error
    except MissingGrantError as error:
        raise SetupError(str(error), ExitCode.REFUSED) from error
    except UnknownTimeZoneError as error:
        raise SetupError(str(error), ExitCode.SETTINGS) from error
    except psycopg.Error as error:
        if is_for_now(error) and error.sqlstate != "42501":
            raise NotYetError(told(error)) from error
        raise SetupError(told(error), ExitCode.REFUSED) from error
