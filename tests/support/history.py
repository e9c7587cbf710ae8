"""Weeks of believable visitors up to now, as events in order of time: content for screenshots."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from clickstream.simulator import addresses
from support.scenario import CRAWLER, FIREFOX, IPHONE

ITEMS = [f"/products/{name}" for name in ("kettle", "teapot", "mug", "lamp", "chair", "rug", "clock", "vase")]
ARRIVALS = (
    ("https://www.google.com/", ""),
    ("https://www.google.com/", ""),
    ("https://duckduckgo.com/", ""),
    ("https://www.reddit.com/r/tea", ""),
    ("https://news.example/a", ""),
    ("https://chatgpt.com/", "?utm_source=chatgpt.com"),
    (None, "?utm_source=letter&utm_medium=email&utm_campaign=autumn"),
    ("https://www.google.com/", "?gclid=abc&utm_source=google&utm_medium=cpc&utm_campaign=teapots"),
)
"""(referrer, query of the first page)."""
ERRORS = ("TypeError: cart is undefined", "TypeError: cart is undefined", "NetworkError: failed to fetch /api/stock")


def history(visits: int, days: int, seed: int = 7) -> list[dict[str, Any]]:
    """About four clicks a visit; more in the evening, fewer at night, slowly growing; now and then an order."""
    chance = random.Random(seed)
    now = datetime.now(UTC)
    found: list[tuple[datetime, dict[str, Any]]] = []
    for number in range(visits):
        while True:
            at = now - timedelta(seconds=chance.uniform(20 * 60, days * 86_400))
            age = (now - at).total_seconds() / 86_400 * 7 / days
            tide = 0.55 + 0.45 * math.sin((at.hour + at.minute / 60 - 13) / 24 * 2 * math.pi)
            if chance.random() < tide * (1 - 0.06 * age):
                break
        bot = chance.random() < 0.06
        user = "crawler" if bot else f"visitor-{int(chance.paretovariate(0.6)) % (visits // 4)}"
        agent = CRAWLER if bot else chance.choices((FIREFOX, IPHONE), (6, 4))[0]
        referrer, query = chance.choice(ARRIVALS) if chance.random() < 0.6 else (None, "")
        address = addresses.pick(random.Random(user))
        for place, page in enumerate(_pages(chance)):
            event: dict[str, Any] = {
                "event_id": f"history-{seed}-{number}-{place}",
                "timestamp": at.isoformat(timespec="milliseconds"),
                "user_id": user,
                "session_id": f"{user}-tab",
                "page": f"https://shop.example{page}{'' if place else query}",
                "user_agent": agent,
                "ip": address,
            }
            if referrer and not place:
                event["referrer"] = referrer
            if page == "/thank-you":
                spent: dict[str, Any] = {
                    "order_id": f"order-{number}",
                    "revenue": round(chance.lognormvariate(3.5, 0.6), 2),
                }
                event |= {"type": "purchase", "properties": spent | {"currency": "EUR"}}
            found.append((at, event))
            if chance.random() < 0.5:  # what the tracker's modules say of a page that was loaded
                heavy = 1.8 if page.startswith("/products/") else 1.0
                vitals = {
                    "lcp_ms": round(heavy * chance.lognormvariate(7.1, 0.4)),
                    "cls": round(chance.random() ** 6, 4),
                }
                vitals |= {"inp_ms": round(chance.lognormvariate(4.8, 0.5)), "ttfb_ms": round(chance.gauss(220, 60))}
                measured = {"type": "web_vitals", "properties": vitals}
                found.append((at, event | measured | {"event_id": f"{event['event_id']}-vitals"}))
            if chance.random() < 0.01:
                error = {"message": chance.choice(ERRORS), "file": "https://shop.example/app.js"}
                broken = {"type": "js_error", "properties": error, "event_id": f"{event['event_id']}-error"}
                found.append((at, event | broken))
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
        pages += ["/cart", "/checkout", "/thank-you"][: chance.randint(1, 3)]
    return pages
