"""What the limits of a source cost an accepted request, beside what it costs to read its one event.

`python -m bench.rate_limits`: the least of many runs, in µs of processor time.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

import msgspec

from clickstream.contracts.pipeline import Source
from clickstream.tracking_api.rate_limits import SourceLimits
from clickstream.tracking_api.validation.event import RequestContext, parse_event

RUNS: Final = 20
REQUESTS: Final = 20_000
RATE: Final = {"eventsPerSecond": 1_000_000, "burst": 10_000_000}
EVENT: Final = {"event_id": "e", "timestamp": "2026-01-31T08:30:00Z", "user_id": "u", "session_id": "s", "page": "/"}
ADDRESSES: Final = {
    "IPv4": [ip_address(f"203.0.{number >> 8}.{number & 255}") for number in range(10_000)],
    "IPv6": [ip_address(f"2001:db8:{number:x}::1") for number in range(10_000)],
}


def limited(limits: dict[str, Any], addresses: list[Any], *, look: bool = False) -> Callable[[int], object]:
    """What a single event pays. A batch has a look at the buckets before, `look`, whatever its size."""
    source = SourceLimits(msgspec.convert({"name": "web", "limits": limits}, Source))

    call = source.refusal if look else source.take
    return lambda number: call(addresses[number % len(addresses)], 1)


def microseconds(request: Callable[[int], object]) -> float:
    """Of the loop itself, too, which `nothing` shows."""
    least = float("inf")
    for _ in range(RUNS):
        started = time.thread_time_ns()
        for number in range(REQUESTS):
            request(number)
        least = min(least, (time.thread_time_ns() - started) / REQUESTS / 1_000)
    return least


def main() -> None:
    text, context = json.dumps(EVENT).encode(), RequestContext(source="web", received_at=1_769_848_200_000)
    gc.disable()
    v4, v6, both = ADDRESSES["IPv4"], ADDRESSES["IPv6"], {"source": RATE, "address": RATE}
    nothing = microseconds(lambda number: v4[number % len(v4)])
    rows = {
        "no limit": limited({}, v4),
        "source": limited({"source": RATE}, v4),
        "address, IPv4": limited({"address": RATE}, v4),
        "address, IPv6": limited({"address": RATE}, v6),
        "source and address, IPv4": limited(both, v4),
        "source and address, IPv6": limited(both, v6),
        "first look of a batch": limited(both, v4, look=True),
        "reading the event": lambda _: parse_event(text, context),
    }
    for name, request in rows.items():
        print(f"{name:26} {microseconds(request) - nothing:6.2f} µs")


if __name__ == "__main__":
    main()
