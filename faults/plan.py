"""Which faults a run has, in which order: a function of the seed."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Sequence

from faults.fault import Fault


def plan(faults: Sequence[Fault], count: int, seed: int, *, rare: bool = True) -> list[Fault]:
    """`count` faults in random order, each family in turn, so that a short run has some of each.

    A run that is longer than the list repeats it without the rare ones; `rare`: whether it has any.
    """
    rng = random.Random(seed)  # noqa: S311
    families: dict[str, list[Fault]] = defaultdict(list)
    possible = [fault for fault in faults if (rare or not fault.rare) and (not fault.only_root or os.geteuid() == 0)]
    for fault in rng.sample(possible, len(possible)):
        families[fault.family].append(fault)
    found: list[Fault] = []
    while possible and len(found) < count:
        for family in list(families):
            if not families[family]:
                again = [fault for fault in possible if fault.family == family and not fault.rare]
                families[family] = rng.sample(again, len(again))
            if families[family] and len(found) < count:
                found.append(families[family].pop())
    rng.shuffle(found)
    return found


def chosen(faults: Sequence[Fault], prefixes: Sequence[str]) -> list[Fault]:
    """Those whose name or family begins with one of the prefixes; all when there are none."""
    return [
        fault
        for fault in faults
        if not prefixes or any(fault.name.startswith(p) or fault.family == p for p in prefixes)
    ]
