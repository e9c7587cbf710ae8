"""`clickstream dead-letters stats | list | show | replay`."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaException, Producer

from clickstream.contracts.kafka_rights import rights_of
from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.times import iso_time, moment
from clickstream.dead_letters.letters import Letters, Wanted, came_back
from clickstream.dead_letters.repair import Outgoing, Patch, PatchError, Repair, repair
from clickstream.dead_letters.text import described, difference, in_a_line, summary
from clickstream.runtime.arguments import at_least_one, rate
from clickstream.runtime.kafka import client_config, polled, producer_config
from clickstream.runtime.kafka_rights import report
from clickstream.runtime.settings import ENVIRONMENT_HELP, SettingsError, add_pipeline_argument, read_process_settings
from clickstream.runtime.terminal import failed, note
from clickstream.runtime.topic_reader import TopicReadError

_DESCRIPTION: Final = """\
What the pipeline refused, and sending it again once it is repaired.

  stats    how many letters there are of each stage, code and source, and since when
  list     a line for each letter: its id, time, stage, code, source, size and reason
  show     everything about the letters with these ids, their content included
  replay   send letters again, after a patch where one is given; sent twice, an event is stored once.
           Of letters of the same record one is sent. What was sent again before, and came back with the
           same code, is named and not sent, unless a patch changes it or --again is given
"""

_EPILOG: Final = f"""\
--patch is a jq program that is given the letter's JSON and gives the repaired one, such as
  --patch '.timestamp |= sub(" "; "T")'        --patch 'del(.properties.debug) | .user_id |= tostring'
It has 5 seconds for each letter.

Letters stay on their topic until its retention ends, also when they were sent again. The last line of replay's output
is one JSON object: the `letters` looked at, how many of them were `sent` as how many `records`, how many were
`not_sent`, and how many were `repeated`, of a record that is sent for, or named at, another letter.

exit status:
  0  done
  1  replay: some letters were not sent, they are named; show: no such letter
  2  wrong arguments or settings
  3  Kafka could not be reached, or did not take a record

