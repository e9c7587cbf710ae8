"""The demo's settings, by flags or from the environment for `make demo DEMO_RATE=2000`, and its folder.

Only a folder of a demo is ever wiped: a mistyped DEMO_HOME must not delete anybody's files.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clickstream.runtime.arguments import number, rate
from devstack.errors import DevstackError

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
    """All settings. `seconds` None: until Ctrl-C. `drain_seconds`: how long the last events may take."""

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
        prog="python -m demo",
        description="Run the whole pipeline on this machine under simulated visitors, then check both stores.",
        epilog=VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--seconds", type=number(float, 0.1, 1e9), default=env.get("DEMO_SECONDS") or None)
    option("--rate", type=rate, default=env.get("DEMO_RATE") or "200")
    option("--batch", type=number(int, 1, 500), default=env.get("DEMO_BATCH") or "50")
    option("--speed", type=number(float, 0.01, 1_000.0), default=env.get("DEMO_SPEED") or "10")
    option("--seed", type=int, default=env.get("DEMO_SEED") or str(secrets.randbelow(1_000_000)))
    option("--name", default=env.get("DEMO_NAME") or "shop")
    option("--home", type=Path, default=env.get("DEMO_HOME") or ".demo")
    option("--keep", action="store_true", default=env.get("DEMO_KEEP", "") not in {"", "0"})
    option("--no-warm-up", action="store_true", default=env.get("DEMO_WARM_UP") == "0")
    option("--drain", type=number(float, 0.1, 1e9), default=env.get("DEMO_DRAIN") or "60", metavar="SECONDS")
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


_MARK = "this-is-a-clickstream-demo"


class Home:
    """Paths below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers = folder / "servers"
        self.logs = folder / "logs"
        self.ports = folder / "ports"
        self.pipeline = folder / "pipeline.json"
        self.ledger = folder / "ledger"
        self.processes = folder / "processes.json"

    def refuse_strangers(self) -> None:
        """Raises DevstackError when there is something in the folder that no demo has put there."""
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / _MARK).exists():
            msg = f"{self.folder} is not empty and was not made by a demo: choose another DEMO_HOME, or empty it"
            raise DevstackError(msg)

    def renew(self) -> None:
        """Make the folder, empty but for the servers' part. Raises DevstackError for a folder that is not a demo's."""
        self.refuse_strangers()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / _MARK).touch()
        for each in (self.pipeline, self.ledger, self.processes):
            each.unlink(missing_ok=True)
        for folder in (self.logs, self.ports):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()

    def remove(self) -> None:
        """Delete it. Raises DevstackError for a folder that is not a demo's."""
        self.refuse_strangers()
        shutil.rmtree(self.folder, ignore_errors=True)
