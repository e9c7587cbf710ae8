"""`kubectl clickstream status NAME`, or `kubectl-clickstream` by itself."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from clickstream_operator.kubectl.api import Api, ApiError
from clickstream_operator.kubectl.reading import take
from clickstream_operator.kubectl.screen import render, utc_now

_DESCRIPTION: Final = """\
A ClickstreamPipeline on one screen: its parts, what flows (rate, lag, dead letters), its autoscalers, its last Events.
"""
_EPILOG: Final = """\
Everything is read with the rights of your kubeconfig. Figures come from the pods' /metrics through the API server,
which needs the right to get pods/proxy (the built-in roles edit and admin have it, view has not); without it the rest
is shown. Dead letters are those since each pod's start.

exit status:
  0  the pipeline is ready, or suspended on purpose
  1  it is not ready
  2  wrong arguments, or no usable kubeconfig
  3  it could not be read: not there, not allowed, or the API server does not answer
"""
READY, NOT_READY, USAGE, UNREADABLE = range(4)


def main(arguments: Sequence[str] | None = None) -> int:
    """See --help; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        api = Api(options.kubeconfig, options.context)
    except ApiError as error:
        return _failed(error, USAGE)
    try:
        snapshot = take(api, options.namespace or api.namespace, options.name, options.interval)
    except ApiError as error:
        return _failed(error, UNREADABLE)
    if options.output == "json":
        sys.stdout.write(json.dumps(asdict(snapshot), indent=2) + "\n")
    else:
        sys.stdout.write(render(snapshot, utc_now()))
    return READY if snapshot.ready or snapshot.suspended else NOT_READY


def _failed(error: ApiError, status: int) -> int:
    text = "".join(character if character.isprintable() else " " for character in str(error))
    sys.stderr.write(f"kubectl clickstream: {text}\n")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kubectl clickstream", description="Look at clickstream's pipelines.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    status = commands.add_parser(
        "status",
        help="a pipeline on one screen",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    status.add_argument("name", metavar="NAME", help="the pipeline's")
    status.add_argument("-n", "--namespace", help="its namespace (default: the context's)")
    status.add_argument("-o", "--output", choices=("text", "json"), default="text")
    status.add_argument("--context", help="of the kubeconfig (default: the current one)")
    status.add_argument("--kubeconfig", metavar="FILE", help="(default: $KUBECONFIG, ~/.kube/config)")
    status.add_argument(
        "--interval", type=_seconds, default=2.0, metavar="SECONDS",
        help="between the two looks that rates come from; 0: no rates (2)",
    )  # fmt: skip
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 60:
        msg = "0 to 60 seconds"
        raise argparse.ArgumentTypeError(msg)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
