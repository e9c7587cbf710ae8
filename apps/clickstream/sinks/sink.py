"""The protocol that a store must meet to be fed by the loop.

Failure is data here: a store that is unreachable, slow or full is in the `Outcome` (`later`, `trouble`), a part of it
that temporarily rejects writes in `blocked`, a record that it will never take in `refused`. An exception from `write`
is fatal, caused by no record, and ends the process: better a visible crash than good clicks in dead-letters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from clickstream.contracts.session_records import Retraction, Session
from clickstream.sinks.records import Record, Refused, StoredClick


class MaintenanceError(Exception):
    """Maintenance failed; the message is for the log, without secrets."""


CLICK = "click"
SESSION = "session"
RETRACTION = "retraction"


def kind_of(record: Record) -> str:
    """The kind under which the record is counted."""
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
    that is not newer, a replayed click that says what is stored). `replaced` counts clicks that a replay changed.
    `acknowledged` are the new clicks, for their latency (a store that cannot tell them apart may give a batch with at
    least one). `later` must be retried, in this order, because of `trouble` (text for the log, without secrets): the
    store temporarily rejects everything. `blocked` must be retried too, but only their part of the store
    (`Sink.target`) temporarily rejects writes, because of `blocked_by`.
    """

    stored: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    replaced: Counter[str] = field(default_factory=Counter)
    acknowledged: list[Record] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    later: list[Record] = field(default_factory=list)
    trouble: str | None = None
    blocked: list[Record] = field(default_factory=list)
    blocked_by: str | None = None


class Sink(Protocol):
    """A store. `name` is `elasticsearch` or `postgres`; `retention` (a duration) is how long it keeps clicks.

    `beat` is called before each step of a write that may take long.
    """

    name: str
    retention: str
    beat: Callable[[], None]

    def target(self, record: Record) -> str:
        """The part of the store that the record goes to, and that may be blocked by itself: an index, a table."""
        ...

    def write(self, records: Sequence[Record]) -> Outcome:
        """Store the records; idempotent. Connects when necessary."""
        ...

    def maintain(self) -> None:
        """Apply the retention and prepare the next days. Called about hourly, in another thread than `write`.

        Raises MaintenanceError where the store says why it refuses.
        """
        ...

    def close(self) -> None: ...
