"""`python -m clickstream.dead_letters.jq_worker FD SECONDS PROGRAM`: applies a jq program to each value that comes in.

A process of its own, since jq holds the interpreter while it runs: only a signal ends a program that never does. Each
value has so many seconds; when they are over, or the program wants more than MEMORY_BYTES, the process is ended.

FD is a multiprocessing connection. A message in is JSON; out, `=` and the JSON of the one result, or `!` and what is
wrong.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any, Final

import jq

MEMORY_BYTES: Final = 512 * 2**20


def main(descriptor: int, seconds: float, program: str) -> None:
    """Until the other end closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    connection = Connection(descriptor)
    compiled = jq.compile(program)
    with contextlib.suppress(EOFError):
        while True:
            text = connection.recv_bytes().decode()
            signal.setitimer(signal.ITIMER_REAL, seconds)  # SIGALRM, which nobody handles, ends the process
            answer = _applied(compiled, text)
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.send_bytes(answer)


def _applied(compiled: Any, text: str) -> bytes:
    try:
        results = list(islice(compiled.input_text(text), 2))  # no more: there may be no end of them
        if len(results) != 1:
            return b"!the patch gives 2 values or more" if results else b"!the patch gives 0 values instead of one"
        return b"=" + json.dumps(results[0]).encode()
    except (ValueError, RecursionError) as error:
        return f"!the patch does not apply: {error}".encode("utf-8", "backslashreplace")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
