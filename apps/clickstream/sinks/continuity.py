"""Whether a partition's records follow each other without a break, and whether its log is still the one that was read.

An offset alone tells neither: retention may have deleted what was not read yet, and a topic may have been created anew,
truncated or restored, and have grown beyond the offset meanwhile. So what is committed says more than an offset: a
fingerprint of the record before it, and the topic's id (`Mark`). Reading begins with that record. Only where it is
another one is the log another one; then everything in it is read, which is safe, since stores ignore what they have.

Gaps between records that were read one after the other are no loss: compaction and transactions leave them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from clickstream.contracts.kafka import fingerprint

_FORM: Final = "1"
"""First word of the metadata; other forms are another release's, and are not read."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a partition stands: the next `offset`, and the `fingerprint` of the record before it.

    What was committed has the id of the `topic` as well. An empty fingerprint or id is not known.
    """

    offset: int
    fingerprint: str = ""
    topic: str = ""

    def metadata(self, topic: str) -> str:
        """What is committed beside the offset, with the topic's id."""
        return f"{_FORM} {self.fingerprint or '-'} {topic or '-'}"


def mark_of(offset: int, metadata: str | None) -> Mark:
    """The mark that was committed; whatever else the metadata says, it is a mark without more than its offset."""
    words = (metadata or "").split(" ")
    if len(words) != 3 or words[0] != _FORM:
        return Mark(offset)
    fingerprint, topic = ("" if word == "-" else word for word in words[1:])
    return Mark(offset, fingerprint, topic)


def fingerprint_of(message: Any) -> str:
    """The fingerprint of a record's timestamp, key and value."""
    return fingerprint(b"%d" % message.timestamp()[1], message.key(), message.value())


class Step(Enum):
    """What to do with a record."""

    TAKE = "take"
    KNOWN = "known"
    """It was stored before: it only shows that the log is the same."""
    START_AGAIN = "start again"
    """The log is another one."""


@dataclass(frozen=True, slots=True)
class Break:
    """What a break means: where to go on, how many records are gone at least, and the words for it."""

    offset: int
    skipped: int
    what: str


class Continuity:
    """One partition. `next` is the offset that is expected next, None before the first record of a log without a mark."""

    def __init__(self, mark: Mark | None) -> None:
        self.next = None if mark is None else mark.offset
        self._expected = mark.fingerprint if mark is not None and mark.offset > 0 else ""

    @property
    def start(self) -> int | None:
        """The offset to read from; None: the log's beginning."""
        return self.next - 1 if self.next is not None and self._expected else self.next

    def judge(self, offset: int, told: Callable[[], str]) -> Step:
        """What to do with the record at `offset`; called for each one in turn."""
        expected, self._expected = self._expected, ""
        if expected and self.next is not None and offset == self.next - 1:
            return Step.KNOWN if told() == expected else Step.START_AGAIN
        if self.next is not None and offset < self.next:
            return Step.START_AGAIN
        self.next = offset + 1
        return Step.TAKE

    def broken(self, low: int, high: int) -> Break:
        """Where to go on when the brokers no longer have what was asked for. Their log reaches from `low` to before `high`."""
        if self.next is None or low <= self.next <= high:
            at = low if self.next is None else self.next
            return Break(at, 0, "goes on where it stood")
        if self.next < low:
            what = f"offsets {self.next} to {low - 1} were deleted before they were read (retention?)"
            return Break(low, low - self.next, what)
        what = f"the log ends at {high}, before offset {self.next} that was expected next (created anew, truncated, restored?)"
        return Break(low, self.next - high, what)

    def go_on(self, offset: int) -> None:
        """Reading begins anew at `offset`."""
        self.next, self._expected = offset, ""
