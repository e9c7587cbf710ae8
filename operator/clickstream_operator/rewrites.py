"""What admission made of what was applied, so that a webhook's change of a field of ours is not taken for drift.

Kept in memory: after a restart each child that is rewritten is applied once more, which changes nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from clickstream_operator import naming
from clickstream_operator.desired.child_object import ChildKey, Manifest
from clickstream_operator.diff import differs, part_of

_MOST: Final = 20_000
"""Children; about 300 bytes each."""


class Rewrites:
    """Thread-safe, bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[ChildKey, tuple[str, str]] = OrderedDict()

    def remember(self, key: ChildKey, sent: Manifest, answer: Manifest) -> None:
        """`answer` is what the API server returned to the apply of `sent`."""
        with self._lock:
            self._known.pop(key, None)
            if differs(sent, answer) is not None:
                self._known[key] = (answer["metadata"]["uid"], naming.digest(part_of(sent, answer), 16))
                if len(self._known) > _MOST:
                    self._known.popitem(last=False)

    def agrees(self, key: ChildKey, wanted: Manifest, live: Manifest) -> bool:
        """Whether every field of ours is as it was sent, or as admission made it then."""
        if differs(wanted, live) is None:
            return True
        with self._lock:
            known = self._known.get(key)
        return known == (live["metadata"]["uid"], naming.digest(part_of(wanted, live), 16))
