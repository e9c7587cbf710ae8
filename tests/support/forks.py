"""Starts `clickstream …` as a fork of a process that has imported it already.

Hundreds of processes are started by the tests, and each would spend one to two seconds of processor time on imports.
What is forked is a process like any other: its own group, environment and log, `main` from its first line, and a child
of this one (an orphan of the fork goes to the nearest ancestor that asks for orphans, on Linux).
CLICKSTREAM_TEST_FORKS=0 starts each from nothing.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from clickstream import cli

_PR_SET_CHILD_SUBREAPER = 36
_IMPORTS = [f"clickstream.{each}.main" for each in ("tracking_api", "enricher", "sinks", "setup")]
"""What most of them need. The operator is not forked: its client reads KUBECONFIG at import."""


def can_fork(command: Sequence[str | Path]) -> bool:
    """Whether `start` knows this command, on this system."""
    known = [sys.executable, "-m", "clickstream.cli"]
    return sys.platform == "linux" and list(command[:3]) == known and os.environ.get("CLICKSTREAM_TEST_FORKS") != "0"


def start(command: Sequence[str | Path], log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The process, both of its outputs appended to `log`."""
    log.touch()
    arguments = [str(each) for each in command[3:]]
    return _Forked(_forker.fork({"arguments": arguments, "log": str(log), "env": env, "cwd": str(Path.cwd())}), command)


class _Forker:
    """The process that forks, started when it is first needed. It ends with this one, whose end it reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def fork(self, request: Mapping[str, object]) -> int:
        """The process id of what was asked for."""
        with self._lock:
            self._process = self._process or self._start()
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def _start(self) -> subprocess.Popen[str]:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        command = [sys.executable, "-P", __file__]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0)


_forker = _Forker()


class _Forked(subprocess.Popen[bytes]):
    """A child of this process that `subprocess` has not started."""

    def __init__(self, pid: int, command: Sequence[str | Path]) -> None:
        self.args = command
        self.pid = pid
        self.returncode: int | None = None
        self.stdin = self.stdout = self.stderr = None
        self._child_created = True
        self._waitpid_lock = threading.Lock()
        self._sigint_wait_secs = 0.25
        self._communication_started = False
        self._input = None


def _serve() -> None:
    """Fork for each line of the standard input, and answer with the new process's id."""
    for name in _IMPORTS:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is there by now belongs to all
    reading, writing = os.pipe()
    for line in sys.stdin:
        if (middle := os.fork()) == 0:
            pid = os.fork()
            if pid == 0:
                _become(json.loads(line))
            os.setpgid(pid, pid)
            os.write(writing, b"%d\n" % pid)
            os._exit(0)
        os.waitpid(middle, 0)  # only then is the new process an orphan, and a child of who asked
        os.write(1, os.read(reading, 32))


def _become(request: dict[str, Any]) -> NoReturn:
    """Be the process that was asked for; it ends as every interpreter does."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    null, log = os.open(os.devnull, os.O_RDONLY), os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
        os.set_inheritable(target, True)
    os.close(null)
    os.close(log)
    sys.argv = ["clickstream", *request["arguments"]]
    sys.exit(cli.main())


if __name__ == "__main__":
    _serve()
