"""The protocol that a store must meet to be fed by the loop.

Failure is data here: a store that is away, slow or full is told in the `Outcome` (`later`, `trouble`), a part of it that
takes nothing for now in `blocked`, a record that it will never take in `refused`. An exception from `write` means a fault
of ours that no record causes, and ends the process: better a crash that is seen than a topic full of good clicks in
dead-letters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from clickstream.contracts.session_records import Retraction, Session
from clickstream.sinks.records import Record, Refused, StoredClick

CLICK = "click"
SESSION = "session"
RETRACTION = "retraction"


def kind_of(record: Record) -> str:
    """What the record is, as it is counted."""
    match record.content:
        case StoredClick():
            return CLICK
        case Session():
            return SESSION
        case Retraction():
            return RETRACTION


@dataclass(slots=True)
class Outcome:
    """What became of the records of one `write`.

    `stored` and `known` count records by kind: new to the store, and there already (a repeated click, a session record
    that is not newer). `acknowledged` are the new clicks, for their latency (a
    store that cannot tell them apart may give a batch with at least one). `later` must be written again, in this order, because of
    `trouble` (text for people, without secrets): the store takes nothing more for now. `blocked` must be written again too, but only
    the part of the store that they belong to (`Sink.target`) takes nothing for now, because of `blocked_by`.
    """

    stored: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    acknowledged: list[Record] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    later: list[Record] = field(default_factory=list)
    trouble: str | None = None
    blocked: list[Record] = field(default_factory=list)
    blocked_by: str | None = None


class Sink(Protocol):
    """A store. `name` is `elasticsearch` or `postgres`; `beat` is called before each step of a write that may take long."""

    name: str
    beat: Callable[[], None]

    def target(self, record: Record) -> str:
        """The part of the store that the record goes to and that may be blocked while others are not: an index, a table."""
        ...

    def write(self, records: Sequence[Record]) -> Outcome:
        """Store the records; doing it again with some of them changes nothing. Connects when it is not connected."""
        ...

    def upkeep(self) -> None:
        """Apply the retention and prepare the next days. Called about hourly, in another thread than `write`."""
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...
