"""A week of believable visitors up to now, as events in order of time: content for screenshots."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from support.scenario import CRAWLER, FIREFOX, IPHONE

ITEMS = [f"/products/{name}" for name in ("kettle", "teapot", "mug", "lamp", "chair", "rug", "clock", "vase")]
REFERRERS = (
    "https://www.google.com/",
    "https://duckduckgo.com/",
    "https://www.reddit.com/r/tea",
    "https://news.example/a",
)


def week(visits: int, seed: int = 7) -> list[dict[str, Any]]:
    """About four clicks a visit; more in the evening, fewer at night, slowly growing."""
    chance = random.Random(seed)
    now = datetime.now(UTC)
    found: list[tuple[datetime, dict[str, Any]]] = []
    for number in range(visits):
        while True:
            at = now - timedelta(seconds=chance.uniform(20 * 60, 7 * 86_400))
            age = (now - at).total_seconds() / 86_400
            tide = 0.55 + 0.45 * math.sin((at.hour + at.minute / 60 - 13) / 24 * 2 * math.pi)
            if chance.random() < tide * (1 - 0.06 * age):
                break
        bot = chance.random() < 0.06
        user = "crawler" if bot else f"visitor-{int(chance.paretovariate(0.6)) % (visits // 4)}"
        agent = CRAWLER if bot else chance.choices((FIREFOX, IPHONE), (6, 4))[0]
        referrer = chance.choice(REFERRERS) if chance.random() < 0.5 else None
        for place, page in enumerate(_pages(chance)):
            event = {
                "event_id": f"history-{seed}-{number}-{place}",
                "timestamp": at.isoformat(timespec="milliseconds"),
                "user_id": user,
                "session_id": f"{user}-tab",
                "page": f"https://shop.example{page}",
                "user_agent": agent,
            }
            found.append((at, event | ({"referrer": referrer} if referrer and not place else {})))
            at += timedelta(seconds=chance.uniform(4, 150))
    found.sort(key=lambda pair: pair[0])
    return [event for _, event in found]


def _pages(chance: random.Random) -> list[str]:
    pages = [chance.choices(("/", "/products", chance.choice(ITEMS), "/about"), (6, 1, 2, 1))[0]]
    while chance.random() < 0.72 and len(pages) < 12:
        pages.append(
            chance.choices(("/products", chance.choice(ITEMS[: chance.randint(1, 8)]), "/about"), (3, 6, 1))[0]
        )
    if len(pages) > 2 and chance.random() < 0.45:
        pages += ["/cart", "/checkout"][: chance.randint(1, 2)]
    return pages
