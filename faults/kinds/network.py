"""Every link between two parts: slow, silent, cut, narrow."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from faults.fault import Fault
from faults.proxy import Proxy
from faults.servers import CLIENTS, ELASTICSEARCH, PARTS, POSTGRES
from faults.world import World

LINKS: Final = (CLIENTS, *(f"{part}→kafka" for part in PARTS), ELASTICSEARCH, POSTGRES)


def _while(world: World, seconds: float, link: str, begin: Callable[[Proxy], None]) -> None:
    proxy = world.links[link]
    begin(proxy)
    time.sleep(seconds)
    proxy.restore()
    world.wait_ready()


def _cut_repeatedly(world: World, seconds: float, link: str) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        world.links[link].cut()
        time.sleep(world.rng.uniform(0.05, 0.8))
    world.wait_ready()


def _silent_then_cut(world: World, seconds: float, link: str) -> None:
    """What was sent into the silence never arrives."""
    proxy = world.links[link]
    proxy.hold()
    time.sleep(seconds)
    proxy.cut()
    proxy.restore()
    world.wait_ready()


def _each(name: str, begin: Callable[[Proxy], None]) -> list[Fault]:
    return [Fault(name.format(link), "network", partial(_while, link=link, begin=begin)) for link in LINKS]


FAULTS = (
    *_each("{} is delayed by 300 ms", lambda proxy: proxy.delay(0.3)),
    *_each("{} is silent", lambda proxy: proxy.hold()),
    *_each("{} is refused", lambda proxy: proxy.refuse()),
    *_each("{} has 10 KB/s", lambda proxy: proxy.throttle(10_000)),
    *(Fault(f"{link} is silent, then cut", "network", partial(_silent_then_cut, link=link)) for link in LINKS),
    *(Fault(f"{link} is cut again and again", "network", partial(_cut_repeatedly, link=link)) for link in LINKS),
)
