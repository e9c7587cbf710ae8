"""A process that is started by its command: its output in a log, its HTTP server found by the port that it writes.

It has a process group of its own, so that Ctrl-C reaches whoever started it alone (not a session: Linux shares
processors out by session, so that a dozen small ones would starve the one busy server).
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from devstack.errors import DevstackError
from devstack.logs import tail
from devstack.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

POLL_SECONDS = 0.1
LAST_LINES = 25


class ChildDiedError(DevstackError):
    """A process ended that should run; the message names it and holds the end of its log."""


class Child:
    """One process after another of the same command; `popen` is the current one."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        port_file: Path | None = None,
        env: Mapping[str, str] | None = None,
        *,
        pipe: bool = False,
        ops_port_file: Path | None = None,
    ) -> None:
        """Start it. It writes its HTTP server's port, if it has one, to `port_file`.

        `ops_port_file`: where it writes the port of its metrics, if that is another one. `env` is added to this
        process's own; with `pipe`, standard output is not in the log but read.
        """
        self.name, self.log = name, log
        self._command, self._port_file, self._pipe = tuple(command), port_file, pipe
        self._ops_port_file = ops_port_file or port_file
        self._env = {**os.environ, **(env or {})}
        self.start()

    def start(self) -> None:
        """Start it again; its log goes on."""
        for port_file in (self._port_file, self._ops_port_file):
            if port_file is not None:
                port_file.unlink(missing_ok=True)
        self.popen = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own interpreter, or what the user named
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._pipe else log,
                stderr=log,
                env=self._env,
                process_group=0,
            )

    @property
    def port(self) -> int:
        """The port of its HTTP server; 0 while there is none."""
        return _read_port(self._port_file)

    @property
    def ops_port(self) -> int:
        """The port of its metrics; 0 while there is none."""
        return _read_port(self._ops_port_file)

    def get(self, path: str, timeout: float = 5.0, *, ops: bool = False) -> tuple[int, str]:
        """Status and body of a GET, with `ops` from the port of its metrics; (0, "") without an answer."""
        if not (port := self.ops_port if ops else self.port):
            return 0, ""
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def wait_ready(self, path: str = "/readyz", seconds: float = 90.0) -> None:
        """Wait until GET `path` gives 200. Raises ChildDiedError, and DevstackError after a deadline."""
        deadline = time.monotonic() + seconds
        while self.get(path)[0] != 200:
            self.raise_if_dead()
            if time.monotonic() > deadline:
                msg = f"{self.name} was not ready after {seconds:.0f} s; {self.log} ends:\n{self.last_words()}"
                raise DevstackError(msg)
            time.sleep(POLL_SECONDS)

    def raise_if_dead(self) -> None:
        """Raises ChildDiedError."""
        status = self.popen.poll()
        if status is not None:
            msg = f"{self.name} ended with status {status}; the end of {self.log}:\n{self.last_words()}"
            raise ChildDiedError(msg)

    def last_words(self, lines: int = LAST_LINES) -> str:
        """The end of its log."""
        return tail(self.log, lines)

    def send(self, number: signal.Signals) -> None:
        """Signal it; nothing happens if it is gone."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)

    def ask_to_stop(self) -> None:
        """SIGTERM, also for a process that is stopped."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)

    def stop(self, seconds: float = 20.0) -> int:
        """SIGTERM, and SIGKILL after a deadline; returns the exit status."""
        popen = self.popen  # whoever watches it may have started the next one when this one has ended
        self.ask_to_stop()
        try:
            return popen.wait(seconds)
        except subprocess.TimeoutExpired:
            popen.kill()
            return popen.wait()

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.send(signal.SIGKILL)
        self.popen.wait()


def _read_port(port_file: Path | None) -> int:
    try:
        return 0 if port_file is None else int(port_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0
