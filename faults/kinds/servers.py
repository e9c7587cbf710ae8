"""The servers: killed, restarted in order, paused."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from devstack.process import ProcessId
from devstack.server import Server
from faults.errors import HarnessError
from faults.fault import Fault
from faults.world import World


class _Run(Protocol):
    def __call__(self, world: World, seconds: float, /, *, name: str) -> None: ...


def _away(world: World, seconds: float, *, name: str, end: Callable[[Server], None]) -> None:
    server = world.server(name)
    end(server)
    time.sleep(seconds / 3)
    server.start()
    world.wait_ready()


def _pause(world: World, seconds: float, *, name: str) -> None:
    pid = world.server(name).pid
    if pid is None:
        msg = f"{name} does not run"
        raise HarnessError(msg)
    signalled(pid, signal.SIGSTOP)
    time.sleep(seconds)
    signalled(pid, signal.SIGCONT)
    world.wait_ready()


def signalled(pid: int, number: signal.Signals) -> None:
    """Signal a server and its children (PostgreSQL's backends are processes of their own)."""
    process = ProcessId.of(pid)
    if process is not None:
        for member in (process, *process.children()):
            member.send(number)


def _each(name: str, run: _Run) -> list[Fault]:
    return [
        Fault(name.format(server), "servers", partial(run, name=server))
        for server in ("kafka", "elasticsearch", "postgres")
    ]


FAULTS = (
    *_each("{} is killed", partial(_away, end=Server.kill)),
    *_each("{} is restarted", partial(_away, end=Server.stop)),
    *_each("{} is paused", _pause),
)
