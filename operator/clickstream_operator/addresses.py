"""Ports out of addresses, for the network policies. The resource's schema has the same patterns (manifests/crds)."""

from __future__ import annotations

import re
from typing import Final

_HOST: Final = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
_URL: Final = re.compile(rf"(https?)://{_HOST}(?::([0-9]{{1,5}}))?(?:/[^ \t\n\f\r?#]*)?")
_SERVER: Final = re.compile(rf"\s*{_HOST}:([0-9]{{1,5}})\s*")


def url_port(url: str) -> int | None:
    """The port that an http or https URL leads to; None when it is no such URL. Never raises."""
    found = _URL.fullmatch(url)
    if found is None:
        return None
    return _checked(found[2]) if found[2] else {"http": 80, "https": 443}[found[1]]


def server_ports(servers: str) -> list[int] | None:
    """The ports of comma-separated host:port addresses; None when one of them is not of that form. Never raises."""
    ports = [_checked(found[1]) if (found := _SERVER.fullmatch(each)) else None for each in servers.split(",")]
    known = [port for port in ports if port is not None]
    return known if len(known) == len(ports) else None


def _checked(text: str) -> int | None:
    return port if 1 <= (port := int(text)) <= 65_535 else None
