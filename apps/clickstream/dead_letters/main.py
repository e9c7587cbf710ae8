"""`clickstream dead-letters stats | list | show | replay`."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaException, Producer

from clickstream.contracts.durations import duration_ms
from clickstream.contracts.kafka import producer_config
from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.settings import ENVIRONMENT_HELP, SettingsError, read_process_settings
from clickstream.contracts.times import iso_time, parse_rfc3339
from clickstream.dead_letters.letters import Letter, Letters, LettersError, Wanted
from clickstream.dead_letters.repair import Outgoing, Patch, PatchError, repair

_DESCRIPTION: Final = """\
What the pipeline refused, and sending it again once it is repaired.

  stats    how many letters there are of each stage, code and source, and since when
  list     a line for each letter: its id, time, stage, code, source, size and reason
  show     everything about the letters with these ids, their content included
  replay   send letters again, after a patch where one is given; sent twice, an event is stored once
"""

_EPILOG: Final = f"""\
--patch is a jq program that is given the letter's JSON and gives the repaired one, such as
  --patch '.timestamp |= sub(" "; "T")'        --patch 'del(.properties.debug) | .user_id |= tostring'

Letters stay on their topic until its retention ends, also when they were sent again. The last line of replay's output
is one JSON object.

exit status:
  0  done
  1  replay: some letters could not be sent, they are named; show: no such letter
  2  wrong arguments or settings
  3  Kafka could not be reached, or did not take a record

{ENVIRONMENT_HELP}"""

_DELIVERY_SECONDS: Final = 30.0


class _UnavailableError(Exception):
    pass


def main(arguments: Sequence[str]) -> int:
    """See the module; the exit statuses are listed by --help."""
    options = _parser().parse_args(list(arguments))
    try:
        pipeline = read_process_settings(os.environ, options.pipeline).pipeline
        wanted = _wanted(options)
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
        return _failed(str(error), 2)
    except (LettersError, _UnavailableError) as error:
        return _failed(str(error), 3)


def jq_patch(program: str) -> Patch:
    """A patch out of a jq program. Raises PatchError for one that does not compile."""
    import jq  # noqa: PLC0415 - only who patches needs it

    try:
        compiled = jq.compile(program)
    except ValueError as error:
        msg = f"--patch: {error}"
        raise PatchError(msg) from error

    def apply(value: Any) -> Any:
        try:
            results = compiled.input_value(value).all()
        except ValueError as error:
            msg = f"the patch does not apply: {error}"
            raise PatchError(msg) from error
        if len(results) != 1:
            msg = f"the patch gives {len(results)} values instead of one"
            raise PatchError(msg)
        return results[0]

    return apply


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
            _say(f"there are more than {limit}; --limit shows more of them")
            break
        rows.append(_summary(letter))
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
        for name, value in (_summary(letter) | _origin(letter)).items():
            sys.stdout.write(f"{name:9} {value}\n")
        sys.stdout.write(f"\n{_pretty(letter.row.original)}\n\n")
    if left:
        return _failed(f"no such letter: {', '.join(sorted(left))}", 1)
    return 0


def _replay(pipeline: Pipeline, wanted: Wanted, patch: Patch | None, options: argparse.Namespace) -> int:
    figures: Counter[str] = Counter(letters=0, sent=0, records=0, not_sent=0)
    output = None if options.dry_run else _Output(pipeline, options.rate)
    for letter in Letters(pipeline, wanted):
        if figures["letters"] == options.limit:
            _say(f"stopped after {options.limit} letters")
            break
        figures["letters"] += 1
        made = repair(letter, patch, pipeline)
        if options.dry_run:
            _tell_difference(letter, made.before, made.after)
        if made.why is not None:
            figures["not_sent"] += 1
            _say(f"{letter.id}: {made.why}")
        if made.records:
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
    """Produces records at a rate (a second; None: as fast as it goes) and makes sure that all of them arrive."""

    def __init__(self, pipeline: Pipeline, rate: float | None) -> None:
        self._producer = Producer(producer_config(pipeline.kafka, "clickstream-dead-letters", idempotent=True))
        self._rate = rate
        self._began = time.monotonic()
        self._sent = 0
        self._trouble: str | None = None

    def send(self, records: Iterable[Outgoing]) -> None:
        """Queue them, not faster than the rate."""
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


def _summary(letter: Letter) -> dict[str, Any]:
    row = letter.row
    return {
        "id": letter.id,
        "time": iso_time(letter.time_ms),
        "stage": row.stage,
        "code": row.code,
        "source": row.source,
        "bytes": len(row.original),
        "path": row.path,
        "reason": row.reason,
    }


def _origin(letter: Letter) -> dict[str, Any]:
    origin = letter.row.origin
    found: dict[str, Any] = {"received": iso_time(letter.row.received_at), "version": letter.row.version}
    if origin is not None:
        key = "none" if origin.key is None else origin.key.decode("utf-8", "backslashreplace")
        found |= {"origin": f"{origin.topic} {origin.partition}:{origin.offset}", "key": key}
        found |= {
            f"header {name}": (value or b"").decode("utf-8", "backslashreplace") for name, value in origin.headers
        }
    return found


def _tell_difference(letter: Letter, before: bytes, after: bytes) -> None:
    lines = list(
        difflib.unified_diff(
            _pretty(before).splitlines(), _pretty(after).splitlines(), letter.id, f"{letter.id} repaired", lineterm=""
        )
    )
    if lines:
        sys.stdout.write("\n".join(lines) + "\n")


def _pretty(content: bytes) -> str:
    try:
        return msgspec.json.format(content, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return content.decode("utf-8", "backslashreplace")


def _print_rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
        return
    if not rows:
        _say("no dead letters")
        return
    widths = {name: max(len(name), *(len(str(row[name])) for row in rows)) for name in rows[0]}
    for row in [{name: name.upper() for name in rows[0]}, *rows]:
        sys.stdout.write("  ".join(str(row[name]).ljust(width) for name, width in widths.items()).rstrip() + "\n")


def _tell_foreign(letters: Letters) -> None:
    if letters.foreign:
        _say(f"{letters.foreign} records on the topic are no dead letters of clickstream's")


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
    """`2026-01-31T08:30:00Z`, or a duration: so long ago. Raises ValueError."""
    if text is None:
        return None
    if text[:1].isdigit() and "T" not in text:
        return int(time.time() * 1_000) - duration_ms(text)
    return parse_rfc3339(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clickstream dead-letters",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--pipeline", metavar="FILE", help="the pipeline document (default: $CLICKSTREAM_PIPELINE)")
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
    listing.add_argument("--limit", type=int, default=100, help="at most so many (100)")
    show = commands.add_parser("show", parents=[common], help="everything about some of them")
    show.add_argument("ids", nargs="+", metavar="ID", help="partition:offset, as list shows it")
    show.add_argument("--raw", action="store_true", help="the kept bytes and nothing else")
    replay = commands.add_parser("replay", parents=[common], help="send them again")
    replay.add_argument("ids", nargs="*", metavar="ID", help="only these (default: all that match)")
    replay.add_argument("--patch", metavar="JQ", help="a jq program that repairs the letter's JSON")
    replay.add_argument("--dry-run", action="store_true", help="show the differences and send nothing")
    replay.add_argument("--rate", type=float, metavar="N", help="records a second at most")
    replay.add_argument("--limit", type=int, default=None, help="at most so many letters")
    return parser


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _failed(text: str, status: int) -> int:
    _say(f"clickstream dead-letters: {text}")
    return status
