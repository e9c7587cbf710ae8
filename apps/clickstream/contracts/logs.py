"""Logs: one JSON object a line on standard error, or readable text for a terminal.

Extra fields are given with `logger.info("…", extra={"fields": {...}})`. Never log an event's content.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Final

import msgspec

_CHATTY: Final = ("elastic_transport",)
"""Loggers with a line a request at INFO: of these we take warnings only, but at DEBUG everything."""


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "process", "logger", "message", …fields, "error"}`."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry, enc_hook=str).decode()


def set_up_logs(process: str, level: str, fmt: str) -> None:
    """Send every log record of this process to standard error in the given format (`json`, `text`)."""
    handler = logging.StreamHandler(sys.stderr)
    if fmt == "json":
        handler.setFormatter(JsonFormatter(process))
    else:
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)-7s {process} %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(level if level == "DEBUG" else max(root.level, logging.WARNING))
