"""Ctrl-C: its meaning depends on when it comes.

During preparation it cancels everything; once visitors are sending, the first one asks for an orderly end (wait, check,
report), the second one not to wait, the third one to stop at once. SIGTERM and SIGHUP count alike.
"""

from __future__ import annotations

import signal
from types import FrameType


class Interrupts:
    """Counts them. `orderly`: they do not raise until the third one; `deaf`: they do not raise at all."""

    def __init__(self) -> None:
        self.count = 0
        self.orderly = False
        self.deaf = False

    def listen(self) -> None:
        """Install the signal handlers."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._heard)

    @property
    def stop_wanted(self) -> bool:
        """Whether an orderly end is wanted."""
        return self.count > 0

    @property
    def impatient(self) -> bool:
        """Whether there should be no more waiting."""
        return self.count > 1

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if not self.deaf and (not self.orderly or self.count > 2):
            raise KeyboardInterrupt
