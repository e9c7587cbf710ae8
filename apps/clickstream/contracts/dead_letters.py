"""Bad input as data: a `BadRow` and the record that it becomes on the dead-letters topic.

The record's value is the original bytes, unchanged, so that it can be repaired and sent again; everything that we say
about it is in headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

VERSION: Final = "0.1.0"
"""Version of the software that judged the input (kept equal to the distribution's by a test)."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """What could not be processed: the bytes, the stage (`collect`, `enrich`, `sink-…`), a code, a reason, a JSON path.

    `reason` never quotes the input. `received_at` is ms since the epoch.
    """

    original: bytes
    stage: str
    code: str
    reason: str
    path: str
    received_at: int
    version: str = VERSION

    def headers(self) -> list[tuple[str, bytes]]:
        """The Kafka headers of the dead letter."""
        return [
            ("stage", self.stage.encode()),
            ("code", self.code.encode()),
            ("reason", self.reason.encode()),
            ("path", self.path.encode()),
            ("received_at", str(self.received_at).encode()),
            ("version", self.version.encode()),
        ]


def bad_row(value: bytes | None, headers: list[tuple[str, bytes | None]] | None) -> BadRow:
    """The BadRow in a dead-letters record. Raises KeyError for a record that this module did not write."""
    found = {name: (content or b"").decode() for name, content in headers or []}
    return BadRow(
        value or b"",
        found["stage"],
        found["code"],
        found["reason"],
        found["path"],
        int(found["received_at"]),
        found["version"],
    )
