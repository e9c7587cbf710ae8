"""The processes of one cluster: started in a folder, found again by pid and start time, ended.

A later `down`, or one after a crash, must end exactly what was started here. What died is not restarted: a control
plane that dies is a fault that the tests should show.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack.errors import StartError
from devstack.launch import Launch, spawn
from devstack.process import ProcessId

POLL_SECONDS = 0.1
LOG_LINES = 25


@dataclass(frozen=True, slots=True)
class Processes:
    """Their logs and pid files lie in `folder`; `prefix` goes before each command (say, to enter namespaces)."""

    folder: Path
    prefix: tuple[str | Path, ...] = ()

    def start(self, name: str, command: Sequence[str | Path]) -> ProcessId:
        """Start one; it outlives this process.

        Its environment is bare: no proxy of the machine gets between its parts.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.folder)}
        launch = Launch([*self.prefix, *command], folder=self.folder, environment=environment)
        return spawn(launch, self.log(name), lambda process: self.remember(name, process))

    def remember(self, name: str, process: ProcessId) -> None:
        """Write down who `name` is."""
        (self.folder / f"{name}.pid").write_text(f"{process.pid} {process.started}", encoding="utf-8")

    def find(self, name: str) -> ProcessId | None:
        """Return the process if it is alive."""
        file = self.folder / f"{name}.pid"
        if not file.exists():
            return None
        pid, _, started = file.read_text(encoding="utf-8").partition(" ")
        process = ProcessId(int(pid), started) if pid.isdigit() else None
        return process if process and process.is_alive() else None

    def log(self, name: str) -> Path:
        """Where it writes to."""
        return self.folder / f"{name}.log"

    def stop(self, name: str, grace_seconds: float = 10) -> None:
        """SIGTERM, then SIGKILL."""
        if process := self.find(name):
            process.terminate(polite=signal.SIGTERM, grace_seconds=grace_seconds)
        (self.folder / f"{name}.pid").unlink(missing_ok=True)

    def wait_for(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait until the condition holds.

        Raises StartError, with the end of the logs, at the deadline or when a process dies.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            names = [file.stem for file in sorted(self.folder.glob("*.pid"))]
            dead = [name for name in names if self.find(name) is None]
            if dead or time.monotonic() > deadline:
                shown = [self.log(name) for name in dead or names if self.log(name).exists()]
                tails = (f"--- {log.name}\n" + "\n".join(_tail(log)) for log in shown)
                message = (
                    f"{what}: {'died: ' + ', '.join(dead) if dead else f'not within {seconds:.0f} s'}\n"
                    + "\n".join(tails)
                )
                raise StartError(message)
            time.sleep(POLL_SECONDS)


def _tail(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
