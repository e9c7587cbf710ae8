"""Every dashboard number of known clicks, computed plainly in Python: the oracle of the random test.

Nothing of the project's code is used: sessions are cut from sorted times, funnels are walked, users are sets. Only for
clicks none of which comes too late for its session.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import mean, median

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
Rows = Sequence[tuple[object, ...]]

STEPS: tuple[Callable[[str], bool], ...] = (
    lambda path: path == "/",
    lambda path: path.startswith("/products/"),
    lambda path: path == "/checkout",
)


@dataclass(frozen=True)
class Seen:
    """One click; `at` in ms since the epoch."""

    at: int
    user: str
    path: str
    type: str
    bot: bool
    device: str
    channel: str


@dataclass
class Visit:
    """One session: its clicks in order."""

    clicks: list[Seen]

    @property
    def start(self) -> int:
        return self.clicks[0].at

    @property
    def seconds(self) -> float:
        return (self.clicks[-1].at - self.start) / 1_000

    @property
    def views(self) -> list[Seen]:
        return [click for click in self.clicks if click.type == "page_view"]

    @property
    def bot(self) -> bool:
        return any(click.bot for click in self.clicks)

    def reached(self) -> list[int]:
        """When each step of the checkout funnel was reached."""
        times: list[int] = []
        for fits in STEPS:
            after = times[-1] if times else -1
            later = [view.at for view in self.views if fits(view.path) and view.at > after]
            if not later:
                break
            times.append(min(later))
        return times


def visits(clicks: Iterable[Seen], gap: int) -> list[Visit]:
    """Sorted by time, cut where nothing happened for longer than the gap."""
    by_user: dict[str, list[Seen]] = defaultdict(list)
    for click in clicks:
        by_user[click.user].append(click)
    found: list[Visit] = []
    for own in by_user.values():
        own.sort(key=lambda click: click.at)
        found.append(Visit([own[0]]))
        for before, click in pairwise(own):
            if click.at - before.at > gap:
                found.append(Visit([]))
            found[-1].clicks.append(click)
    return found


def top(counts: Counter[str], most: int) -> Rows:
    """The most frequent, equal ones by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]


