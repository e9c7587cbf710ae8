"""All visitors' events in the order in which they are sent, with a share of repeated, delayed and spoiled ones.

Everything random is decided here, before any network, so that a seed gives the same visitors, pages and event ids every
time. Pure but for its random source: the clock only appears as `begin_ms`.

The rate is exact: there is one slot every 1/rate seconds, and each slot is filled by the visitor who is due, or, when
nobody is, by a new one.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import msgspec

from clickstream.contracts.times import iso_time
from clickstream.simulator.shop import Shop
from clickstream.simulator.spoiled import spoil
from clickstream.simulator.visitors import Visitor

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares from 0 to 1. `time_scale` multiplies the visitors' pauses; 0.1: they live ten times faster."""

    repeated: float = 0.01
    delayed: float = 0.01
    spoiled: float = 0.005
    crawlers: float = 0.03
    mobile: float = 0.53
    returning: float = 0.35
    time_scale: float = 1.0


class Outgoing(NamedTuple):
    """One sending of an event. `due_s`: seconds since the begin at which it should leave; `body`: its JSON object.

    `key` is its event_id, or an invented one where the event's own is missing or wrong. `spoiled`: it must be
    rejected. `repeat`: the same event was sent before.
    """

    due_s: float
    key: str
    body: bytes
    spoiled: bool = False
    repeat: bool = False


def traffic(seed: int, shop: Shop, rate: float, begin_ms: int, mix: Mix) -> Iterator[Outgoing]:
    """Endless sendings, `due_s` never falling; `rate` distinct events a second, repeats come on top."""
    rng = random.Random(seed)  # noqa: S311 - visitors, not secrets
    waiting: list[tuple[float, int, Visitor]] = []  # by the time of their next click
    held: list[tuple[float, int, Outgoing]] = []  # by the time of their sending
    order = count()
    clock = _clock()
    for slot in count():
        now = slot / rate
        while held and held[0][0] <= now:
            yield heapq.heappop(held)[2]
        if waiting and waiting[0][0] <= now:
            visitor = heapq.heappop(waiting)[2]
            if visitor.done:
                visitor.come_back(rng, shop)
        else:
            visitor = Visitor(rng, shop, crawlers=mix.crawlers, mobile=mix.mobile)

        key = f"{rng.getrandbits(128):032x}"
        event, think = visitor.next_event(key, clock(begin_ms + int(now * 1_000)))
        pause: float | None = think * mix.time_scale
        chance = rng.random()
        if chance < mix.spoiled:
            yield Outgoing(now, key, _encode(spoil(rng, event)), spoiled=True)
        elif chance < mix.spoiled + mix.delayed and not visitor.done:
            # Its successor comes quickly and overtakes it.
            pause = min(think * mix.time_scale, 0.2 + rng.random())
            due = now + pause + 0.1 + rng.random() * 2
            heapq.heappush(held, (due, next(order), Outgoing(due, key, _encode(event))))
        else:
            sending = Outgoing(now, key, _encode(event))
            yield sending
            if chance > 1 - mix.repeated:
                due = now + 0.5 + rng.random() * 6
                heapq.heappush(held, (due, next(order), sending._replace(due_s=due, repeat=True)))

        if visitor.done:
            pause = _away(rng, mix, visitor)
        if pause is not None:
            heapq.heappush(waiting, (now + pause, next(order), visitor))


def _away(rng: random.Random, mix: Mix, visitor: Visitor) -> float | None:
    """Seconds until a visitor whose visit is over comes back; None for those who never do."""
    if visitor.crawler or rng.random() >= mix.returning:
        return None
    return (12 + rng.lognormvariate(0.0, 0.9) * 20) * 60 * mix.time_scale


def _clock() -> Callable[[int], str]:
    """`iso_time` with a cache for times in the same second: formatting costs more than an event."""
    second, text = -1, ""

    def read(ms: int) -> str:
        nonlocal second, text
        at_s, at_ms = divmod(ms, 1_000)
        if at_s != second:
            second, text = at_s, iso_time(at_s * 1_000)[:-4]
        return f"{text}{at_ms:03d}Z"

    return read