{ENVIRONMENT_HELP}"""

_DELIVERY_SECONDS: Final = 30.0
_LETTER_ID: Final = re.compile(r"[0-9]{1,10}:[0-9]{1,19}")


class _UnavailableError(Exception):
    pass


def main(arguments: Sequence[str]) -> int:
    """See the module; the exit statuses are listed by --help."""
    options = _parser().parse_args(list(arguments))
    try:
        pipeline = read_process_settings(os.environ, options.pipeline).pipeline
        wanted = _wanted(options)
        needed = [
            r for r in rights_of("dead-letters", pipeline) if r.operation == "Read" or options.command == "replay"
        ]
        report(client_config(pipeline.kafka, "clickstream-dead-letters"), needed, note)
        match options.command:
            case "stats":
                return _stats(pipeline, wanted, as_json=options.json)
            case "list":
                return _list(pipeline, wanted, options.limit, as_json=options.json)
            case "show":
                return _show(pipeline, wanted, raw=options.raw)
            case _:
                patch = None if options.patch is None else jq_patch(options.patch)
                return _replay(pipeline, wanted, patch, options)
    except (SettingsError, PatchError, ValueError) as error:
        return failed("dead-letters", str(error), 2)
    except (TopicReadError, _UnavailableError) as error:
        return failed("dead-letters", str(error), 3)


def jq_patch(program: str) -> Patch:
    """A patch out of a jq program. Raises PatchError for one that does not compile."""
    from clickstream.dead_letters.jq_patch import JqPatch  # noqa: PLC0415 - only who patches needs jq

    return JqPatch(program)


def _stats(pipeline: Pipeline, wanted: Wanted, *, as_json: bool) -> int:
    counts: Counter[tuple[str, str, str]] = Counter()
    seen: dict[tuple[str, str, str], tuple[int, int]] = {}
    letters = Letters(pipeline, wanted)
    for letter in letters:
        kind = (letter.row.stage, letter.row.code, letter.row.source)
        counts[kind] += 1
        first, last = seen.get(kind, (letter.time_ms, letter.time_ms))
        seen[kind] = (min(first, letter.time_ms), max(last, letter.time_ms))
    rows = [
        {"stage": kind[0], "code": kind[1], "source": kind[2], "letters": number,
         "first": iso_time(seen[kind][0]), "last": iso_time(seen[kind][1])}
        for kind, number in counts.most_common()
    ]  # fmt: skip
    _print_rows(rows, as_json=as_json)
    _tell_foreign(letters)
    return 0


def _list(pipeline: Pipeline, wanted: Wanted, limit: int, *, as_json: bool) -> int:
    letters = Letters(pipeline, wanted)
    rows: list[dict[str, Any]] = []
    for letter in letters:
        if len(rows) == limit:
            note(f"there are more than {limit}; --limit shows more of them")
            break
        rows.append(summary(letter))
    _print_rows(rows, as_json=as_json)
    _tell_foreign(letters)
    return 0


def _show(pipeline: Pipeline, wanted: Wanted, *, raw: bool) -> int:
    left = set(wanted.ids)
    for letter in Letters(pipeline, wanted):
        left.discard(letter.id)
        if raw:
            sys.stdout.buffer.write(letter.row.original)
            continue
        sys.stdout.write(f"{described(letter)}\n\n")
    if left:
        return failed("dead-letters", f"no such letter: {', '.join(sorted(left))}", 1)
    return 0


def _replay(pipeline: Pipeline, wanted: Wanted, patch: Patch | None, options: argparse.Namespace) -> int:
    figures: Counter[str] = Counter(letters=0, sent=0, records=0, not_sent=0, repeated=0)
    returned = frozenset() if options.again else came_back(pipeline, wanted)
    settled: set[str] = set()
    output = None if options.dry_run else _Output(pipeline, options.rate)
    for letter in Letters(pipeline, wanted):
        if figures["letters"] == options.limit:
            note(f"stopped after {options.limit} letters")
            break
        figures["letters"] += 1
        if letter.record in settled:
            figures["repeated"] += 1
            continue
        made = repair(letter, patch, pipeline)
        if made.after == made.before and letter.refusal in returned:
            why = "it was sent again before, and came back; repair it with --patch, or send it as it is with --again"
            made = Repair([], why, made.before, made.after)
            settled.add(letter.record)
        if options.dry_run:
            sys.stdout.write(difference(letter, made.before, made.after))
        if made.why is not None:
            figures["not_sent"] += 1
            note(f"{letter.id}: {made.why}")
        if made.records:
            settled.add(letter.record)
            figures["sent"] += 1
            figures["records"] += len(made.records)
            if output is not None:
                output.send(made.records)
    if output is not None:
        output.finish()
    summary = {"dry_run": options.dry_run} | dict(figures)
    sys.stdout.write(msgspec.json.encode(summary).decode() + "\n")
    return 1 if figures["not_sent"] else 0


class _Output:
    """Produces records at a rate (per second; None: unlimited) and makes sure that all of them are delivered."""

    def __init__(self, pipeline: Pipeline, rate: float | None) -> None:
        self._producer = Producer(polled(producer_config(pipeline.kafka, "clickstream-dead-letters", idempotent=True)))
        self._rate = rate
        self._began = time.monotonic()
        self._sent = 0
        self._trouble: str | None = None

    def send(self, records: Iterable[Outgoing]) -> None:
        """Queue them, no faster than the rate."""
        for record in records:
            while True:
                try:
                    self._producer.produce(
                        record.topic, record.value, record.key, headers=list(record.headers), on_delivery=self._report
                    )
                except BufferError:
                    self._producer.poll(0.1)
                except KafkaException as error:
                    raise _UnavailableError(error.args[0].str()) from error
                else:
                    break
            self._sent += 1
            self._producer.poll(0)
        if self._rate is not None:
            ahead = self._began + self._sent / self._rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)

    def finish(self) -> None:
        """Wait until all are delivered. Raises when one is not."""
        left = self._producer.flush(_DELIVERY_SECONDS)
        if self._trouble is not None or left:
            raise _UnavailableError(self._trouble or f"{left} records are not delivered")

    def _report(self, error: Any, _: Any) -> None:
        if error is not None:
            self._trouble = error.str()


def _print_rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
        return
    if not rows:
        note("no dead letters")
        return
    lines = [[name.upper() for name in rows[0]], *([in_a_line(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        sys.stdout.write("  ".join(map(str.ljust, line, widths)).rstrip() + "\n")


def _tell_foreign(letters: Letters) -> None:
    if letters.foreign:
        note(f"{letters.foreign} records on the topic are no dead letters of clickstream's")


def _wanted(options: argparse.Namespace) -> Wanted:
    return Wanted(
        stages=frozenset(options.stage),
        codes=frozenset(options.code),
        sources=frozenset(options.source),
        topics=frozenset(options.topic),
        ids=frozenset(getattr(options, "ids", ())),
        since_ms=_moment(options.since),
        until_ms=_moment(options.until),
    )


def _moment(text: str | None) -> int | None:
    return None if text is None else moment(text, int(time.time() * 1_000))


def _letter_id(text: str) -> str:
    if not _LETTER_ID.fullmatch(text):
        msg = f"{text!r} is not partition:offset"
        raise argparse.ArgumentTypeError(msg)
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clickstream dead-letters",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    add_pipeline_argument(common)
    common.add_argument("--stage", action="append", default=[], help="only of this stage (may be repeated)")
    common.add_argument("--code", action="append", default=[], help="only with this code (may be repeated)")
    common.add_argument("--source", action="append", default=[], help="only of this source (may be repeated)")
    common.add_argument("--topic", action="append", default=[], help="only out of this topic (may be repeated)")
    common.add_argument("--since", metavar="TIME", help="written since then: an RFC 3339 time, or 2h: two hours ago")
    common.add_argument("--until", metavar="TIME", help="written before then")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    stats = commands.add_parser("stats", parents=[common], help="count them by stage, code and source")
    listing = commands.add_parser("list", parents=[common], help="a line for each")
    for each in (stats, listing):
        each.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.add_argument("--limit", type=at_least_one, default=100, help="at most so many (100)")
    show = commands.add_parser("show", parents=[common], help="everything about some of them")
    show.add_argument("ids", nargs="+", type=_letter_id, metavar="ID", help="partition:offset, as list shows it")
    show.add_argument("--raw", action="store_true", help="the kept bytes and nothing else")
    replay = commands.add_parser("replay", parents=[common], help="send them again")
    replay.add_argument("ids", nargs="*", type=_letter_id, metavar="ID", help="only these (default: all that match)")
    replay.add_argument("--patch", metavar="JQ", help="a jq program that repairs the letter's JSON")
    replay.add_argument("--again", action="store_true", help="also what was sent again before, and came back")
    replay.add_argument("--dry-run", action="store_true", help="show the differences and send nothing")
    replay.add_argument("--rate", type=rate, metavar="N", help="records a second at most")
    replay.add_argument("--limit", type=at_least_one, help="at most so many letters")
    return parser
