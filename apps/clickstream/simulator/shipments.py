"""Which events travel together: the schedule of requests, made from the schedule of events.

A batch leaves when it is full, or `linger_s` after its first event, whatever comes first. Both are known from the
schedule alone, so this is pure: no clock, no waiting.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from clickstream.simulator.traffic import Outgoing


class Shipment(NamedTuple):
    """One request. `due_s`: when it should leave; `single`: to the endpoint for one event."""

    due_s: float
    events: list[Outgoing]
    single: bool


def shipments(
    events: Iterable[Outgoing], size: int, single_share: float, linger_s: float, seed: int
) -> Iterator[Shipment]:
    """Requests in the order of `due_s`. With size 1 all are single, otherwise a share of the events from 0 to 1."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    batch: list[Outgoing] = []
    for event in events:
        if batch and event.due_s > batch[0].due_s + linger_s:
            yield Shipment(batch[0].due_s + linger_s, batch, single=False)
            batch = []
        if size == 1 or rng.random() < single_share:
            yield Shipment(event.due_s, [event], single=True)
            continue
        batch.append(event)
        if len(batch) == size:
            yield Shipment(event.due_s, batch, single=False)
            batch = []
    if batch:
        yield Shipment(batch[-1].due_s, batch, single=False)  # nothing more will come to wait for
