"""Whether a partition's records follow each other without loss, and whether its log is still the one that was read.

An offset alone shows neither: retention may have deleted what was not read yet, and a topic may have been recreated,
truncated or restored, and have grown beyond the offset meanwhile. So a commit holds more than an offset: a fingerprint
of the record before it, and the topic's id (`Mark`). Reading begins with that record. Only if it differs was the log
replaced; then everything in it is read, which is safe, since stores ignore what they have.

Gaps between records that were read one after the other are no loss: compaction and transactions leave them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from clickstream.contracts.kafka_records import fingerprint

_FORM: Final = "1"
"""First word of the metadata; other forms are another release's, and are not read."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A partition's position: the next `offset`, and the `fingerprint` of the record before it.

    A committed one has the id of the `topic` as well. An empty fingerprint or id is unknown.
    """

    offset: int
    fingerprint: str = ""
    topic: str = ""

    def metadata(self, topic: str) -> str:
        """What is committed beside the offset, with the topic's id."""
        return f"{_FORM} {self.fingerprint or '-'} {topic or '-'}"


def mark_of(offset: int, metadata: str | None) -> Mark:
    """The committed mark; with any other metadata, a mark with only its offset."""
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
    """Stored before: it only shows that the log is the same."""
    START_AGAIN = "start again"
    """The log was replaced."""


@dataclass(frozen=True, slots=True)
class Break:
    """What a break means: where to continue, how many records were deleted unread, whether the log was replaced."""

    offset: int
    skipped: int
    another: bool
    what: str


class Continuity:
    """One partition.

    `next` is the offset that is expected next, None before the first record of a log without a mark.
    """

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
        """Where to continue when the brokers no longer have the offset.

        Their log reaches from `low` to before `high`.
        """
        if self.next is None or low <= self.next <= high:
            at = low if self.next is None else self.next
            return Break(at, 0, False, "goes on where it stood")
        if self.next < low:
            return Break(low, low - self.next, False, f"offsets {self.next} to {low - 1} were deleted")
        return Break(low, 0, True, f"it ends at {high}, before offset {self.next} that was expected next")

    def go_on(self, offset: int) -> None:
        """Restart at `offset`."""
        self.next, self._expected = offset, ""
