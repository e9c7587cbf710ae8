"""What the demo is told: flags, and the same from the environment for `make demo DEMO_RATE=2000`.

Why it exists: one frozen object, read once. Deliberately absent: versions, ports (all are free ones) and paths outside
the home folder.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

VARIABLES = """\
environment, in the place of flags:
  DEMO_SECONDS       end after so long                                        until Ctrl-C
  DEMO_RATE          clicks per second                                        200
  DEMO_BATCH         events per request                                       50
  DEMO_SPEED         visitors live so many times faster; the session gap and   10
                     grace (10 min each in production) are shortened alike
  DEMO_SEED          the same visitors again                                  a new one
  DEMO_NAME          name of the pipeline                                     shop
  DEMO_HOME          folder of everything, wiped at the start                 .demo
  DEMO_KEEP=1        keep that folder, data included, at the end
  DEMO_WARM_UP=0     do not let Elasticsearch warm up before visitors come
  DEMO_DRAIN         seconds to wait for the last events before the check     60
  DEMO_DASHBOARDS=0  show no dashboards
  GRAFANA_HOME       an unpacked Grafana to show them in                      a preview page
  DEMO_BEFORE_CHECK  a command (no shell) to run just before the check

Servers that run elsewhere: DEVSTACK_KAFKA, DEVSTACK_ELASTICSEARCH, DEVSTACK_POSTGRES (see `devstack --help`).
The last line of standard output is one JSON object. Exit status: 0 all is well, 1 the check found differences or a
process died, 2 wrong usage, 130 interrupted before anything was sent.
"""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """Everything that can be chosen. `seconds` None: until Ctrl-C. `drain_seconds`: how long the last events may take."""

    seconds: float | None
    rate: float
    batch: int
    speed: float
    seed: int
    name: str
    home: Path
    keep: bool
    warm_up: bool
    drain_seconds: float
    before_check: tuple[str, ...]
    dashboards: bool
    grafana_home: Path | None

    @property
    def session_gap(self) -> str:
        """Ten minutes for visitors who live `speed` times faster, as a duration."""
        return f"{round(600_000 / self.speed)}ms"


def read_settings(arguments: Sequence[str], env: Mapping[str, str] = os.environ) -> DemoSettings:
    """The settings; ends the process with status 2 and a message when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m devstack.demo",
        description="Run the whole pipeline on this machine under simulated visitors, then check both stores.",
        epilog=VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--seconds", type=_positive, default=env.get("DEMO_SECONDS") or None)
    option("--rate", type=_positive, default=env.get("DEMO_RATE") or "200")
    option("--batch", type=int, default=env.get("DEMO_BATCH") or "50")
    option("--speed", type=_positive, default=env.get("DEMO_SPEED") or "10")
    option("--seed", type=int, default=env.get("DEMO_SEED") or str(secrets.randbelow(1_000_000)))
    option("--name", default=env.get("DEMO_NAME") or "shop")
    option("--home", type=Path, default=env.get("DEMO_HOME") or ".demo")
    option("--keep", action="store_true", default=env.get("DEMO_KEEP", "") not in {"", "0"})
    option("--no-warm-up", action="store_true", default=env.get("DEMO_WARM_UP") == "0")
    option("--drain", type=_positive, default=env.get("DEMO_DRAIN") or "60", metavar="SECONDS")
    option("--before-check", type=shlex.split, default=env.get("DEMO_BEFORE_CHECK") or "", metavar="COMMAND")
    option("--no-dashboards", action="store_true", default=env.get("DEMO_DASHBOARDS") == "0")
    option("--grafana", type=Path, default=env.get("GRAFANA_HOME") or None, metavar="FOLDER")
    given = parser.parse_args(arguments)
    return DemoSettings(
        seconds=given.seconds,
        rate=given.rate,
        batch=given.batch,
        speed=given.speed,
        seed=given.seed,
        name=given.name,
        home=given.home.expanduser().absolute(),
        keep=given.keep,
        warm_up=not given.no_warm_up,
        drain_seconds=given.drain,
        before_check=tuple(given.before_check),
        dashboards=not given.no_dashboards,
        grafana_home=None if given.grafana is None else given.grafana.expanduser().absolute(),
    )


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        msg = f"{text!r} is not a number above 0"
        raise argparse.ArgumentTypeError(msg)
    return value
