"""Jobs that fail are made again under a name of their own, and stay for an hour with their pods and logs.

A Job's first attempt has the name that `desired/` gives it, later ones that name and a number. Which one is wanted now
follows from those that there are. Pure: `now` is handed in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from clickstream_operator.desired.child_object import ChildKey, ChildObject, Manifest, is_going
from clickstream_operator.health import failed_at, job_state

KEEP_SECONDS: Final = 3_600.0
FIRST_PAUSE_SECONDS: Final = 60.0
LONGEST_PAUSE_SECONDS: Final = 600.0

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_NUMBER: Final = re.compile(r"-([0-9]{1,3})")


@dataclass(frozen=True, slots=True)
class Attempts:
    """`desired` with each Job under the name of its attempt at hand. `kept`: failed ones that are not pruned yet."""

    desired: tuple[ChildObject, ...]
    kept: frozenset[ChildKey]


def attempts(desired: Iterable[ChildObject], live: Mapping[ChildKey, Manifest], now: datetime) -> Attempts:
    """The pause between two attempts doubles with each failed one that is kept, from a minute to ten."""
    found: list[ChildObject] = []
    kept: set[ChildKey] = set()
    for child in desired:
        if child.key.kind == "Job":
            key, failed = _attempt(child.key, live, now)
            kept |= failed
            meta = child.manifest["metadata"] | {"name": key.name}
            found.append(replace(child, manifest=child.manifest | {"metadata": meta}))
        else:
            found.append(child)
    return Attempts(tuple(found), frozenset(kept))


def _attempt(base: ChildKey, live: Mapping[ChildKey, Manifest], now: datetime) -> tuple[ChildKey, set[ChildKey]]:
    made = {key: job for key, job in live.items() if _is_attempt(key, base)}
    failed = {key: failed_at(job) or _LONG_AGO for key, job in made.items() if job_state(job) == "Failed"}
    complete = [key for key in made if job_state(made[key]) == "Complete"]
    running = [key for key in made if key not in failed and key not in complete and not is_going(made[key])]
    if complete:
        return complete[0], set()
    kept = {key for key, since in failed.items() if _seconds(since, now) < KEEP_SECONDS}
    if running:
        return running[0], kept
    if not failed:
        return base, kept
    newest = max(failed, key=lambda key: failed[key])
    pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(len(kept) - 1, 10))
    if _seconds(failed[newest], now) < pause:
        return newest, kept
    free = next(key for key in _names(base) if key not in made)
    return free, kept


def _is_attempt(key: ChildKey, base: ChildKey) -> bool:
    if key.kind != base.kind or key.namespace != base.namespace or not key.name.startswith(base.name):
        return False
    return key == base or _NUMBER.fullmatch(key.name, len(base.name)) is not None


def _names(base: ChildKey) -> Iterable[ChildKey]:
    yield base
    for number in range(2, 1_000):
        yield base._replace(name=f"{base.name}-{number}")


def _seconds(since: datetime, now: datetime) -> float:
    """Also where the clocks disagree nothing is waited for longer than once more."""
    return abs((now - since).total_seconds())
