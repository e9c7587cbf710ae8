"""Three days of eight named visitors and a crawler, on a known clock: Monday to Wednesday 17:00 of last week, UTC.

303 clicks. Every hour of a day repeats the same visits, so that each dashboard number can be worked out by hand
(tests/support/scenario_expected.py does). Special cases: a session over each midnight, three sessions of which a
late click makes one, a click too late for any session, bots, and who is online at 17:00.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

HOUR = 3_600_000
MINUTE = 60_000
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
AGENTS = {"bob": IPHONE, "eve": IPHONE, "crawler": CRAWLER}

# (pages, minutes between them)
BUYER = (("/", "/products/a", "/cart", "/checkout"), 1)
LOOKER = (("/", "/products/a", "/products/b"), 2)
BOUNCE = (("/",), 1)
READER = (("/about", "/"), 1)
DIRECT = (("/checkout", "/products/b"), 1)

MON, TUE, WED = 0, 24, 48
"""Hours since the beginning."""


@dataclass(frozen=True)
class Step:
    """One click; `at` in ms since Monday 00:00."""

    at: int
    who: str
    page: str
    type: str = "page_view"
    referrer: str | None = None


def monday_ms(now: datetime | None = None) -> int:
    """Last week's Monday, 00:00 UTC."""
    today = (now or datetime.now(UTC)).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((today - timedelta(days=today.weekday() + 7)).timestamp() * 1_000)


END = (WED + 17) * HOUR
"""Wednesday 17:00, the scenario's now."""


def steps() -> list[Step]:
    """All clicks in the order in which they are sent."""
    told = sorted(_on_time(), key=lambda step: step.at)
    # Kim's middle click arrives after her last one and joins both into one session.
    middle = next(place for place, step in enumerate(told) if (step.who, step.page) == ("kim", "/checkout"))
    told.insert(middle + 1, Step((WED + 12) * HOUR + 9 * MINUTE, "kim", "/products/a"))
    # Hours too late for any session: a page view and an active user all the same.
    told.append(Step((WED + 9) * HOUR + 30 * MINUTE, "ann", "/late"))
    return told


def events(monday: int) -> list[dict[str, Any]]:
    """The clicks as a client sends them."""
    return [
        {
            "event_id": f"scenario-{number}",
            "timestamp": datetime.fromtimestamp((monday + step.at) / 1_000, UTC).isoformat(timespec="milliseconds"),
            "user_id": step.who,
            "session_id": f"{step.who}-tab",
            "page": f"https://shop.example{step.page}",
            "type": step.type,
            "user_agent": AGENTS.get(step.who, FIREFOX),
        }
        | ({} if step.referrer is None else {"referrer": step.referrer})
        for number, step in enumerate(steps())
    ]


def _on_time() -> Iterator[Step]:
    for hour in range(9, 19):
        yield from _visit(MON, hour, 0, "ann", BUYER)
        yield from _visit(MON, hour, 10, "bob", LOOKER)
        yield from _visit(MON, hour, 20, "cat", BOUNCE, "https://www.google.com/")
        yield from _visit(TUE, hour, 0, "ann", LOOKER)
        yield from _visit(TUE, hour, 10, "dan", BUYER)
        yield from _visit(TUE, hour, 30, "eve", READER)
        for second in range(3):
            yield Step((TUE + hour) * HOUR + 45 * MINUTE + second * 1_000, "crawler", f"/products/{'abc'[second]}")
    for hour in range(9, 17):
        yield from _visit(WED, hour, 0, "eve", BUYER)
        yield from _visit(WED, hour, 10, "fay", LOOKER)
        yield Step((WED + hour) * HOUR + 11 * MINUTE, "fay", "/products/a", "add_to_cart")
        yield from _visit(WED, hour, 20, "ann", BOUNCE)
        yield from _visit(WED, hour, 30, "dan", DIRECT)
    # Over midnight, one second long.
    yield Step(TUE * HOUR - 500, "cat", "/")
    yield Step(TUE * HOUR + 500, "cat", "/products/a")
    # Over midnight, ten minutes long.
    for minutes, page in ((-4, "/"), (1, "/products/a"), (6, "/checkout")):
        yield Step(WED * HOUR + minutes * MINUTE, "bob", page)
    yield Step((WED + 12) * HOUR, "kim", "/")
    yield Step((WED + 12) * HOUR + 18 * MINUTE, "kim", "/checkout")
    # Who is online at 17:00: cat, dan and eve; gus was there a second too early, the crawler is no user.
    for before_s, who, page in (
        (301, "gus", "/about"), (180, "cat", "/"), (60, "crawler", "/products/a"),
        (50, "eve", "/"), (30, "dan", "/"), (20, "eve", "/products/a"),
    ):  # fmt: skip
        yield Step(END - before_s * 1_000, who, page)


def _visit(
    day: int, hour: int, minute: int, who: str, kind: tuple[tuple[str, ...], int], referrer: str | None = None
) -> Iterator[Step]:
    pages, apart = kind
    for number, page in enumerate(pages):
        yield Step(
            (day + hour) * HOUR + (minute + number * apart) * MINUTE, who, page, referrer=None if number else referrer
        )
