"""The log of a run, on standard error and in a file: seconds since the run began, and a sentence."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path


class Timeline:
    """Lines of a run. Safe from any thread."""

    def __init__(self, path: Path) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8")

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        line = f"{self.seconds:8.1f}  {text}\n"
        with self._lock:
            sys.stderr.write(line)
            sys.stderr.flush()
            self._file.write(line)
            self._file.flush()