def by_period(clicks: Iterable[Seen], period: int) -> Rows:
    """Distinct users of each period."""
    users: dict[int, set[str]] = defaultdict(set)
    for click in clicks:
        users[click.at // period * period].add(click.user)
    return sorted((at, len(found)) for at, found in users.items())


def numbers(all_clicks: Sequence[Seen], gap: int, since: int, until: int) -> dict[tuple[str, str], Rows]:
    """(dashboard, panel) → rows, bots left out; `since` and `until` (both included) are whole minutes."""
    people = [click for click in all_clicks if not click.bot]
    inside = [click for click in people if since <= click.at <= until]
    minutes = [click for click in people if since <= click.at // MINUTE * MINUTE <= until and click.type == "page_view"]
    views = [click for click in inside if click.type == "page_view"]
    hours = [click for click in people if since - HOUR < click.at // HOUR * HOUR <= until]
    days = [click for click in people if since // DAY <= click.at // DAY <= until // DAY]
    own = [v for v in visits(all_clicks, gap) if not v.bot and since <= v.start <= until]
    reached = [visit.reached() for visit in own]
    step = [sum(len(times) >= k for times in reached) for k in (1, 2, 3)]
    first_day = {user: min(c.at // DAY for c in people if c.user == user) for user in {c.user for c in people}}
    seen_days = {(click.at // DAY, click.user) for click in days}
    new_returning = sorted(
        (
            day * DAY,
            sum(first_day[u] == day for d, u in seen_days if d == day),
            sum(first_day[u] < day for d, u in seen_days if d == day),
        )
        for day in {day for day, _ in seen_days}
    )
    weeks: dict[int, set[str]] = defaultdict(set)
    for click in people:
        if week(since) <= week(click.at) <= week(until):
            weeks[week(click.at)].add(click.user)
    users = {click.user for click in days}
    before = any(click.at // DAY < since // DAY for click in people)
    earliest = {user: min(c.at // DAY for c in days if c.user == user) for user in users}
    ordered: dict[int, list[list[int]]] = defaultdict(list)
    for visit, times in zip(own, reached, strict=True):
        ordered[visit.start // DAY * DAY].append(times)
    recent = [v.reached() for v in own if max(since, until - DAY) <= v.start < until]
    spent = [[(times[k] - times[k - 1]) / 1_000 for times in recent if len(times) > k] for k in (1, 2)]
    conversion = step[2] / step[0] if step[0] else None
    return {
        ("overview", "Page views"): [(len(minutes),)],
        ("overview", "Unique users"): [(len({click.user for click in hours}),)],
        ("overview", "Sessions"): [(len(own),)],
        ("overview", "Average session"): [(mean(v.seconds for v in own),)],
        ("overview", "Conversion"): [(conversion,)],
        ("overview", "Unique users by hour"): by_period(hours, HOUR),
        ("overview", "Unique users by day"): by_period(days, DAY),
        ("overview", "Top 10 pages"): top(Counter(click.path for click in minutes), 10),
        ("live", "Users online"): [("all", len({c.user for c in people if until - 5 * MINUTE <= c.at <= until}))],
        ("overview", "Funnel: ${funnel}"): list(zip(("1. Homepage", "2. Product", "3. Checkout"), step, strict=True)),
        ("live", "Page views"): [("all", len(views))],
        ("live", "Unique users"): [("all", len({click.user for click in inside}))],
        ("live", "Channels of page views"): top(
            Counter(click.channel for click in views if click.channel != "internal"), 10
        ),
        ("live", "Devices"): top(Counter(click.device for click in views), 10),
        ("audience", "Median duration"): [(median(v.seconds for v in own),)],
        ("audience", "Bounce rate"): [(mean(len(v.views) <= 1 for v in own),)],
        ("audience", "Pages per session"): [(mean(len(v.views) for v in own),)],
        ("audience", "New users"): [(mean(first_day[user] == earliest[user] for user in users) if before else None,)],
        ("audience", "Active users by week"): sorted((at, len(found)) for at, found in weeks.items()),
        ("audience", "New and returning users by day"): new_returning,
        ("audience", "Sessions by hour"): sorted(Counter(v.start // HOUR * HOUR for v in own).items()),
        ("audience", "Entry pages"): top(Counter(v.clicks[0].path for v in own), 10),
        ("audience", "Exit pages"): top(Counter(v.clicks[-1].path for v in own), 10),
        ("funnels", "Entered"): [(step[0],)],
        ("funnels", "Completed"): [(step[2],)],
        ("funnels", "Outside the funnel"): [(sum(not times for times in reached) / len(own),)],
        ("funnels", "Time to the step, last day (unfiltered)"): [
            ("2. Product", median(spent[0]) if spent[0] else None),
            ("3. Checkout", median(spent[1]) if spent[1] else None),
        ],
        ("funnels", "Conversion by day"): sorted(
            (day, _share(sum(len(t) == 3 for t in times), sum(len(t) >= 1 for t in times)))
            for day, times in ordered.items()
        ),
        ("funnels", "Last 30 minutes, all funnels (unfiltered)"): _live(own, until),
    }


def ways(own: Iterable[Visit], length: int) -> Counter[tuple[str, ...]]:
    """How visits begin."""
    return Counter(tuple(view.path for view in visit.views[:length]) for visit in own if visit.views)


def followers(own: Iterable[Visit], path: str) -> Counter[str | None]:
    """What was viewed after a page; None: nothing."""
    found: Counter[str | None] = Counter()
    for visit in own:
        paths: list[str | None] = [view.path for view in visit.views]
        found.update(after for page, after in zip(paths, [*paths[1:], None], strict=False) if page == path)
    return found


def cohorts(clicks: Iterable[Seen]) -> dict[tuple[int, int], tuple[int, int]]:
    """(day, days later) → (people first seen on it, those of them who were active then), up to the last day of all."""
    days: dict[str, set[int]] = defaultdict(set)
    for click in clicks:
        if not click.bot:
            days[click.user].add(click.at // DAY)
    last = max(max(each) for each in days.values())
    firsts = Counter(min(each) for each in days.values())
    return {
        (first * DAY, day - first): (
            firsts[first],
            sum(min(each) == first and day in each for each in days.values()),
        )
        for first in firsts
        for day in range(first, last + 1)
    }


def week(at: int) -> int:
    """The Monday of a time, in ms."""
    moment = datetime.fromtimestamp(at / 1_000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((moment - timedelta(days=moment.weekday())).timestamp() * 1_000)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _live(own: list[Visit], until: int) -> Rows:
    recent = [len(v.reached()) for v in own if v.start >= until - 30 * MINUTE]
    counts = [(f"checkout:{k}", sum(n >= k for n in recent)) for k in (1, 2, 3)]
    return [row for row in counts if row[1]]
