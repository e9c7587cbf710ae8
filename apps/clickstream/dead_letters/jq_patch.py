"""A patch that is a jq program, run in a process that can be ended (jq_worker.py)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import weakref
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Final

import jq

from clickstream.dead_letters.jq_worker import MEMORY_BYTES
from clickstream.dead_letters.repair import PatchError

SECONDS: Final = 5.0
"""For one value."""


class JqPatch:
    """Applies a jq program to values, one after the other. Raises PatchError for one that does not compile."""

    def __init__(self, program: str) -> None:
        try:
            jq.compile(program)
        except ValueError as error:
            msg = f"--patch: {error}"
            raise PatchError(msg) from error
        self._program = program
        self._worker: _Worker | None = None

    def __call__(self, value: Any) -> Any:
        """The repaired value. Raises PatchError."""
        try:
            text = json.dumps(value).encode()
        except (ValueError, RecursionError) as error:
            msg = f"the patch does not apply: {error}"
            raise PatchError(msg) from error
        if self._worker is None:
            self._worker = _Worker(self._program)
        try:
            answer = self._worker.ask(text)
        except (EOFError, OSError) as error:
            ended, self._worker = self._worker.end(), None
            msg = (
                f"the patch takes more than {SECONDS:.0f} s for it"
                if ended == -signal.SIGALRM
                else f"the patch takes more than {MEMORY_BYTES // 2**20} MiB for it, or ends jq (status {ended})"
            )
            raise PatchError(msg) from error
        if answer[:1] != b"=":
            raise PatchError(answer[1:].decode())
        return json.loads(answer[1:])


class _Worker:
    """The process, which is ended with this object."""

    def __init__(self, program: str) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            arguments = [str(theirs.fileno()), str(SECONDS), program]
            command = [sys.executable, "-m", "clickstream.dead_letters.jq_worker", *arguments]
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL
            )
        self._finalizer = weakref.finalize(self, _end, self._process, self._connection)

    def ask(self, text: bytes) -> bytes:
        """Raises EOFError, OSError when the process has ended."""
        self._connection.send_bytes(text)
        return self._connection.recv_bytes()

    def end(self) -> int:
        """The process's exit status."""
        self._finalizer()
        return self._process.returncode


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    process.wait()  # it reads the connection's end, or its time is over
