"""Pipelines that are as the last full pass left them, so that a pass has nothing to look at but their Secrets.

Watches tell of everything else (`watches.py`). Secrets are not watched: the operator may only read those that a
pipeline names.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from clickstream_operator.cluster import Cluster
from clickstream_operator.naming import Key

SECRETS_A_PASS: Final = 2
"""So many are compared, those first that were not for longest."""
FULL_PASS_SECONDS: Final = 300.0
"""After so long a pass reads everything, whatever the watches told."""
COUNTING_PASS_SECONDS: Final = 60.0
"""The same where a consumer stands still: the time until its clicks are lost runs on without news."""


@dataclass(slots=True)
class _Rest:
    """`versions` of Secrets by name, None: it does not exist; in the order in which they are compared next."""

    mark: int
    until: float
    versions: dict[str, str | None]


class AtRest:
    """Thread-safe. `watched` says whether every change of a child is told to `changed`."""

    def __init__(
        self, cluster: Cluster, watched: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._watched = watched
        self._clock = clock
        self._lock = threading.Lock()
        self._changes: Counter[Key] = Counter()
        self._rests: dict[Key, _Rest] = {}

    def changed(self, key: Key) -> None:
        """The pipeline or a child of it did."""
        with self._lock:
            self._changes[key] += 1

    def forget(self, key: Key) -> None:
        """The pipeline is gone."""
        with self._lock:
            self._changes.pop(key, None)
            self._rests.pop(key, None)

    def mark(self, key: Key) -> int | None:
        """Where the changes stand, before everything is read; None while changes may go untold."""
        if not self._watched():
            return None
        with self._lock:
            return self._changes[key]

    def settle(self, key: Key, mark: int | None, versions: Mapping[str, str | None], seconds: float) -> None:
        """What was read since `mark` is as it should be; look at all of it again in `seconds`."""
        with self._lock:
            if mark is None:
                self._rests.pop(key, None)
            else:
                self._rests[key] = _Rest(mark, self._clock() + seconds, dict(versions))

    def holds(self, key: Key) -> bool:
        """Whether a pass would find what the last one found. Raises ClusterError."""
        watched = self._watched()
        with self._lock:
            rest = self._rests.get(key)
            if rest is None or not watched or rest.mark != self._changes[key] or self._clock() >= rest.until:
                return False
            compared = [(name, rest.versions.pop(name)) for name in [*rest.versions][:SECRETS_A_PASS]]
            rest.versions.update(compared)  # to the end of the row
        return all(self._cluster.version("Secret", key[0], name) == version for name, version in compared)
