"""Where a server listens: one socket for IPv6 and IPv4, so that a pod of any cluster answers on the address it has."""

from __future__ import annotations

import errno
import socket
from typing import Final

EVERYWHERE: Final = "::"
"""All addresses of the machine, of both families."""

_WITHOUT_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT})
"""What a kernel says to `::` that has no IPv6, or has it switched off."""


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket, which does not listen yet; port 0 takes a free one. Raises OSError.

    `::` takes IPv4 as well, whatever the system's default, and is 0.0.0.0 where there is no IPv6. A client of IPv4 has
    an address such as `::ffff:192.0.2.7` there.
    """
    if host != EVERYWHERE:
        return _bound(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port)
    try:
        return _bound(socket.AF_INET6, host, port, dual_stack=True)
    except OSError as error:
        if error.errno not in _WITHOUT_IPV6:
            raise
        return _bound(socket.AF_INET, "0.0.0.0", port)  # noqa: S104 - a pod listens on its own addresses


def _bound(family: socket.AddressFamily, host: str, port: int, *, dual_stack: bool = False) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if dual_stack:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made
