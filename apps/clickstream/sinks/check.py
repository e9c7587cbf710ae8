"""`clickstream check`: whether the streamed sessions and the rollups say what the stored clicks say.

For doubters, and for a schedule: exit status 1 and the differences by name when they do not. Deliberately absent:
comparing the two stores with each other, or with what was sent; `make demo` does that with its ledger.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence

import psycopg

from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.settings import ENVIRONMENT_HELP, SettingsError, read_process_settings
from clickstream.sinks.exits import Exit
from clickstream.sinks.postgres.connection import connect, is_for_now, told
from clickstream.sinks.postgres.installation import SchemaConflictError, missing
from clickstream.sinks.postgres.recomputation import SHOWN, recompute

_DESCRIPTION = """\
Recompute page views, active users, sessions and funnels from the clicks in PostgreSQL, and name every difference.
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
    """See the module."""
    parser = argparse.ArgumentParser(
        prog="clickstream check",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pipeline", metavar="FILE", help="the pipeline document (default: $CLICKSTREAM_PIPELINE)")
    parser.add_argument(
        "--settle",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="leave sessions with a click that was received later than this ago for the next check (60)",
    )
    arguments = parser.parse_args(list(argv))
    try:
        return _check(read_process_settings(os.environ, arguments.pipeline).pipeline, arguments.settle)
    except SettingsError as error:
        return _failed(str(error), Exit.SETTINGS)
    except SchemaConflictError as error:
        return _failed(str(error), Exit.CONFLICT)
    except psycopg.Error as error:
        return _failed(told(error), Exit.UNREACHABLE if is_for_now(error) else Exit.REFUSED)


def _check(pipeline: Pipeline, settle: float) -> int:
    spec = pipeline.sinks.postgres
    if spec is None:
        return _failed("the pipeline document has no sinks.postgres", Exit.SETTINGS)
    found: Counter[str] = Counter()
    with connect(spec, pipeline.names.schema, "check") as connection:
        if (absent := missing(connection, pipeline)) is not None:
            return _failed(absent, Exit.REFUSED)
        for difference in recompute(connection, pipeline, settle, _say):
            found[difference.part] += 1
            if found[difference.part] <= SHOWN:
                _say(f"  {difference}")
    if found:
        counts = ", ".join(f"{count} in {part}" for part, count in found.items())
        return _failed(f"{found.total()} differences: {counts}", Exit.REFUSED)
    _say("sessions, funnels and rollups agree with the clicks")
    return Exit.DONE


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _failed(text: str, status: Exit) -> int:
    sys.stderr.write(f"clickstream check: {text}\n")
    return status
