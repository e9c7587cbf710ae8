"""Clicks of made-up visitors over hours of event time, and what is true of them: the oracle of the delivery tests."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field

from clickstream.contracts.clicks import Click
from clickstream.contracts.session_records import Retraction, Session

MINUTE = 60_000
GAP = 10 * MINUTE
START = 1_767_225_600_000  # 2026-01-01T00:00:00Z
PAGES = ("/", "/products", "/products/item-1", "/products/item-2", "/cart", "/checkout", "/about")
STEPS = ({"/"}, {"/products/item-1", "/products/item-2"}, {"/checkout"})


def clicks(count: int, *, seed: int, users: int, hours: float = 6, disorder: int = 5 * MINUTE) -> list[Click]:
    """`count` clicks in order of arrival: a twentieth out of order by up to `disorder` ms, a fiftieth twice."""
    chance = random.Random(seed)
    made: list[Click] = []
    while len(made) < count:
        if made and chance.random() < 0.02:
            made.append(chance.choice(made[-50:]))
            continue
        at = START + int(len(made) / count * hours * 60 * MINUTE)
        time = at - (chance.randrange(disorder) if chance.random() < 0.05 else 0)
        made.append(
            Click(
                event_id=f"{seed}-{len(made)}",
                timestamp=time,
                user_id=f"user-{chance.randrange(users)}",
                session_id="browser",
                page="https://shop.example" + chance.choice(PAGES),
                received_at=at + 1_000,
                source="web",
                type="page_view" if chance.random() < 0.9 else "add_to_cart",
                referrer=chance.choice((None, "https://www.google.com/", "https://news.example/a")),
                user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            )
        )
    return made


@dataclass
class Expected:
    """One session by sort-and-cut."""

    user: str
    events: list[Click] = field(default_factory=list)

    def key(self) -> tuple[object, ...]:
        """What must be equal: user, start, end, events, page views, funnel."""
        times = [click.timestamp for click in self.events]
        views = [click for click in self.events if click.type == "page_view"]
        return (self.user, min(times), max(times), len(self.events), len(views), _funnel(views))


def sort_and_cut(all_clicks: list[Click], gap: int = GAP) -> set[tuple[object, ...]]:
    """The sessions of clicks none of which came too late: sorted by time, cut where the gap is exceeded."""
    by_user: dict[str, dict[str, Click]] = defaultdict(dict)
    for click in all_clicks:
        by_user[click.user_id].setdefault(click.event_id, click)
    sessions: list[Expected] = []
    for user, found in by_user.items():
        previous: int | None = None
        for click in sorted(found.values(), key=lambda c: c.timestamp):
            if previous is None or click.timestamp - previous > gap:
                sessions.append(Expected(user))
            sessions[-1].events.append(click)
            previous = click.timestamp
    return {session.key() for session in sessions}


def as_keys(sessions: list[Session]) -> set[tuple[object, ...]]:
    """The same of published sessions."""
    return {(s.user_id, s.start, s.end, s.events, s.page_views, s.funnels.get("checkout", 0)) for s in sessions}


def standing(records: list[Session | Retraction]) -> list[Session]:
    """The sessions in a store that follows the record versions."""
    newest: dict[str, Session | Retraction] = {}
    for record in records:
        known = newest.get(record.id)
        if known is None or record.version > known.version:
            newest[record.id] = record
    return [record for record in newest.values() if isinstance(record, Session)]


def _funnel(views: list[Click]) -> int:
    reached, after = 0, -1
    for pages in STEPS:
        times = [
            v.timestamp for v in views if v.page.removeprefix("https://shop.example") in pages and v.timestamp > after
        ]
        if not times:
            break
        reached, after = reached + 1, min(times)
    return reached
