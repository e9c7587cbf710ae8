"""Processes of the project under test: started by command, watched, ended; their logs are shown when a test fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

DEADLINE = 60.0


class Process:
    """One child process with its log and, where it has one, its ops server."""

    def __init__(self, name: str, command: list[str], folder: Path, env: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._port_file = folder / f"{name}.ops"
        self._command = [argument.replace("{ops_port_file}", str(self._port_file)) for argument in command]
        self._env = os.environ | {"CLICKSTREAM_OPS_PORT": "0", "CLICKSTREAM_OPS_HOST": "127.0.0.1"} | (env or {})
        self.start()

    def start(self) -> None:
        """Start it (again)."""
        self._port_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._env, start_new_session=True)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.child.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.child.kill()
        self.child.wait(10)

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM, and wait for an orderly end; gives the exit status."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.terminate()
        return self.child.wait(timeout)

    def end(self) -> None:
        """Whatever its state: gone."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.kill()
            self.child.wait(10)

    def ops(self, path: str) -> tuple[int, str]:
        """Status and body of a GET on its ops server; (0, "") while there is none."""
        try:
            port = self.ops_port()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, ValueError):
            return 0, ""

    def ops_port(self) -> int:
        """Port of its ops server. Raises OSError, ValueError while there is none."""
        return int(self._port_file.read_text())

    def wait_ready(self) -> None:
        """Wait until /readyz says so."""
        wait_for(lambda: self.ops("/readyz")[0] == 200, f"{self.name} is ready", self)

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of a metric that have these labels."""
        total = 0.0
        for line in self.ops("/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(f'{k}="{v}"' in series for k, v in labels.items()):
                total += float(value)
        return total


def clickstream(*arguments: str) -> list[str]:
    """The command line of `clickstream …` in this interpreter."""
    return [sys.executable, "-m", "clickstream.cli", *arguments]


def wait_for(condition: Callable[[], bool], what: str, *processes: Process, timeout: float = DEADLINE) -> None:
    """Wait until the condition holds; at the deadline fail with the logs' last lines."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(
                f"--- {p.log.name}\n" + "\n".join(p.log.read_text(errors="replace").splitlines()[-25:])
                for p in processes
            )
            msg = f"not within {timeout:.0f} s: {what}\n{logs}"
            raise AssertionError(msg)
        time.sleep(0.05)
