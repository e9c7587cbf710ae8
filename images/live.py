#!/usr/bin/env python3
"""Runs the installed command of the same name, anew whenever a source file is synced into the running container.

Only the `live` stage of the images has it, for `tilt up`. A container's root is read-only there, so sources are synced
to a folder in the writable /tmp that Python searches first (`PYTHONPATH`). Tilt copies only the files that were saved.
Python takes a package as a whole from the first folder that has its `__init__.py`, so the installed packages are copied
to that folder before anything runs: what is saved then replaces a file of a complete package.

Restarting the process and not the container keeps the files, and Tilt would take a restarted container for a lost one.
A command that ends by itself ends the container, as in production.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from types import FrameType

SYNCED = Path(os.environ.get("LIVE_SOURCES", "/tmp/live"))  # noqa: S108  # the one writable place of the container
COMMANDS = Path(os.environ.get("LIVE_COMMANDS", "/opt/clickstream/bin"))
INSTALLED = Path(os.environ.get("LIVE_INSTALLED", sysconfig.get_path("purelib")))
PACKAGES = ("clickstream", "clickstream_operator")  # those that the Tiltfile syncs
EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 25


def copy_installed(target: Path) -> None:
    """Copy the installed packages below `target`, once in the life of the folder.

    What is there already was synced meanwhile, and stays.
    """
    complete = target / ".complete"
    if complete.exists():
        return
    for source in (path for name in PACKAGES for path in (INSTALLED / name).rglob("*")):
        copy = target / source.relative_to(INSTALLED)
        if source.is_dir() or "__pycache__" in source.parts:
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            with copy.open("xb") as file:
                file.write(source.read_bytes())
        except FileExistsError:
            continue
    target.mkdir(parents=True, exist_ok=True)
    complete.touch()


def fingerprint(folder: Path) -> frozenset[tuple[str, int]]:
    """Name and time of change (ns) of every Python file below the folder; empty when there is none yet."""
    return frozenset((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*.py"))


def settled(folder: Path, before: frozenset[tuple[str, int]]) -> frozenset[tuple[str, int]]:
    """The folder's fingerprint, once it stays the same for a moment: a sync brings many files."""
    while True:
        try:
            now = fingerprint(folder)
        except FileNotFoundError:  # removed meanwhile
            now = before
        if now == before:
            return now
        before = now
        time.sleep(EVERY_SECONDS)


def end(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the child, SIGKILL after a deadline."""
    child.terminate()
    try:
        child.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def main(command: str, arguments: list[str]) -> int:
    """Run until the command ends by itself or on a signal; returns its exit status."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    copy_installed(SYNCED)
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
        changed = {path for path, _ in now ^ seen}
        sys.stderr.write(f"live: {len(changed)} files changed, starting {command} again\n")
        end(child)
        seen = now


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[0]).name, sys.argv[1:]))
