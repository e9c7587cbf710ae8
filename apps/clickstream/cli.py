"""`clickstream <command>`: one image, a command per process.

A command's module is imported only when it is asked for, so that each process needs only its own extra.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

COMMANDS: Final = {
    "tracking-api": ("clickstream.tracking_api.main", "collect events over HTTP into Kafka"),
    "enricher": ("clickstream.enricher.main", "enrich clicks, make sessions and follow funnels"),
    "sink": ("clickstream.sinks.main", "write clicks and sessions to elasticsearch or postgres"),
    "setup": (
        "clickstream.setup.main",
        "create a pipeline's topics, install or migrate its stores, apply its retention",
    ),
    "dead-letters": ("clickstream.dead_letters.main", "list, show, count and send again what was refused"),
    "replay": ("clickstream.replay.main", "send stored raw clicks of a time range through the enrichment of today"),
    "check": ("clickstream.setup.check", "recompute sessions and rollups from the stored clicks, and name differences"),
    "simulate": ("clickstream.simulator.main", "send the traffic of simulated shop visitors"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; exit status 2 for a command that does not exist."""
    arguments = sys.argv[1:] if arguments is None else arguments
    name = arguments[0] if arguments else "--help"
    if name in {"-h", "--help", "help"}:
        lines = [f"  {command:<14} {summary}" for command, (_, summary) in COMMANDS.items()]
        sys.stdout.write("usage: clickstream COMMAND [--help]\n\ncommands:\n" + "\n".join(lines) + "\n")
        return 0
    if name not in COMMANDS:
        sys.stderr.write(f"clickstream: no command {name!r}; one of {', '.join(COMMANDS)}\n")
        return 2
    run = importlib.import_module(COMMANDS[name][0]).main
    return int(run(arguments[1:]))


if __name__ == "__main__":
    sys.exit(main())
