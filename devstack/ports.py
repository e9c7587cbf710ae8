"""Free TCP ports on the loopback interface.

Several stacks may run side by side, so no port is fixed. A port is chosen once, kept in the state file and used again
after a restart. It is not reserved: between choosing and binding another process can take the port, which is then a
clear error and a new choice at the next `up`.
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.05


def free_ports(count: int) -> list[int]:
    """Choose `count` different ports that nobody listens on, by letting the kernel bind them all at once."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in sockets]


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now (connections lingering in TIME_WAIT do not count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def becomes_free(port: int, seconds: float = 2.0) -> bool:
    """Whether `port` is free now or within `seconds`: a server that was just killed may hold it for a moment."""
    deadline = time.monotonic() + seconds
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
