"""Processes of the project under test: started by command, watched, ended; their logs are shown when a test fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

from devstack.child import Child
from devstack.ports import LOOPBACK
from support import forks
from support.metrics import total
from support.waiting import until

DEADLINE = 60.0

_started: weakref.WeakSet[Process] = weakref.WeakSet()


class Process(Child):
    """One child process with its log.

    Its HTTP server, where it has one, writes its port to `{port_file}`, and that of its metrics to `{ops_port_file}`;
    without the former the latter is the one that it has.
    """

    def __init__(self, name: str, command: list[str], folder: Path, env: dict[str, str] | None = None) -> None:
        ops, http = folder / f"{name}.ops", folder / f"{name}.http"
        given = [each.replace("{ops_port_file}", str(ops)).replace("{port_file}", str(http)) for each in command]
        ours = {"CLICKSTREAM_OPS_PORT": "0", "CLICKSTREAM_OPS_HOST": LOOPBACK}
        port_file = http if "{port_file}" in command else ops
        super().__init__(name, given, folder / f"{name}.log", port_file, ours | (env or {}), ops_port_file=ops)
        _started.add(self)

    def _spawn(self) -> subprocess.Popen[bytes]:
        # With a path of its own it is another release.
        ours = self._env.get("PYTHONPATH") == os.environ.get("PYTHONPATH")
        if ours and forks.can_fork(self._command) and not self._pipe:
            return forks.start(self._command, self.log, self._env)
        return super()._spawn()

    def wait_ready(self, path: str = "/readyz", seconds: float = DEADLINE) -> None:
        """Wait until it says so; at the deadline fail with its log."""
        wait_for(lambda: self.get(path)[0] == 200, f"{self.name} is ready", self, timeout=seconds)

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of a metric that have these labels."""
        return total(self.get("/metrics", ops=True)[1], name, **labels)


def failed() -> list[tuple[str, str]]:
    """Of each process that ended with an error, and that a test still refers to: its status, its log's last lines."""
    ended = [(each, each.popen.poll()) for each in _started]
    by_test = {None, 0, -signal.SIGKILL, -signal.SIGTERM}
    return [
        (f"{each.name} ended with status {status}", each.last_words())
        for each, status in ended
        if status not in by_test
    ]


def clickstream(*arguments: str) -> list[str]:
    """The command line of `clickstream …` in this interpreter."""
    return [sys.executable, "-m", "clickstream.cli", *arguments]


def wait_for(condition: Callable[[], bool], what: str, *processes: Process, timeout: float = DEADLINE) -> None:
    """Wait until the condition holds; at the deadline fail with the logs' last lines."""

    def logs() -> str:
        return "\n".join(f"--- {each.log.name}\n{each.last_words()}" for each in processes)

    until(condition, what, timeout, explain=logs)
