"""The file to which a process writes the port that it was given, for port 0."""

from __future__ import annotations

import os
from pathlib import Path


def write_port(path: Path | str, port: int) -> None:
    """Write it atomically. Raises OSError."""
    whole = Path(path)
    partial = whole.with_name(f".{whole.name}.{os.getpid()}")
    partial.write_text(f"{port}\n", encoding="ascii")
    partial.replace(whole)
