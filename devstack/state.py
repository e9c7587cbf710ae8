"""What a home remembers between two commands: which process serves what, on which ports.

`devstack down` may run days after `devstack up`, in another process. The file is replaced atomically, so a reader never
sees half of it. It holds nothing that the server itself can answer, such as its health.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from devstack.cache import locked
from devstack.errors import StateError
from devstack.process import ProcessId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VERSION = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One server: its process (None while it is stopped), its ports by purpose, its address."""

    ports: dict[str, int] = field(default_factory=dict)
    process: ProcessId | None = None
    url: str = ""

    def running(self, process: ProcessId) -> Record:
        """Return the same server with a process."""
        return replace(self, process=process)

    def stopped(self) -> Record:
        """Return the same server without a process: ports and data are kept for the next start."""
        return replace(self, process=None)


class StateFile:
    """`state.json` in a home; safe to use from several threads, and under `exclusive()` from several processes."""

    def __init__(self, home: Path) -> None:
        """Name the files; nothing is read or made yet."""
        self.path = home / "state.json"
        self._lock_path = home / "lock"
        self._threads = threading.Lock()

    def read(self, service: str) -> Record | None:
        """Return what is known about `service`, or None if it was never started in this home."""
        return self._load().get(service)

    def write(self, service: str, record: Record | None) -> None:
        """Remember `record`, or forget the service if None."""
        with self._threads:
            records = self._load()
            if record is None:
                records.pop(service, None)
            else:
                records[service] = record
            self._save(records)

    @contextmanager
    def exclusive(self, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Keep other devstack commands out of this home; `on_wait` is called once if one is in there already."""
        with locked(self._lock_path, on_wait):
            yield

    def _load(self) -> dict[str, Record]:
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise StateError(self._unreadable(str(error))) from error
        if not isinstance(document, dict) or document.get("version") != VERSION:
            raise StateError(self._unreadable(f"expected version {VERSION}"))
        try:
            return {name: _record(raw) for name, raw in document["services"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError(self._unreadable(repr(error))) from error

    def _save(self, records: dict[str, Record]) -> None:
        document = {"version": VERSION, "services": {name: asdict(each) for name, each in records.items()}}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        draft.replace(self.path)

    def _unreadable(self, why: str) -> str:
        return (
            f"{self.path} cannot be used: {why}. "
            "End the servers of this home by hand if any run (ps), then delete its folder."
        )


def _record(raw: dict[str, Any]) -> Record:
    process = raw["process"]
    return Record(
        ports={str(name): int(port) for name, port in raw["ports"].items()},
        process=None if process is None else ProcessId(int(process["pid"]), str(process["started"])),
        url=str(raw["url"]),
    )
