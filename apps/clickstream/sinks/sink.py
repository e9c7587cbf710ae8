"""The protocol that a store must meet to be fed by the loop.

Failure is data here: a store that is away, slow or full is told in the `Outcome` (`later`, `trouble`), a record that it
will never take in `refused`. An exception from `write` means a fault of ours and ends the process: better a crash that
is seen than a topic full of good clicks in dead-letters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from clickstream.sinks.records import Record, Refused

CLICK = "click"
SESSION = "session"
RETRACTION = "retraction"


@dataclass(slots=True)
class Outcome:
    """What became of the records of one `write`.

    `stored` and `known` count records by kind: new to the store, and there already (a repeated click, a session record
    that is not newer). `acknowledged` are the new clicks, for their latency (a
    store that cannot tell them apart may give a batch with at least one). `later` must be written again, in this order, because of
    `trouble` (text for people, without secrets).
    """

    stored: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    acknowledged: list[Record] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    later: list[Record] = field(default_factory=list)
    trouble: str | None = None


class Sink(Protocol):
    """A store. `name` is `elasticsearch` or `postgres`."""

    name: str

    def write(self, records: Sequence[Record]) -> Outcome:
        """Store the records; doing it again with some of them changes nothing. Connects when it is not connected."""
        ...

    def upkeep(self) -> None:
        """Apply the retention and prepare the next days. Called about hourly, in another thread than `write`."""
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...
