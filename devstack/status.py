"""The status of one server, as plain data.

The command line shows it, `status --json` prints it. An external server's address has no password in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Status:
    """What `devstack status` says about a server; `state` is running, unhealthy, stopped or absent."""

    service: str
    state: str
    address: str
    pid: int | None = None
    external: bool = False
    detail: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    log: str = ""
