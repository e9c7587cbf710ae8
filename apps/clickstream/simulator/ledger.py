"""The ledger: what became of each event_id, written to disk as it happens, for a check of the stores.

A text file, only ever appended to. `S <due> <id>` is written before an event leaves for the first time, `due` being the
scheduled time in ms since the epoch; `A`, `R` or `U` `<id>` follow once it is known to be accepted, rejected, or that
no answer came. An id has one S line and mostly one more; `U` may be followed by another when a retry was answered after
all. An id without a state was in flight when the writer died: its state is unknown, as with `U`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

HEADER: Final = "# clickstream ledger 1"


class State(Enum):
    """What the sender knows about an event; the values are the file's."""

    UNKNOWN = "U"
    REJECTED = "R"
    ACCEPTED = "A"


@dataclass(frozen=True, slots=True)
class Entry:
    """One event_id: its state, and when it was scheduled to be sent (ms since the epoch)."""

    state: State
    due_ms: int


class LedgerWriter:
    """Appends to a new file and counts distinct ids. Raises OSError, FileExistsError when the file is there already."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._open: set[str] = set()
        self._unknown: set[str] = set()
        self.sent = 0
        self.accepted = 0
        self.rejected = 0
        self._write([HEADER])

    @property
    def unknown(self) -> int:
        """Ids without an answer."""
        return len(self._unknown)

    @property
    def in_flight(self) -> int:
        """Ids whose answer is still awaited."""
        return len(self._open)

    def sending(self, events: Iterable[tuple[str, int]]) -> None:
        """Note (id, due in ms) of events that are about to leave for the first time."""
        lines = []
        for key, due_ms in events:
            self._open.add(key)
            lines.append(f"S {due_ms} {key}")
        if lines:
            self.sent += len(lines)
            self._write(lines)

    def settle(self, outcomes: Iterable[tuple[str, State]]) -> None:
        """Note what became of events. The first definite answer stands; an unknown one never replaces it."""
        lines = []
        for key, state in outcomes:
            if key in self._open:
                self._open.remove(key)
            elif state is not State.UNKNOWN and key in self._unknown:
                self._unknown.remove(key)
            else:
                continue
            if state is State.UNKNOWN:
                self._unknown.add(key)
            elif state is State.ACCEPTED:
                self.accepted += 1
            else:
                self.rejected += 1
            lines.append(f"{state.value} {key}")
        if lines:
            self._write(lines)

    def close(self) -> None:
        """Ids in flight become unknown; the file is on disk when this returns."""
        self.settle([(key, State.UNKNOWN) for key in sorted(self._open)])
        os.fsync(self._file)
        os.close(self._file)

    def _write(self, lines: list[str]) -> None:
        view = memoryview(("\n".join(lines) + "\n").encode())
        while view:
            view = view[os.write(self._file, view) :]


def read_ledger(path: Path) -> dict[str, Entry]:
    """Every id in the file. A last line that was not finished is left out.

    Raises OSError, ValueError for another kind of file.
    """
    entries: dict[str, Entry] = {}
    with path.open(encoding="utf-8") as file:
        if file.readline() != HEADER + "\n":
            msg = f"{path} is no ledger: its first line is not {HEADER!r}"
            raise ValueError(msg)
        for kind, key, due_ms in parse_lines(file):
            if kind == "S":
                entries[key] = Entry(State.UNKNOWN, due_ms)
            else:
                entries[key] = Entry(State(kind), entries[key].due_ms)
    return entries


def parse_lines(lines: Iterable[str]) -> Iterator[tuple[str, str, int]]:
    """(kind, id, due in ms or 0) of each whole line; comments and an unfinished line are left out."""
    for line in lines:
        if not line.endswith("\n") or line.startswith("#"):
            continue
        kind, _, rest = line[:-1].partition(" ")
        if kind == "S":
            due, _, key = rest.partition(" ")
            yield kind, key, int(due)
        else:
            yield kind, rest, 0
