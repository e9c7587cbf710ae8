"""The processes that the demo starts: each with a log of its own, watched, and shut down in order.

If one of them dies the demo names it, shows the end of its log and ends. Nothing may be left over, even if the demo
itself was killed: the next one with the same home ends the leftovers, by process id and start time. Dead processes are
not restarted.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from demo.settings import Home
from devstack.child import Child
from devstack.process import ProcessId

STOP_SECONDS: Final = 20.0


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
        ops_port_file: Path | None = None,
    ) -> Child:
        """Start `python …command`, or a `program`; its output goes to its log, with `pipe` standard error only.

        `ops_port_file`: where it writes the port of its metrics, if that is not the one of `port_file`.
        """
        whole = [*command] if program else [sys.executable, *command]
        log = self._home.logs / f"{name}.log"
        child = Child(name, whole, log, self.port_file(name), env, pipe=pipe, ops_port_file=ops_port_file)
        self._children.append(child)
        self._remember()
        return child

    def port_file(self, name: str) -> Path:
        """The file to which the child of that name writes its port."""
        return self._home.ports / name

    def raise_if_any_is_dead(self, *, but: Child | None = None) -> None:
        """Raises ChildDiedError for the first that ended by itself, `but` one that may."""
        for child in self._children:
            if child is not but:
                child.raise_if_dead()

    def end(self, child: Child, seconds: float = STOP_SECONDS) -> int:
        """End one; it is no longer watched."""
        self._children.remove(child)
        status = child.stop(seconds)
        self._remember()
        return status

    def end_all(self) -> None:
        """End what runs, all at once; a child that does not end in time is killed."""
        for child in self._children:
            child.ask_to_stop()
        for child in list(self._children):
            self.end(child)

    def _remember(self) -> None:
        found = (ProcessId.of(each.popen.pid) for each in self._children)
        known = [[each.pid, each.started] for each in found if each is not None]
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
