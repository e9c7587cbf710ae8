"""Signals that end a process as Ctrl-C does, with everything that it started."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn


def interrupt_on(*signals: signal.Signals) -> None:
    """From now on the first of these signals raises KeyboardInterrupt, and those that follow do nothing.

    `timeout` sends SIGTERM twice, and the second would interrupt what the first has begun to end.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in signals:
        signal.signal(each, interrupt)
