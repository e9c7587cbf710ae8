"""Bad input as data: a `BadRow` and the record that it becomes on the dead-letters topic.

The record's value is the original bytes, unchanged up to `KEPT_BYTES`, so that it can be repaired and sent again;
everything else about it is in headers. Both are bounded, whatever the original was: a dead letter that the topic
rejects would block the records after it for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from clickstream.contracts.times import MAX_MS

VERSION: Final = "0.1.0"
"""Version of the software that judged the input (kept equal to the distribution's by a test)."""

KEPT_BYTES: Final = 900_000
"""Bytes of the original that are kept; more would not fit into a record of the topic beside the headers."""
KEPT_KEY_BYTES: Final = 1_024
KEPT_TEXT: Final = 1_000
"""Characters of `reason` and of `path`."""
KEPT_HEADER_BYTES: Final = 4_096
"""Bytes of the original's own headers, names included, and 16 more for each of them."""
ORIGINAL_HEADER: Final = "original."
"""What the name of each header of the original begins with on the dead letter."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The Kafka record that the input was: `topic`, `partition`, `offset`, its `key` and its `headers`."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class BadRow:
    """What could not be processed: the bytes, the stage (`collect`, `enrich`, `sink-…`), a code, a reason, a JSON path.

    `reason` never quotes the input. `received_at` is ms since the epoch. `source` is the source whose write key a
    request had; `origin` is where the input lay in Kafka, None for a request. `endpoint` is the path of a request that
    is not in the pipeline's own form (docs/segment.md), otherwise empty.
    """

    original: bytes
    stage: str
    code: str
    reason: str
    path: str
    received_at: int
    version: str = VERSION
    source: str = ""
    origin: Origin | None = None
    endpoint: str = ""

    def value(self) -> bytes:
        """The value of the dead letter: the original, or its first `KEPT_BYTES`."""
        return self.original if len(self.original) <= KEPT_BYTES else self.original[:KEPT_BYTES]

    def headers(self) -> list[tuple[str, bytes]]:
        """The Kafka headers of the dead letter, some kilobytes at most. `original_bytes` is there when it was cut."""
        size, reason = len(self.original), self.reason[:KEPT_TEXT]
        if size > KEPT_BYTES:
            reason = f"{reason}; the first {KEPT_BYTES} of {size} bytes are kept"
        headers = [
            ("stage", self.stage.encode()),
            ("code", self.code.encode()),
            ("reason", reason.encode()),
            ("path", self.path[:KEPT_TEXT].encode()),
            ("received_at", b"%d" % self.received_at),
            ("version", self.version.encode()),
        ]
        if self.source:
            headers.append(("source", self.source.encode()))
        if self.endpoint:
            headers.append(("endpoint", self.endpoint.encode()))
        if size > KEPT_BYTES:
            headers.append(("original_bytes", b"%d" % size))
        if self.origin is not None:
            headers += _origin_headers(self.origin)
        return headers


def bad_row(value: bytes | None, headers: Iterable[tuple[str, bytes | None]] | None) -> BadRow:
    """The BadRow in a dead-letters record, as far as it was kept.

    Raises ValueError for a record that this module did not write.
    """
    pairs = list(headers or ())
    found = {name: content or b"" for name, content in pairs if not name.startswith(ORIGINAL_HEADER)}
    try:
        return BadRow(
            value or b"",
            found["stage"].decode(),
            found["code"].decode(),
            found["reason"].decode(),
            found["path"].decode(),
            _number(found["received_at"], MAX_MS),
            found["version"].decode(),
            found.get("source", b"").decode(),
            _origin(found, pairs) if "topic" in found else None,
            found.get("endpoint", b"").decode(),
        )
    except KeyError as error:
        msg = f"a dead letter without the header {error}"
        raise ValueError(msg) from error


def _number(text: bytes, most: int) -> int:
    number = int(text) if len(text) <= 20 else -1
    if not 0 <= number <= most:
        msg = "a dead letter with a number that is out of its range"
        raise ValueError(msg)
    return number


def _origin_headers(origin: Origin) -> list[tuple[str, bytes]]:
    headers = [
        ("topic", origin.topic.encode()),
        ("partition", b"%d" % origin.partition),
        ("offset", b"%d" % origin.offset),
    ]
    if origin.key is not None:
        headers.append(("key", origin.key[:KEPT_KEY_BYTES]))
    left = KEPT_HEADER_BYTES
    for name, content in origin.headers:
        left -= len(name.encode()) + len(content or b"") + 16
        if left < 0:
            headers.append((f"{ORIGINAL_HEADER}cut", b"true"))
            break
        headers.append((ORIGINAL_HEADER + name, content or b""))
    return headers


def _origin(found: dict[str, bytes], pairs: list[tuple[str, bytes | None]]) -> Origin:
    return Origin(
        found["topic"].decode(),
        _number(found["partition"], 2**31 - 1),
        _number(found["offset"], 2**63 - 1),
        found.get("key"),
        tuple(
            (name.removeprefix(ORIGINAL_HEADER), content) for name, content in pairs if name.startswith(ORIGINAL_HEADER)
        ),
    )
