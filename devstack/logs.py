"""Reads the servers' log files, for `devstack logs` and for the message when a server fails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = 64 * 1024
POLL_SECONDS = 0.2


def tail(path: Path, lines: int, since: int = 0) -> str:
    """Return the last `lines` lines of `path` that lie after byte `since`; empty if there is no such file."""
    if lines <= 0 or not path.exists():
        return ""
    with path.open("rb") as log:
        end = log.seek(0, 2)
        start, data = end, b""
        while start > since and data.count(b"\n") <= lines:
            size = min(BLOCK, start - since)
            start = log.seek(start - size)
            data = log.read(size) + data
    return b"".join(data.splitlines(keepends=True)[-lines:]).decode("utf-8", "replace")


def follow(path: Path, lines: int) -> Iterator[str]:
    """Yield the last `lines` lines, then whatever is appended, for ever; a wiped log is followed from its new start."""
    position = path.stat().st_size if path.exists() else 0
    yield tail(path, lines)
    while True:
        size = path.stat().st_size if path.exists() else 0
        position = 0 if size < position else position
        if size > position:
            with path.open("rb") as log:
                log.seek(position)
                data = log.read(size - position)
            position += len(data)
            yield data.decode("utf-8", "replace")
        else:
            time.sleep(POLL_SECONDS)
