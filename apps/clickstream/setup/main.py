"""`clickstream setup`: creates what a pipeline needs, topics and stores, and deletes it again.

Safe to repeat, or to run twice at once. It waits for what is not there yet: in a cluster the brokers, the stores and
this job start together.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence

from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.topics import SINKS, groups_of, topics_of
from clickstream.runtime.arguments import seconds
from clickstream.runtime.backoff import Backoff
from clickstream.runtime.settings import ENVIRONMENT_HELP, SettingsError, add_pipeline_argument, read_process_settings
from clickstream.runtime.terminal import failed, say
from clickstream.setup.exit_codes import ExitCode, NotYetError, SetupError
from clickstream.setup.topics import LaterError, PartitionsError, ReplicasError, TopicAdmin, TopicError

TOPICS = "topics"
STORES = SINKS
_REQUEST_SECONDS = 5.0
"""For one request to Kafka; between two of them it logs what it is waiting for."""

_DESCRIPTION = """\
Prepare a pipeline's topics or stores.
topics: create them in Kafka and put their settings right; partitions and replicas are never changed.
elasticsearch, postgres: index templates; schema, migrations, partitions, funnels and time zone; then apply the \
retention.
Running it again changes nothing that is up to date.
"""

_EPILOG = f"""\
exit status:
  0  done
  1  Kafka or the store refused for a reason that waiting does not change
  2  wrong arguments or settings, or a file that they name cannot be used
  3  Kafka or the store could not be reached, or rejected the credentials, within --timeout
  4  a topic has another number of partitions or replicas, or the schema or the templates belong to another pipeline \
or a newer release

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
    parser.add_argument(
        "what",
        choices=(TOPICS, *STORES, "all"),
        help="`all`: the stores that the pipeline document names (its topics may be somebody else's to create)",
    )
    add_pipeline_argument(parser)
    parser.add_argument(
        "--timeout", type=seconds, default=120.0, metavar="SECONDS", help="how long to wait for Kafka or a store (120)"
    )
    jobs = parser.add_mutually_exclusive_group()
    jobs.add_argument(
        "--retention-only", action="store_true", help="stores: only delete what is older than the retention"
    )
    jobs.add_argument(
        "--compare",
        action="store_true",
        help="topics: only compare their number of partitions, before somebody else (Strimzi) creates them",
    )
    jobs.add_argument(
        "--drop",
        action="store_true",
        help="delete everything that the pipeline has there; for topics the consumer groups too, once they are empty",
    )
    arguments = parser.parse_args(list(argv))
    if arguments.what == TOPICS and arguments.retention_only:
        parser.error("topics have no --retention-only: Kafka applies their retention")
    if arguments.what != TOPICS and arguments.compare:
        parser.error("--compare is for topics")
    what = arguments.what
    asked = {"retention": arguments.retention_only, "compare": arguments.compare, "drop": arguments.drop}
    job = next((name for name, wanted in asked.items() if wanted), "install")
    try:
        settings = read_process_settings(os.environ, arguments.pipeline)
        wanted = _wanted(what, settings.pipeline)
        settings.set_up_logs("setup")
        for what in wanted:
            set_up(what, settings.pipeline, job, arguments.timeout, say)
    except SettingsError as error:
        return failed("setup", str(error), ExitCode.SETTINGS)
    except SetupError as error:
        return failed("setup", f"{what}: {error}", error.status)
    return ExitCode.DONE


def set_up(what: str, pipeline: Pipeline, job: str, timeout: float, progress: Progress) -> None:
    """Do one job (`install`, `retention`, `compare`, `drop`) in Kafka or a store, waiting for it up to `timeout` s.

    Raises SettingsError, SetupError.
    """
    if what == TOPICS:
        run = _topics
    elif what == "elasticsearch":
        from clickstream.setup.elasticsearch import run  # noqa: PLC0415 - only the client of what is in use
    else:
        from clickstream.setup.postgres import run  # noqa: PLC0415
    deadline = time.monotonic() + timeout
    backoff = Backoff()
    while True:
        try:
            run(pipeline, job, lambda text: progress(f"{what}: {text}"))
        except NotYetError as error:
            left = deadline - time.monotonic()
            if left <= 0:
                msg = f"gave up after {timeout:.0f} s: {error}"
                raise SetupError(msg, ExitCode.UNREACHABLE) from error
            progress(f"{what}: waiting, {left:.0f} s left: {error}")
            time.sleep(min(left, backoff.next_wait()))
        else:
            return


def _topics(pipeline: Pipeline, job: str, progress: Progress) -> None:
    """Do the job once. Raises NotYetError, SetupError, SettingsError."""
    try:
        admin = TopicAdmin(pipeline.kafka, progress, timeout=_REQUEST_SECONDS)
        if job == "drop":
            admin.drop(topics_of(pipeline), groups_of(pipeline))
        elif job == "compare":
            admin.compare(topics_of(pipeline))
        else:
            admin.create(topics_of(pipeline))
    except LaterError as error:
        raise NotYetError(str(error)) from error
    except (PartitionsError, ReplicasError) as error:
        raise SetupError(str(error), ExitCode.CONFLICT) from error
    except TopicError as error:
        raise SetupError(str(error), ExitCode.REFUSED) from error


def _wanted(what: str, pipeline: Pipeline) -> list[str]:
    configured = [name for name in STORES if getattr(pipeline.sinks, name) is not None]
    if what == "all":
        return configured
    if what != TOPICS and what not in configured:
        msg = f"the pipeline document has no sinks.{what}"
        raise SettingsError(msg)
    return [what]
