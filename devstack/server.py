"""One server's life cycle: start, health, stop, kill, the same for all three.

A subclass holds only what differs (artifacts, configuration, command line, health check); everything that can leave an
orphan or signal a foreign process is written here once. A running server is its record in the state file, so any
process may continue what another began. There is no supervision: a dead server is not restarted.
"""

from __future__ import annotations

import shutil
import signal
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from devstack import ports
from devstack.errors import ExternalServerError, PortTakenError, StartError, UnhealthyError
from devstack.health import redact
from devstack.launch import Launch, spawn
from devstack.logs import tail
from devstack.state import Record
from devstack.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from devstack.process import ProcessId
    from devstack.workspace import Workspace

CHECK_SECONDS = 3.0
EXTERNAL_SECONDS = 10.0
LOG_LINES = 30


class Server(ABC):
    """A server of one home, or an external one (of which only the health is checked)."""

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    polite: ClassVar[signal.Signals] = signal.SIGTERM
    start_seconds: ClassVar[float] = 120.0
    stop_seconds: ClassVar[float] = 30.0

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._last_report = ""
        self.external = workspace.settings.external.get(self.name)
        self.folder = workspace.settings.home / self.name
        self.log = workspace.settings.home / "logs" / f"{self.name}.log"

    @abstractmethod
    def prepare(self, chosen: Mapping[str, int]) -> Launch:
        """Get the software, write the configuration, initialise the data folder if it is new."""

    @abstractmethod
    def local_address(self, chosen: Mapping[str, int]) -> str:
        """Return the address that clients use for the server on these ports."""

    @abstractmethod
    def check(self, address: str, timeout: float) -> None:
        """Check that the server works. Raises UnhealthyError."""

    def ports_needed(self) -> tuple[str, ...]:
        """Return what it listens for, by purpose."""
        return self.port_names

    def data_folder(self) -> Path:
        """Return the folder that holds what must survive a restart."""
        return self.folder / "data"

    def is_transient(self, log: str) -> bool:  # noqa: ARG002 - for subclasses
        """Whether a server that died with this at the end of its log may simply be started again."""
        return False

    @property
    def address(self) -> str:
        """The address for clients. Raises StateError if the server was never started in this home."""
        return self.external or self._workspace.record(self.name).url

    @property
    def pid(self) -> int | None:
        """The process, or None while it is not running (or external)."""
        record = None if self.external else self._workspace.state.read(self.name)
        process = record.process if record is not None else None
        return process.pid if process is not None and process.is_alive() else None

    def start(self) -> None:
        """Start it again on its ports with its data; nothing happens if it runs and is healthy."""
        self._forbid_external("start")
        with self._workspace.exclusive(self.name):
            self.ensure_running(may_move=False)

    def stop(self) -> None:
        """Stop it in an orderly way (SIGKILL after a deadline); nothing happens if it is not running."""
        self._forbid_external("stop")
        with self._workspace.exclusive(self.name):
            self.end()

    def kill(self) -> None:
        """SIGKILL it, as a power failure would; its data stays for the next start."""
        self._forbid_external("kill")
        with self._workspace.exclusive(self.name):
            self.end(politely=False)

    def status(self) -> Status:
        """Look at the process and ask for its health, briefly."""
        if self.external is not None:
            state, detail = self._health(self.external)
            return Status(self.name, state, redact(self.external), external=True, detail=detail)
        record = self._workspace.state.read(self.name)
        if record is None:
            return Status(self.name, "absent", "")
        log, pid = str(self.log), self.pid
        if pid is None:
            detail = "died; see its log" if record.process else ""
            return Status(self.name, "stopped", redact(record.url), detail=detail, ports=record.ports, log=log)
        state, detail = self._health(record.url)
        return Status(self.name, state, redact(record.url), pid, detail=detail, ports=record.ports, log=log)

    def _health(self, address: str) -> tuple[str, str]:
        try:
            self.check(address, CHECK_SECONDS)
        except UnhealthyError as error:
            return "unhealthy", str(error)
        return "running", ""

    def ensure_running(self, *, may_move: bool) -> bool:
        """Start it unless it runs, and wait for its health; True if a process was started.

        With `may_move` a port that somebody else has taken meanwhile is replaced, otherwise PortTakenError.
        The caller holds the home. If this fails or is interrupted, what it started is gone again.
        """
        if self.external is not None:
            self._check_external(self.external)
            return False
        record = self._workspace.state.read(self.name)
        if record is not None and record.process is not None and record.process.is_alive():
            self._report("already running, checking")
            self._await_health(record, record.process, since=0)
            self._report(f"ready at {redact(record.url)} (pid {record.process.pid}, kept)")
            return False
        chosen = self._choose_ports(record, may_move=may_move)
        self._workspace.raise_if_cancelled()
        launch = self.prepare(chosen)
        self._start(launch, chosen)
        return True

    def end(self, *, politely: bool = True) -> None:
        """End the process of this home, if it runs. The caller holds the home."""
        record = self._workspace.state.read(self.name)
        if self.external is not None or record is None or record.process is None:
            return
        if record.process.is_alive():
            self._report("stopping" if politely else "killing")
        if politely and not record.process.terminate(polite=self.polite, grace_seconds=self.stop_seconds):
            self._report(f"did not stop within {self.stop_seconds:.0f} s and was killed")
        elif not politely:
            record.process.kill()
        self._workspace.state.write(self.name, record.stopped())
        self._report("stopped")

    def wipe(self) -> None:
        """Delete its data and configuration, and forget its ports. The caller holds the home; it is not running."""
        if self.external is None:
            shutil.rmtree(self.data_folder(), ignore_errors=True)
            shutil.rmtree(self.folder, ignore_errors=True)
            self._workspace.state.write(self.name, None)

    def _start(self, launch: Launch, chosen: Mapping[str, int]) -> None:
        deadline = time.monotonic() + self.start_seconds
        while True:
            since = self.log.stat().st_size if self.log.exists() else 0
            record, process = self._spawn(launch, chosen)
            try:
                self._await_health(record, process, since=since)
            except BaseException as error:
                process.terminate(polite=self.polite, grace_seconds=5.0)
                self._workspace.state.write(self.name, record.stopped())
                retry = isinstance(error, StartError) and self.is_transient(tail(self.log, LOG_LINES, since))
                if not retry or time.monotonic() > deadline:
                    raise
                continue
            self._report(f"ready at {redact(record.url)} (pid {process.pid})")
            return

    def _spawn(self, launch: Launch, chosen: Mapping[str, int]) -> tuple[Record, ProcessId]:
        self._report("starting")
        stopped = Record(dict(chosen), None, self.local_address(chosen))
        process = spawn(launch, self.log, lambda new: self._workspace.state.write(self.name, stopped.running(new)))
        return stopped.running(process), process

    def _await_health(self, record: Record, process: ProcessId, since: int) -> None:
        began = time.monotonic()
        while True:
            self._workspace.raise_if_cancelled()
            if not process.is_alive():
                raise StartError(self._with_log(f"{self.name} ended while it was starting", since))
            try:
                self.check(record.url, CHECK_SECONDS)
            except UnhealthyError as error:
                waited = time.monotonic() - began
                if waited > self.start_seconds:
                    text = f"{self.name} is not healthy after {waited:.0f} s ({error})"
                    raise StartError(self._with_log(text, since)) from error
                self._report(f"waiting for its health, {waited // 2 * 2:.0f} s")
                self._workspace.cancelled.wait(0.1)
            else:
                return

    def _with_log(self, text: str, since: int) -> str:
        lines = tail(self.log, LOG_LINES, since).rstrip()
        return f"{text}; the end of its log ({self.log}):\n{lines or '(nothing was logged)'}"

    def _choose_ports(self, record: Record | None, *, may_move: bool) -> dict[str, int]:
        if record is None:
            names = self.ports_needed()
            return dict(zip(names, ports.free_ports(len(names)), strict=True))
        taken = [port for port in record.ports.values() if not ports.becomes_free(port)]
        if taken and not may_move:
            message = (
                f"{self.name}: port {taken[0]} now belongs to another process; end that, or let "
                "`devstack up` choose new ports"
            )
            raise PortTakenError(message)
        fresh = ports.free_ports(len(record.ports))
        pairs = zip(record.ports.items(), fresh, strict=True)
        return {name: new if old in taken else old for (name, old), new in pairs}

    def _check_external(self, address: str) -> None:
        try:
            self.check(address, EXTERNAL_SECONDS)
        except UnhealthyError as error:
            message = f"the external {self.name} given by DEVSTACK_{self.name.upper()} does not work: {error}"
            raise UnhealthyError(message) from error
        self._report(f"external, healthy at {redact(address)}")

    def _forbid_external(self, verb: str) -> None:
        if self.external is not None:
            message = f"cannot {verb} {self.name}: it is external (DEVSTACK_{self.name.upper()}), not ours"
            raise ExternalServerError(message)

    def _report(self, message: str) -> None:
        if message != self._last_report:
            self._last_report = message
            self._workspace.progress(self.name, message)
