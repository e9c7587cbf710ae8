"""The exit statuses of `clickstream setup`, and the two ways in which one of its jobs can fail."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit statuses."""

    DONE = 0
    REFUSED = 1
    SETTINGS = 2
    UNREACHABLE = 3
    CONFLICT = 4


class NotYetError(Exception):
    """The store (or Kafka) is temporarily unreachable or unusable; the message says why."""


class SetupError(Exception):
    """A failure that a retry does not change; `status` is the exit status."""

    def __init__(self, message: str, status: ExitCode) -> None:
        super().__init__(message)
        self.status = status
