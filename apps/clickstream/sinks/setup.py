"""`clickstream setup`: installs or migrates a pipeline's stores, and applies its retention. Safe to run again, or twice at once.

Waits for a store that is not there yet: in a cluster the store and this job start together.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence

from clickstream.contracts.logs import set_up_logs
from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.settings import ENVIRONMENT_HELP, SettingsError, read_process_settings
from clickstream.sinks.exits import Exit, NotYetError, SetupError
from clickstream.sinks.patience import Patience

STORES = ("elasticsearch", "postgres")

_DESCRIPTION = """\
Prepare the stores of a pipeline: index templates in Elasticsearch; schema, migrations, partitions, funnels and time zone
in PostgreSQL; then apply the retention. Running it again changes nothing that is up to date.
"""

_EPILOG = f"""\
exit status:
  0  done
  1  the store refused for a reason that waiting does not change
  2  wrong arguments or settings
  3  a store could not be reached within --timeout
  4  the schema or the templates belong to another pipeline or to a newer release

{ENVIRONMENT_HELP}"""


Progress = Callable[[str], None]


def main(argv: Sequence[str]) -> int:
    """See the module; the exit statuses are listed by --help."""
    parser = argparse.ArgumentParser(
        prog="clickstream setup",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("store", choices=(*STORES, "all"), help="`all`: the stores that the pipeline document names")
    parser.add_argument("--pipeline", metavar="FILE", help="the pipeline document (default: $CLICKSTREAM_PIPELINE)")
    parser.add_argument(
        "--timeout", type=float, default=120.0, metavar="SECONDS", help="how long to wait for a store (120)"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--retention-only", action="store_true", help="only delete what is older than the retention")
    what.add_argument("--drop", action="store_true", help="delete everything that the pipeline has in the store")
    arguments = parser.parse_args(list(argv))
    store = arguments.store
    job = "retention" if arguments.retention_only else "drop" if arguments.drop else "install"
    try:
        settings = read_process_settings(os.environ, arguments.pipeline)
        stores = _wanted(store, settings.pipeline)
        set_up_logs("setup", settings.log_level, settings.log_format)
        for store in stores:
            set_up(store, settings.pipeline, job, arguments.timeout, _say)
    except SettingsError as error:
        return _failed(str(error), Exit.SETTINGS)
    except SetupError as error:
        return _failed(f"{store}: {error}", error.status)
    return Exit.DONE


def set_up(store: str, pipeline: Pipeline, job: str, timeout: float, progress: Progress) -> None:
    """Do one job (`install`, `retention`, `drop`) in one store, waiting for it up to `timeout` s. Raises SettingsError, SetupError."""
    if store == "elasticsearch":
        from clickstream.sinks.elasticsearch.job import run  # noqa: PLC0415 - only the client of the store in use
    else:
        from clickstream.sinks.postgres.job import run  # noqa: PLC0415
    deadline = time.monotonic() + timeout
    patience = Patience()
    while True:
        try:
            run(pipeline, job, lambda text: progress(f"{store}: {text}"))
        except NotYetError as error:
            left = deadline - time.monotonic()
            if left <= 0:
                msg = f"gave up after {timeout:.0f} s: {error}"
                raise SetupError(msg, Exit.UNREACHABLE) from error
            progress(f"{store}: waiting, {left:.0f} s left: {error}")
            time.sleep(min(left, patience.next_wait()))
        else:
            return


def _wanted(store: str, pipeline: Pipeline) -> list[str]:
    configured = [name for name in STORES if getattr(pipeline.sinks, name) is not None]
    if store == "all":
        return configured
    if store not in configured:
        msg = f"the pipeline document has no sinks.{store}"
        raise SettingsError(msg)
    return [store]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _failed(text: str, status: Exit) -> int:
    sys.stderr.write(f"clickstream setup: {text}\n")
    return status
