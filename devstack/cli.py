"""The command `devstack`; every verb is a few calls of `Stack`.

Exit codes: 0 done (for `status`: all healthy), 1 not, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from devstack import console
from devstack.errors import DevstackError
from devstack.health import redact
from devstack.interrupt import interrupt_on
from devstack.logs import follow, tail
from devstack.settings import SERVICES, Settings
from devstack.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from devstack.status import Status

DESCRIPTION = """\
Real Apache Kafka, Elasticsearch and PostgreSQL as local processes on free ports of 127.0.0.1; no container engine.
Needed: a JDK 21 or newer anywhere on this machine, Maven for the first download, libzstd.
"""
EPILOG = """\
environment:
  DEVSTACK_HOME           folder of the state, data and logs (default: .devstack in the current folder)
  DEVSTACK_CACHE          folder of the downloads, shared by all homes (default: ~/.cache/clickstream-devstack)
  DEVSTACK_KAFKA          bootstrap servers of a Kafka that runs already; it is used instead of one of ours
  DEVSTACK_ELASTICSEARCH  the same, a URL
  DEVSTACK_POSTGRES       the same, a DSN
  DEVSTACK_ES_HEAP        Java heap of Elasticsearch (default: 768m)
  DEVSTACK_KAFKA_HEAP     Java heap of Kafka (default: 512m)

exit codes: 0 done, 1 failed (status: not everything is healthy), 2 wrong usage
"""
VARIABLES = {
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "elasticsearch": "ELASTICSEARCH_URL",
    "postgres": "POSTGRES_DSN",
}
COLOURS = {"running": "green", "unhealthy": "red", "stopped": "yellow", "absent": "dim"}
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    before = signal.getsignal(signal.SIGTERM)
    interrupt_on(signal.SIGTERM)
    try:
        return VERBS[options.verb](options)
    except DevstackError as error:
        console.error(str(error))
        return 1
    except KeyboardInterrupt:
        if options.verb != "logs":
            console.error("interrupted; what this command had started is stopped")
        return INTERRUPTED
    except BrokenPipeError:
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("devstack", description=DESCRIPTION, epilog=EPILOG, formatter_class=shape)
    parser.add_argument("--home", metavar="DIR", help="folder of the state, data and logs (default: $DEVSTACK_HOME)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        made.add_argument("--home", metavar="DIR", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return made

    up = verb("up", "start the servers that do not run yet and wait until all are healthy")
    up.add_argument(
        "services", nargs="*", type=_service, metavar="SERVICE", help=f"some of {', '.join(SERVICES)} (default: all)"
    )
    up.add_argument(
        "--secure",
        action="store_true",
        help="Kafka with TLS, SCRAM and client certificates, PostgreSQL with TLS and a password; see HOME/security",
    )
    up.add_argument("--wipe", action="store_true", help="stop them first and delete their data")
    down = verb("down", "stop the servers that were started in this home; external ones are left alone")
    down.add_argument("services", nargs="*", type=_service, metavar="SERVICE", help="some of them (default: all)")
    down.add_argument("--wipe", action="store_true", help="delete their data as well")
    status = verb("status", "show the servers; exit code 0 if all are healthy")
    status.add_argument("--json", action="store_true", help="for programs")
    logs = verb("logs", "show the log of one server")
    logs.add_argument("service", choices=SERVICES)
    logs.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    logs.add_argument("-n", "--lines", type=int, default=50, metavar="N", help="how many lines (default: 50)")
    verb("env", 'print the addresses as shell variables, for: eval "$(devstack env)"')
    return parser


def _service(name: str) -> str:
    if name not in SERVICES:
        message = f"{name!r} is not one of {', '.join(SERVICES)}"
        raise argparse.ArgumentTypeError(message)
    return name


def _settings(options: argparse.Namespace) -> Settings:
    return Settings.from_environment(home=options.home)


def _up(options: argparse.Namespace) -> int:
    with console.ProgressBoard() as board:
        stack = Stack.up(
            services=options.services or SERVICES,
            progress=board,
            wipe=options.wipe,
            secure=options.secure,
            settings=_settings(options),
        )
    _show(stack)
    return 0


def _down(options: argparse.Namespace) -> int:
    with console.ProgressBoard() as board:
        Stack(_settings(options), services=options.services or SERVICES, progress=board).down(wipe=options.wipe)
    return 0


def _status(options: argparse.Namespace) -> int:
    stack = Stack(_settings(options))
    if not options.json:
        return _show(stack)
    found = stack.status()
    console.raw(json.dumps({each.service: asdict(each) for each in found}, indent=2) + "\n")
    return _exit_code(found)


def _show(stack: Stack) -> int:
    table = Table(box=None, pad_edge=False)
    for column in ("service", "state", "address", "pid", "log"):
        table.add_column(column, overflow="fold")
    found = stack.status()
    for each in found:
        state = Text(each.state, style=COLOURS.get(each.state, ""))
        if each.detail:
            state.append(f" ({each.detail})")
        pid = "external" if each.external else str(each.pid or "")
        table.add_row(each.service, state, Text(each.address), pid, Text(each.log))
    console.result(table)
    return _exit_code(found)


def _exit_code(found: Sequence[Status]) -> int:
    """Return 0 if the home has servers and all of them are healthy."""
    states = {each.state for each in found} - {"absent"}
    return 0 if states == {"running"} else 1


def _logs(options: argparse.Namespace) -> int:
    server = Stack(_settings(options), services=[options.service]).servers[0]
    if server.external:
        message = f"{options.service} is external ({redact(server.external)}); its log is not here"
        raise DevstackError(message)
    if not server.log.exists():
        message = f"there is no log yet: {server.log}"
        raise DevstackError(message)
    if options.follow:
        for text in follow(server.log, options.lines):
            console.raw(text)
    console.raw(tail(server.log, options.lines))
    return 0


def _env(options: argparse.Namespace) -> int:
    stack = Stack(_settings(options))
    known = [each.service for each in stack.status() if each.state != "absent"]
    if not known:
        message = f"nothing was started in {stack.settings.home}; run `devstack up` first"
        raise DevstackError(message)
    for server in stack.servers:
        if server.name in known:
            console.raw(f"export {VARIABLES[server.name]}={shlex.quote(server.address)}\n")
    return 0


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "up": _up,
    "down": _down,
    "status": _status,
    "logs": _logs,
    "env": _env,
}
