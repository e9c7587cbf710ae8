"""Numbers on command lines: within their bounds, so that no infinity and no NaN gets any further."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final, TypeVar

N = TypeVar("N", int, float)


def number(kind: Callable[[str], N], low: N, high: N) -> Callable[[str], N]:
    """A `type` for argparse: an int or a float from `low` to `high`."""

    def read(text: str) -> N:
        try:
            value = kind(text)
        except ValueError:
            msg = f"{text!r} is not a number" if kind is float else f"{text!r} is not a whole number"
            raise argparse.ArgumentTypeError(msg) from None
        if not low <= value <= high:  # also NaN
            msg = f"{text!r} is not from {low:,} to {high:,}"
            raise argparse.ArgumentTypeError(msg)
        return value

    return read


share: Final = number(float, 0.0, 1.0)
rate: Final = number(float, 0.01, 1_000_000.0)
"""So many a second."""
seconds: Final = number(float, 0.0, 1_000_000_000.0)
at_least_one: Final = number(int, 1, 10**12)
port: Final = number(int, 0, 65_535)
