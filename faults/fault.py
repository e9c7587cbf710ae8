"""One fault: it breaks something, waits, and repairs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from faults.world import World


@dataclass(frozen=True, slots=True)
class Fault:
    """`run(world, seconds)` does it for about so long, and undoes it; raises HarnessError only when it could not.

    `ends`: the parts whose processes may end because of it, apart from those that it ends itself. `only_root`: it
    mounts a file system. `rare`: it takes long, and an L run has it only once or twice.
    """

    name: str
    family: str
    run: Callable[[World, float], None]
    ends: frozenset[str] = frozenset()
    only_root: bool = False
    rare: bool = False
