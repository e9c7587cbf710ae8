"""Starts one server process so that it can be found, stopped and its log read.

The child gets its own session (Ctrl-C in a terminal is for the devstack, which then stops its servers in order), its
output goes to its log, and it is recorded before anything else happens.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devstack.process import ProcessId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a server: None for `environment`, `user` and `group` inherits this process's."""

    command: Sequence[str | Path]
    folder: Path
    environment: Mapping[str, str] | None = None
    user: int | None = None
    group: int | None = None


def spawn(launch: Launch, log: Path, remember: Callable[[ProcessId], None]) -> ProcessId:
    """Start it, with its output appended to `log`; if `remember` fails, the process is gone again."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603
            launch.command,
            cwd=launch.folder,
            env=launch.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=launch.user,
            group=launch.group,
            extra_groups=None if launch.user is None else [],
        )
    try:
        process = ProcessId.of(child.pid) or ProcessId(child.pid, "died at once")
        remember(process)
    except BaseException:
        child.kill()
        child.wait()
        raise
    # It outlives this process; without an exit status Popen would warn about that when it is collected.
    child.returncode = 0
    return process
