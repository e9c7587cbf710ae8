"""Waiting for a condition: the one loop that all tests use."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    condition: Callable[[], T],
    what: object = "",
    seconds: float = 60,
    *,
    explain: Callable[[], str] = lambda: "",
    every: float = 0.05,
) -> T:
    """The first true answer of `condition`. AssertionError after so many seconds, with what `explain` says."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            msg = f"not within {seconds:.0f} s: {what or condition}; last answer {answer!r}\n{explain()}"
            raise AssertionError(msg)
        time.sleep(every)
    return answer
