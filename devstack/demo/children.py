"""The processes that the demo starts: each with a log of its own, watched, and ended in order.

Why it exists: if one of them dies the demo must say which, show its last words and end; and nothing may be left over,
even if the demo itself was killed (the next one with the same home ends what the dead one left, by process id and
start time). Each child has a process group of its own, so that Ctrl-C reaches the demo alone (not a session: Linux
shares processors out by session, so that a dozen small ones would starve the one busy server). Deliberately
absent: restarts.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from devstack.demo.home import Home
from devstack.errors import DevstackError
from devstack.logs import tail
from devstack.ports import LOOPBACK
from devstack.process import ProcessId

READY_SECONDS: Final = 90.0
STOP_SECONDS: Final = 20.0
_POLL_S: Final = 0.1
_LAST_LINES: Final = 25


class ChildDiedError(DevstackError):
    """A process ended that should run; the message names it and holds the end of its log."""


class Child:
    """One running process. `port_file` is where it writes the port of its HTTP server."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path, port_file: Path) -> None:
        self.name, self.popen, self.log, self.port_file = name, popen, log, port_file
        self.identity = ProcessId.of(popen.pid)
        self.port = 0

    def last_words(self) -> str:
        """The end of its log."""
        return tail(self.log, _LAST_LINES)

    def raise_if_dead(self) -> None:
        """Raises ChildDiedError."""
        status = self.popen.poll()
        if status is not None:
            msg = f"{self.name} ended with status {status}; the end of {self.log}:\n{self.last_words()}"
            raise ChildDiedError(msg)

    def wait_ready(self, path: str, give_up: Callable[[], bool]) -> None:
        """Until GET `path` answers 200. Raises ChildDiedError, and DevstackError after a deadline."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready(path):
            self.raise_if_dead()
            if time.monotonic() > deadline or give_up():
                msg = f"{self.name} was not ready after {READY_SECONDS:.0f} s; {self.log} ends:\n{self.last_words()}"
                raise DevstackError(msg)
            time.sleep(_POLL_S)

    def end(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, and SIGKILL when that is not heard in time; returns the exit status."""
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        return self.popen.wait()

    def _is_ready(self, path: str) -> bool:
        if not self.port:
            try:
                self.port = int(self.port_file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                return False
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Family:
    """All children of one demo."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._children: list[Child] = []

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        *,
        pipe: bool = False,
        program: bool = False,
    ) -> Child:
        """Start `python …command`, or a `program`; what it says goes to its log, with `pipe` only standard error does."""
        log, port_file = self._home.logs / f"{name}.log", self._home.ports / name
        with log.open("wb") as file:
            popen = subprocess.Popen(  # noqa: S603 - our own interpreter, or what the user named
                [*command] if program else [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else file,
                stderr=file,
                env={**os.environ, **(env or {})},
                process_group=0,
            )
        child = Child(name, popen, log, port_file)
        self._children.append(child)
        self._remember()
        return child

    def port_file(self, name: str) -> Path:
        """Where the child of that name is to write its port."""
        return self._home.ports / name

    def raise_if_any_is_dead(self, *, but: Child | None = None) -> None:
        """Raises ChildDiedError for the first that ended by itself, `but` one that may."""
        for child in self._children:
            if child is not but:
                child.raise_if_dead()

    def end(self, child: Child, seconds: float = STOP_SECONDS) -> int:
        """End one; it is no longer watched."""
        self._children.remove(child)
        status = child.end(seconds)
        self._remember()
        return status

    def end_all(self) -> None:
        """End what runs, all at once; a child that does not end in time is killed."""
        for child in self._children:
            if child.popen.poll() is None:
                child.popen.terminate()
        for child in list(self._children):
            self.end(child)

    def _remember(self) -> None:
        known = [[each.identity.pid, each.identity.started] for each in self._children if each.identity is not None]
        if self._home.folder.exists():
            self._home.processes.write_text(json.dumps(known), encoding="utf-8")


def end_leftovers(home: Home) -> int:
    """End the children of an earlier demo in this home that was killed; returns how many there were."""
    try:
        known = [ProcessId(int(pid), str(started)) for pid, started in json.loads(home.processes.read_bytes())]
    except (OSError, ValueError, TypeError):
        return 0
    alive = [each for each in known if each.is_alive()]
    for each in alive:
        each.terminate(polite=signal.SIGTERM, grace_seconds=STOP_SECONDS)
    return len(alive)
