"""Processes identified by pid AND start time.

A pid alone may belong to another process after a restart or a wrap-around; nothing here signals a process whose start
time differs. Zombies count as dead: in a container without an init they may never be reaped.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process for ever: `started` is an opaque token that no later process with the same pid has."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Identify the living process `pid`, or None if there is none (a zombie is none)."""
        started = _start_token(pid)
        return None if started is None else cls(pid, started)

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        _reap(self.pid)
        return _start_token(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Signal this very process; nothing happens if it is gone."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait until the process is gone; False if it is still there after `seconds`."""
        deadline = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def children(self) -> list[ProcessId]:
        """Its living direct children."""
        found = (ProcessId.of(pid) for pid in _children(self.pid)) if self.is_alive() else ()
        return [child for child in found if child is not None]

    def terminate(self, *, polite: signal.Signals, grace_seconds: float) -> bool:
        """Ask to stop, then SIGKILL after `grace_seconds`; True if asking was enough."""
        self.send(polite)
        if self.wait(grace_seconds):
            return True
        self.kill()
        return False

    def kill(self, wait_seconds: float = 10.0) -> None:
        """SIGKILL it and its direct children at once, as a power failure would, and wait until they are gone."""
        family = [self, *self.children()]
        for member in family:
            member.send(signal.SIGKILL)
        for member in family:
            member.wait(wait_seconds)


def _start_token(pid: int) -> str | None:
    if PROC.joinpath("self", "stat").exists():
        return _start_token_from_proc(pid)
    return _start_token_from_ps(pid)


def _stat_fields(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the third one on: the second is a name that may hold spaces."""
    try:
        text = PROC.joinpath(str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _start_token_from_proc(pid: int) -> str | None:
    fields = _stat_fields(pid)
    if fields is None or (fields[0] in "ZX" and not _has_other_threads(pid)):
        return None
    boot = PROC / "sys" / "kernel" / "random" / "boot_id"
    prefix = boot.read_text(encoding="ascii").strip() if boot.exists() else "boot"
    return f"{prefix}/{fields[19]}"


def _has_other_threads(pid: int) -> bool:
    """Whether only the first thread is a zombie: then the others still hold memory, files and ports."""
    try:
        return len(list(PROC.joinpath(str(pid), "task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def _start_token_from_ps(pid: int) -> str | None:
    done = _ps("-o", "state=,lstart=", "-p", str(pid))
    state, _, started = done.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def _children(parent: int) -> list[int]:
    if not PROC.joinpath("self", "stat").exists():
        rows = (line.split() for line in _ps("-A", "-o", "pid=,ppid=").splitlines())
        return [int(pid) for pid, ppid in rows if int(ppid) == parent]
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if (fields := _stat_fields(pid)) is not None and int(fields[1]) == parent]


def _ps(*arguments: str) -> str:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout  # noqa: S603, S607


def _reap(pid: int) -> None:
    """Collect the exit status if `pid` is our own child, so that it does not stay a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
