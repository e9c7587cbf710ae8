#!/usr/bin/env python3
"""Runs the installed command of the same name, anew whenever a source file is synced into the running container.

Only the `live` stage of the images has it, for `tilt up`. A container's root is read-only and belongs to nobody there, so
sources are synced to a folder in the writable /tmp that Python searches first (`PYTHONPATH`). Restarting the process and not
the container keeps them, and Tilt would take a restarted container for a lost one.

Deliberately absent: any other reason to restart. A command that ends by itself ends the container, as in production.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

SYNCED = Path(os.environ.get("LIVE_SOURCES", "/tmp/live"))  # noqa: S108  # the one writable place of the container
COMMANDS = Path(os.environ.get("LIVE_COMMANDS", "/opt/clickstream/bin"))
EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 25


def fingerprint(folder: Path) -> frozenset[tuple[str, int]]:
    """Name and time of change (ns) of every Python file below the folder; empty when there is none yet."""
    return frozenset((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*.py"))


def settled(folder: Path, before: frozenset[tuple[str, int]]) -> frozenset[tuple[str, int]]:
    """The folder's fingerprint, once it stays the same for a moment: a sync brings many files."""
    while True:
        try:
            now = fingerprint(folder)
        except FileNotFoundError:  # removed while we looked
            now = before
        if now == before:
            return now
        before = now
        time.sleep(EVERY_SECONDS)


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask the child to end; insist after the patience is over."""
    child.terminate()
    try:
        child.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def main(command: str, arguments: list[str]) -> int:
    """Run until the command ends by itself or we are told to; answers its exit status."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    seen = settled(SYNCED, frozenset())
    while True:
        child = subprocess.Popen([str(COMMANDS / command), *arguments])  # noqa: S603  # our own command
        try:
            while child.poll() is None and (now := settled(SYNCED, seen)) == seen:
                time.sleep(EVERY_SECONDS)
        except SystemExit:
            end(child)
            raise
        if child.returncode is not None:
            return child.returncode
        sys.stderr.write(f"live: {len(now - seen)} files changed, starting {command} again\n")
        end(child)
        seen = now


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[0]).name, sys.argv[1:]))
