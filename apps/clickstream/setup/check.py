"""`clickstream check`: whether sessions, rollups, users, groups and identity edges agree with the stored clicks.

Fit for a schedule: exit status 1 and the differences by name when they do not. The stores are not compared with each
other, or with what was sent; `make demo` does that with its ledger.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Sequence

import psycopg

from clickstream.contracts.pipeline import Pipeline
from clickstream.runtime.arguments import seconds
from clickstream.runtime.settings import ENVIRONMENT_HELP, SettingsError, add_pipeline_argument, read_process_settings
from clickstream.runtime.terminal import failed, say
from clickstream.setup.exit_codes import ExitCode
from clickstream.sinks.postgres.connection import connect, is_for_now, told
from clickstream.sinks.postgres.installation import SchemaConflictError, missing
from clickstream.sinks.postgres.recomputation import SHOWN, recompute

_DESCRIPTION = """\
Recompute page views, active users, sessions, funnels, users, groups and identity edges from the clicks in PostgreSQL,
and name every difference.
"""

_EPILOG = f"""\
exit status:
  0  everything agrees
  1  there are differences, or the schema is not installed
  2  wrong arguments or settings
  3  PostgreSQL could not be reached
  4  the schema belongs to another pipeline

{ENVIRONMENT_HELP}"""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="clickstream check",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_pipeline_argument(parser)
    parser.add_argument(
        "--settle",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="leave sessions with a click that was received later than this ago for the next check (60)",
    )
    arguments = parser.parse_args(list(argv))
    try:
        return _check(read_process_settings(os.environ, arguments.pipeline).pipeline, arguments.settle)
    except SettingsError as error:
        return failed("check", str(error), ExitCode.SETTINGS)
    except SchemaConflictError as error:
        return failed("check", str(error), ExitCode.CONFLICT)
    except psycopg.Error as error:
        return failed("check", told(error), ExitCode.UNREACHABLE if is_for_now(error) else ExitCode.REFUSED)


def _check(pipeline: Pipeline, settle: float) -> int:
    spec = pipeline.sinks.postgres
    if spec is None:
        return failed("check", "the pipeline document has no sinks.postgres", ExitCode.SETTINGS)
    found: Counter[str] = Counter()
    with connect(spec, pipeline.names.schema, "check") as connection:
        if (absent := missing(connection, pipeline)) is not None:
            return failed("check", absent, ExitCode.REFUSED)
        for difference in recompute(connection, pipeline, settle, say):
            found[difference.part] += 1
            if found[difference.part] <= SHOWN:
                say(f"  {difference}")
    if found:
        counts = ", ".join(f"{count} in {part}" for part, count in found.items())
        return failed("check", f"{found.total()} differences: {counts}", ExitCode.REFUSED)
    say("sessions, funnels and rollups agree with the clicks")
    return ExitCode.DONE
