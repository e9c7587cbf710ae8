"""What a command writes to the terminal beside its result."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """A line of progress on standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A line on standard error, beside a result on standard output."""
    sys.stderr.write(f"{text}\n")


def failed(command: str, text: str, status: int) -> int:
    """Write why `clickstream <command>` fails to standard error; its exit status."""
    note(f"clickstream {command}: {text}")
    return status
