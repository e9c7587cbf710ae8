"""`clickstream replay`: settings, wiring, figures."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import msgspec

from clickstream.contracts.durations import duration_ms
from clickstream.contracts.kafka_rights import rights_of
from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.times import moment
from clickstream.enricher.brokers import BrokersError, await_brokers
from clickstream.enricher.join_tables import JoinError
from clickstream.enricher.opening import Opened
from clickstream.enricher.output import Output, OutputError
from clickstream.enricher.recovery import ChangelogPartitionsError, RecoveryError
from clickstream.enricher.sessions import PartitionState
from clickstream.enrichment.flow import Flow
from clickstream.enrichment.funnels import FunnelBook
from clickstream.replay.reading import Part, Reading
from clickstream.replay.rewriting import Counts, Rewriting, Rules, Span, Survey, Written
from clickstream.runtime.arguments import rate
from clickstream.runtime.kafka import client_config
from clickstream.runtime.kafka_rights import report
from clickstream.runtime.settings import ENVIRONMENT_HELP, SettingsError, add_pipeline_argument, read_process_settings
from clickstream.runtime.terminal import failed, note
from clickstream.runtime.topic_reader import TopicReadError

_DESCRIPTION = """\
Send the raw clicks of a time range through the enrichment of today (page categories, joins, GeoIP database, the \
rules of
this release, funnels) into both stores. Stored clicks are replaced, sessions written again, rollups follow; nothing is
counted twice, also if it is done twice. Sessions that reach into the range are replayed as a whole. Clicks of sessions
that are still open, or began before what is read, keep their session.
"""

_EPILOG: Final = f"""\
The last line of the output is one JSON object with the figures: `clicks` and `sessions` that are written again, `kept`
clicks that keep their session, `retracted` sessions; `sessions_new` and `sessions_changed` by comparison with the \
sessions
topic. How many clicks differ only the stores can tell: the sinks count those in clickstream_events_replaced_total.

exit status:
  0  done
  1  records were deleted while they were read: begin later
  2  wrong arguments or settings, a joined topic that is missing, a changelog with too few partitions
  3  Kafka could not be reached, or did not take a record

{ENVIRONMENT_HELP}"""

_BROKERS_SECONDS: Final = 10.0
_CLIENT: Final = "clickstream-replay"


class _DeletedError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Job:
    """One replay: range of record times, where reading begins, its start (ms), its limit in clicks per second."""

    pipeline: Pipeline
    span: Span
    since: int
    started: int
    rate: float | None
    dry_run: bool


def main(arguments: Sequence[str]) -> int:
    """See the module; the exit statuses are listed by --help."""
    options = _parser().parse_args(list(arguments))
    try:
        settings = read_process_settings(os.environ, options.pipeline)
        job = _job(settings.pipeline, options)
        kafka = client_config(job.pipeline.kafka, _CLIENT)
        await_brokers(kafka, _BROKERS_SECONDS)
        report(kafka, rights_of("replay", job.pipeline), note)
        opened = Opened(job.pipeline)
        try:
            counts = _replay(job, opened.flow)
        finally:
            opened.close()
    except (SettingsError, JoinError, ChangelogPartitionsError, ValueError) as error:
        return failed("replay", str(error), 2)
    except (BrokersError, TopicReadError, RecoveryError, OutputError) as error:
        return failed("replay", str(error), 3)
    except _DeletedError as error:
        return failed("replay", str(error), 1)
    summary = {"replay": job.started, "dry_run": job.dry_run} | dict(counts)
    sys.stdout.write(msgspec.json.encode(summary).decode() + "\n")
    return 0


def _job(pipeline: Pipeline, options: argparse.Namespace) -> _Job:
    """Raises ValueError."""
    now = int(time.time() * 1_000)
    span = Span(moment(options.start, now), now if options.end is None else moment(options.end, now))
    if span.start >= span.end:
        msg = "--from must be before --to"
        raise ValueError(msg)
    return _Job(pipeline, span, span.start - duration_ms(options.lead), now, options.rate, options.dry_run)


def _replay(job: _Job, flow: Flow) -> Counter[str]:
    enricher = job.pipeline.enricher
    rules = Rules(duration_ms(enricher.session_gap), duration_ms(enricher.grace), enricher.group_by == "user_id")
    funnels = FunnelBook(job.pipeline.funnels)
    reading = Reading(job.pipeline)
    output = None if job.dry_run else _Sending(job)
    total = Counter(dict.fromkeys(asdict(Counts()), 0))
    # First what is to be read, then the sessions: all sessions of those clicks are on their topic by now.
    parts = reading.parts(job.since)
    standing = reading.sessions(job.since)
    if reading.foreign:
        note(f"{reading.foreign} records on the sessions topic are no sessions of clickstream's; they are left out")
    for part in parts:
        state = PartitionState(rules.gap, rules.grace, funnels)
        survey, end = _survey(reading, part, flow, rules, job.span)
        rewriting = Rewriting(flow.enrich, state, rules, survey, job.span, job.started, standing)
        for records in reading.records(part.partition, part.start, end):
            if rewriting.counts.read == 0 and records[0].offset != survey.first:
                msg = f"partition {part.partition}: records were deleted while they were read; choose a later --from"
                raise _DeletedError(msg)
            _send(output, rewriting.add(records))
        _send(output, rewriting.finish(part.stream_time if end == part.end else -1))
        total.update(asdict(rewriting.counts))
        note(f"partition {part.partition}: {rewriting.counts.clicks + rewriting.counts.kept} clicks")
    return total


def _survey(reading: Reading, part: Part, flow: Flow, rules: Rules, span: Span) -> tuple[Survey, int]:
    """The first pass, and the offset at which both end."""
    survey = Survey(flow.read, rules, span, nothing_before=part.nothing_before)
    for records in reading.records(part.partition, part.start, part.end):
        if not survey.add(records):
            return survey, survey.end
    survey.finish(part.stream_time)
    return survey, part.end


def _send(output: _Sending | None, written: Written) -> None:
    if output is not None:
        output.send(written)


class _Sending:
    """Sends records at a limited rate and waits for their delivery. Raises OutputError."""

    def __init__(self, job: _Job) -> None:
        self._names = job.pipeline.names
        self._rate = job.rate
        self._output = Output(job.pipeline.kafka, _CLIENT)
        self._began = time.monotonic()
        self._sent = 0

    def send(self, written: Written) -> None:
        """Send it, and wait for its delivery."""
        step = len(written.clicks) if self._rate is None else max(1, int(self._rate / 10))
        for start in range(0, len(written.clicks), step or 1):
            piece = written.clicks[start : start + step]
            self._output.send(self._names.enriched_clicks, piece)
            self._sent += len(piece)
            if self._rate is not None:
                time.sleep(max(0.0, self._began + self._sent / self._rate - time.monotonic()))
        self._output.send(self._names.sessions, written.sessions)
        self._output.deliver()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clickstream replay",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_pipeline_argument(parser)
    parser.add_argument(
        "--from",
        dest="start",
        required=True,
        metavar="TIME",
        help="clicks that Kafka took from then on: an RFC 3339 time, or 2d: two days ago",
    )
    parser.add_argument("--to", dest="end", metavar="TIME", help="and before then (default: now)")
    parser.add_argument(
        "--lead",
        default="24h",
        metavar="DURATION",
        help="read from so long before --from, to know how the sessions began that reach into the range (24h)",
    )
    parser.add_argument("--rate", type=rate, metavar="N", help="clicks a second at most")
    parser.add_argument("--dry-run", action="store_true", help="send nothing, and tell what would be sent")
    return parser
