"""How long to wait before a store that refused for now is asked again: exponential, capped, with jitter, without an end."""

from __future__ import annotations

import random
from typing import Final

FIRST_SECONDS: Final = 0.1
CAP_SECONDS: Final = 5.0


class Patience:
    """The waits of one trouble. `reset` when it is over."""

    def __init__(self, source: random.Random | None = None) -> None:
        self._random = source or random.Random()  # noqa: S311 - spreads load, keeps no secret
        self.attempts = 0

    def next_wait(self) -> float:
        """Seconds to wait before the next attempt: half of the step for certain, the rest by chance."""
        step = min(CAP_SECONDS, FIRST_SECONDS * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return step * (0.5 + 0.5 * self._random.random())

    def reset(self) -> None:
        """The trouble is over."""
        self.attempts = 0
