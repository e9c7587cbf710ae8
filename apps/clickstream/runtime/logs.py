"""Logs: one JSON object a line on standard error, or readable text for a terminal.

Extra fields are given with `logger.info("…", extra={"fields": {...}})`. Never log an event's content.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Any, Final

import msgspec

_CHATTY: Final = ("elastic_transport",)
"""Loggers with a line a request at INFO: only their warnings are logged, but at DEBUG everything."""


_REPEATING: Final = ("librdkafka", "aiokafka")
"""Loggers of clients that repeat a message at each attempt to connect, some twenty times a second during an outage."""
_QUIET_SECONDS: Final = 10.0
_MOST_KEPT: Final = 200
_NUMBERS: Final = re.compile(r"\d+")


class Repetitions(logging.Filter):
    """Of a client's messages that differ in numbers only, passes one in ten seconds, with the count of the others."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in _REPEATING:
            return True
        message = record.getMessage()
        key = record.name, record.levelno, _NUMBERS.sub("", message[:400])
        said_at, besides = self._said.get(key, (-_QUIET_SECONDS, 0))
        if record.created - said_at < _QUIET_SECONDS:
            self._said[key] = (said_at, besides + 1)
            return False
        if len(self._said) >= _MOST_KEPT:
            self._said.clear()
        self._said[key] = (record.created, 0)
        if besides:
            record.msg, record.args = f"{message} (and {besides} times since the last line)", ()
        return True


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "process", "logger", "message", …fields, "error"}`."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
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
    handler.addFilter(Repetitions())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(level if level == "DEBUG" else max(root.level, logging.WARNING))
