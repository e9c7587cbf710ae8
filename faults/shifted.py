"""`python -m faults.shifted SECONDS …` runs `clickstream …` with a clock that is off by so much.

A stand-in for a node whose clock is wrong: what Python reads as the wall clock is shifted before anything is imported;
Kafka's client library and the monotonic clock are not.
"""

from __future__ import annotations

import sys
import time


def shift(seconds: float) -> None:
    """Shift `time.time` and `time.time_ns` permanently."""
    really, really_ns = time.time, time.time_ns
    time.time = lambda: really() + seconds
    time.time_ns = lambda: really_ns() + int(seconds * 1_000_000_000)


if __name__ == "__main__":
    shift(float(sys.argv[1]))
    from clickstream.cli import main

    sys.argv[:] = ["clickstream", *sys.argv[2:]]
    sys.exit(main())
