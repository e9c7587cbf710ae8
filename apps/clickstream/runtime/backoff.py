"""How long to wait before the next attempt: exponential, capped, with jitter, for any number of attempts."""

from __future__ import annotations

import random
from typing import Final

FIRST_SECONDS: Final = 0.1
CAP_SECONDS: Final = 5.0


class Backoff:
    """The waits between attempts, from `first` to `cap` seconds; `reset` after a success."""

    def __init__(
        self, first: float = FIRST_SECONDS, cap: float = CAP_SECONDS, source: random.Random | None = None
    ) -> None:
        self._first, self._cap = first, cap
        self._random = source or random.Random()  # noqa: S311 - spreads load, keeps no secret
        self.attempts = 0

    def next_wait(self) -> float:
        """Seconds to wait before the next attempt: half of the step fixed, the rest random."""
        step = min(self._cap, self._first * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return step * (0.5 + 0.5 * self._random.random())

    def reset(self) -> None:
        """Start with the shortest wait again."""
        self.attempts = 0
