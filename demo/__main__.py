"""`python -m demo [check]`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from clickstream.runtime.settings import load_pipeline
from clickstream.simulator.ledger import State, read_ledger
from demo.check import audit
from demo.run import run
from demo.screen import say, step
from demo.settings import Home, read_settings
from demo.verdict import json_line, verdict_panel
from devstack.errors import DevstackError


def main(arguments: Sequence[str]) -> int:
    """Run the demo, or the check alone; returns the exit status."""
    if arguments[:1] == ["check"]:
        return _check(read_settings(arguments[1:]).home)
    return run(read_settings(arguments))


def _check(folder: Path) -> int:
    """Check the stores of a demo that was kept; its servers must run."""
    home = Home(folder)
    try:
        pipeline = load_pipeline(home.pipeline)
        with step("checking every event and every session in both stores") as tell:
            verdict = audit(pipeline, home.ledger, tell)
    except (DevstackError, ValueError) as error:
        say(f"demo: {error}")
        return 1
    states = Counter(entry.state for entry in read_ledger(home.ledger).values())
    summary = {
        "sent": states.total(),
        "accepted": states[State.ACCEPTED],
        "rejected": states[State.REJECTED],
        "achieved_rate": None,
    }
    say(verdict_panel(verdict, summary, None, None))
    sys.stdout.write(json_line(summary, verdict, None, None, None) + "\n")
    return 0 if verdict.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
