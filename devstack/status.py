"""What is said about one server when somebody asks how it is.

Why it exists: the command line shows it, `status --json` prints it, tests compare it: plain data, no methods.
Deliberately absent: passwords; an external server's address is without them.
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
