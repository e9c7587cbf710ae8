"""How `clickstream setup` ends: its exit statuses, and the two ways in which one of its jobs can fail."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses."""

    DONE = 0
    REFUSED = 1
    SETTINGS = 2
    UNREACHABLE = 3
    CONFLICT = 4


class NotYetError(Exception):
    """The store (or Kafka) cannot be reached, or not be used, for now; the message says why."""


class SetupError(Exception):
    """What was asked for will not be set up; `status` is the exit status."""

    def __init__(self, message: str, status: Exit) -> None:
        super().__init__(message)
        self.status = status
