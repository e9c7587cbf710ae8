"""A visitor: their ids, their browser and address, and where in their visit they are."""

from __future__ import annotations

import random
from typing import Any

from clickstream.simulator import addresses, browsers
from clickstream.simulator.arrivals import FIRST_VISIT, LATER_VISIT, Arrival
from clickstream.simulator.shop import Shop
from clickstream.simulator.visits import PAGE_VIEW, Action, plan_crawl, plan_visit


class Visitor:
    """A person, or a crawler, on one visit; `next_event` until `done`, then perhaps `come_back`."""

    __slots__ = ("_actions", "_at", "_referrer", "address", "crawler", "session_id", "user_agent", "user_id")

    session_id: str
    _actions: list[Action]
    _at: int
    _referrer: str | None

    def __init__(self, rng: random.Random, shop: Shop, *, crawlers: float, mobile: float) -> None:
        """`crawlers` and `mobile` are shares from 0 to 1."""
        self.user_id = f"u-{rng.getrandbits(64):016x}"
        self.address = addresses.pick(rng)
        self.crawler = rng.random() < crawlers
        if self.crawler:
            self.user_agent = browsers.BOT.pick(rng)
            self._begin(rng, plan_crawl(rng, shop), None)
        else:
            self.user_agent = (browsers.MOBILE if rng.random() < mobile else browsers.DESKTOP).pick(rng)
            self._arrive(rng, shop, FIRST_VISIT.pick(rng))

    def come_back(self, rng: random.Random, shop: Shop) -> None:
        """Begin another visit: the same user with a new client session."""
        self._arrive(rng, shop, LATER_VISIT.pick(rng))

    @property
    def done(self) -> bool:
        return self._at == len(self._actions)

    def next_event(self, event_id: str, timestamp: str) -> tuple[dict[str, Any], float]:
        """The event of the next action, as the tracking API takes it, and the seconds until the one after it."""
        action = self._actions[self._at]
        self._at += 1
        event: dict[str, Any] = {
            "event_id": event_id,
            "timestamp": timestamp,
            "user_id": self.user_id,
            "session_id": self.session_id,
            "page": action.page,
            "title": action.title,
            "user_agent": self.user_agent,
            "ip": self.address,
        }
        if action.type == PAGE_VIEW:
            if self._referrer is not None:
                event["referrer"] = self._referrer
            self._referrer = action.page
        else:
            event["type"] = action.type
        if action.properties is not None:
            event["properties"] = action.properties
        return event, action.think_s

    def _arrive(self, rng: random.Random, shop: Shop, arrival: Arrival) -> None:
        self._begin(rng, plan_visit(rng, shop, arrival), arrival.referrer)

    def _begin(self, rng: random.Random, actions: list[Action], referrer: str | None) -> None:
        self.session_id = f"s-{rng.getrandbits(64):016x}"
        self._actions = actions
        self._at = 0
        self._referrer = referrer
