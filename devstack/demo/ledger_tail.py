"""Following the simulator's ledger while it is written: counts, and a sample of the accepted events.

Why it exists: the live view and the prober must know what was sent without asking the simulator. Memory is bounded: a
sending is remembered until it is answered. Deliberately absent: the whole ledger (`clickstream.simulator.ledger`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clickstream.simulator.ledger import parse_lines


class Sent(NamedTuple):
    """An accepted event and the time at which it was scheduled to be sent (ms since the epoch)."""

    event_id: str
    due_ms: int


@dataclass(slots=True)
class Counts:
    """Distinct events so far."""

    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    unknown: int = 0


class LedgerTail:
    """Reads what was appended since the last call."""

    def __init__(self, path: Path, share: float) -> None:
        """`share`, from 0 to 1, of the accepted events is sampled, whoever reads how often."""
        self._path, self._offset, self._rest = path, 0, ""
        self._share = share
        self._due: dict[str, int] = {}
        self._unknown: dict[str, int] = {}
        self._rng = random.Random(0)  # noqa: S311 - a sample, no secret
        self.counts = Counts()

    def read(self) -> list[Sent]:
        """A random sample of the events that were accepted since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(data)
        text = self._rest + data.decode("ascii")
        whole, _, self._rest = text.rpartition("\n")
        return self._count(f"{whole}\n" if whole else "")

    def _count(self, text: str) -> list[Sent]:
        counts, accepted = self.counts, []
        for kind, key, due_ms in parse_lines(text.splitlines(keepends=True)):
            if kind == "S":
                self._due[key] = due_ms
                counts.sent += 1
                continue
            if key in self._unknown:
                counts.unknown -= 1
                due = self._unknown.pop(key)
            else:
                due = self._due.pop(key)
            if kind == "A":
                counts.accepted += 1
                if self._rng.random() < self._share:
                    accepted.append(Sent(key, due))
            elif kind == "R":
                counts.rejected += 1
            else:
                counts.unknown += 1
                self._unknown[key] = due
        return accepted
