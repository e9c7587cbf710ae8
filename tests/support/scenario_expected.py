"""What every panel shows for tests/support/scenario.py, Monday 00:00 to Wednesday 17:00, worked out by hand.

Page views  Mon 10 h × (4+3+1) = 80, + cat 1 = 81; Tue 10 h × (3+4+2) = 90, + cat 1 + bob 1 = 92;
            Wed 8 h × (4+3+1+2) = 80, + bob 2 + kim 3 + online 5 + late 1 = 91; together 264.
            Other clicks: 8 add_to_cart. Bots: 10 × 3 + 1 = 31. All clicks: 264 + 8 + 31 = 303.
Pages       "/" Mon 10+10+10+1, Tue 10+10+10+1, Wed 8+8+8 + kim, cat, dan, eve = 31 + 31 + 28 = 90
            "/products/a" Mon 20, Tue 20+1, Wed 16+3 = 60;  "/products/b" 10 + 10 + 8+8 = 36
            "/checkout" 10 + 10 + 8+8+1+1 = 38;  "/cart" 10+10+8 = 28;  "/about" 10+1 = 11;  "/late" 1
Users       Mon ann bob cat; Tue + dan eve (bob: only before midnight); Wed + fay gus kim: 3, 5, 8
Sessions    Mon 30 + cat's over midnight = 31; Tue 30 + bob's over midnight = 31;
            Wed 32 + kim, gus, cat, dan, eve = 37: 99
Seconds     Mon 10×180 + 10×240 + 1 = 4201; Tue 10×240 + 10×180 + 10×60 + 600 = 5400;
            Wed 8×180 + 8×240 + 8×60 + 1080 + 30 = 4950; together 14551
            in order: 0 × 21, 1, 30, 60 × 18, 180 × 28, …: the 50th of 99 is 180
Funnel      first: all with "/" = entry "/" 80 + eve's 10 of Tuesday = 90 (Mon 31, Tue 31, Wed 28)
            product after it: Mon 10+10+1, Tue 10+10+1, Wed 8+8+1+1 = 60;  checkout after that: 10, 10+1, 8+1 = 30
            1st → 2nd: 1 s, 30 s, 28 × 60 s, 28 × 120 s, 300 s, 540 s: median 90;  2nd → 3rd: 28 × 120, 300, 540: 120
            in the last day, from Tuesday 17:00: 30 s, 10 × 60, 10 × 120, 300, 540: median 120;  10 × 120, 300, 540: 120
            on a phone (bob, eve): 10 + 10+1 + 8+1 = 30 entered, 1 + 8 completed; by search: cat's 10 of Monday, 0
"""

from __future__ import annotations

from typing import Any

from support.scenario import END, HOUR, MON, TUE, WED

Rows = list[tuple[Any, ...]]
ZEROS_LEFT_OUT = {"Clicks per second, last 5 minutes", "Page views over time", "People and bots"}
"""Panels that draw every second or hour; the table lists only those that have clicks."""
S = 1_000


def _hours(day: int, numbers: dict[int, float]) -> Rows:
    return [((day + hour) * HOUR, number) for hour, number in numbers.items()]


def _same(first: int, last: int, number: float) -> dict[int, float]:
    return dict.fromkeys(range(first, last + 1), number)


PAGES: Rows = [
    ("/", 90), ("/products/a", 60), ("/checkout", 38), ("/products/b", 36), ("/cart", 28), ("/about", 11), ("/late", 1),
]  # fmt: skip
USERS_BY_HOUR: Rows = [
    *_hours(MON, {**_same(9, 18, 3), 23: 1}),
    *_hours(TUE, {0: 1, **_same(9, 18, 3), 23: 1}),
    *_hours(WED, {0: 1, **_same(9, 11, 4), 12: 5, **_same(13, 15, 4), 16: 6}),
]
USERS_BY_DAY: Rows = [(MON * HOUR, 3), (TUE * HOUR, 5), (WED * HOUR, 8)]
STEPS: Rows = [("1. Homepage", 90), ("2. Product", 60), ("3. Checkout", 30)]

VIEWS_BY_HOUR: Rows = [
    *_hours(MON, {**_same(9, 18, 8), 23: 1}),
    *_hours(TUE, {0: 1, **_same(9, 18, 9), 23: 1}),
    *_hours(WED, {0: 2, 9: 11, 10: 10, 11: 10, 12: 13, **_same(13, 15, 10), 16: 15}),
]
"""A point stands for an hour: 65 points in 65 hours."""

SESSIONS_BY_HOUR: Rows = [
    *_hours(MON, {**_same(9, 18, 3), 23: 1}),
    *_hours(TUE, {**_same(9, 18, 3), 23: 1}),
    *_hours(WED, {**_same(9, 11, 4), 12: 5, **_same(13, 15, 4), 16: 8}),
]
SEARCH_HOURS = {(MON + hour) * HOUR for hour in range(9, 19)}

EXPECTED: dict[tuple[str, str], list[Rows]] = {
    ("overview", "Page views"): [[(264,)]],
    ("overview", "Unique users"): [[(8,)]],
    ("overview", "Sessions"): [[(99,)]],
    ("overview", "Average session"): [[(14551 / 99,)]],
    ("overview", "Conversion"): [[(30 / 90,)]],
    ("overview", "Page views over time"): [VIEWS_BY_HOUR],
    ("overview", "Unique users by hour"): [USERS_BY_HOUR],
    ("overview", "Unique users by day"): [USERS_BY_DAY],
    ("overview", "Funnel: ${funnel}"): [STEPS],
    ("overview", "Top 10 pages"): [PAGES],
    ("live", "Users online"): [[("all", 3)]],
    ("live", "Clicks in the last minute"): [[("all", 3)]],
    ("live", "Page views"): [[("all", 264)]],
    ("live", "Unique users"): [[("all", 8)]],
    # Only the seconds and hours that have clicks are listed (ZEROS_LEFT_OUT).
    ("live", "Clicks per second, last 5 minutes"): [
        [(END - 180 * S, 1), (END - 50 * S, 1), (END - 30 * S, 1), (END - 20 * S, 1)]
    ],
    ("live", "Page views over time"): [VIEWS_BY_HOUR],
    ("live", "Top 10 pages"): [PAGES],
    ("live", "Channels of page views"): [[("direct", 254), ("search", 10)]],
    ("live", "Referrers"): [[("www.google.com", 10)]],
    # On a phone: Mon bob 30; Tue eve 20, bob 1; Wed eve 32 + 2, bob 2.
    ("live", "Devices"): [[("desktop", 177), ("mobile", 87)]],
    ("live", "Countries"): [[("unknown", 264)]],
    ("live", "People and bots"): [
        [(at, views + (at >= (WED + 9) * HOUR)) for at, views in VIEWS_BY_HOUR],  # and fay's add_to_cart
        [*_hours(TUE, _same(9, 18, 3)), *_hours(WED, {16: 1})],
    ],
    ("audience", "Sessions"): [[(99,)]],
    ("audience", "Average duration"): [[(14551 / 99,)]],
    ("audience", "Median duration"): [[(180,)]],
    ("audience", "Bounce rate"): [[(21 / 99,)]],  # Mon cat 10; Wed ann 8, gus, cat, dan
    ("audience", "Pages per session"): [[(263 / 99,)]],  # all but the one that came too late
    ("audience", "New users"): [[(None,)]],  # there is nothing before Monday
    ("audience", "Active users by hour"): [USERS_BY_HOUR],
    ("audience", "Active users by day"): [USERS_BY_DAY],
    ("audience", "Active users by week"): [[(MON * HOUR, 8)]],
    ("audience", "New and returning users by day"): [[(MON * HOUR, 3, 0), (TUE * HOUR, 2, 3), (WED * HOUR, 3, 5)]],
    ("audience", "Sessions by hour"): [SESSIONS_BY_HOUR],
    ("audience", "Entry pages"): [[("/", 80), ("/about", 11), ("/checkout", 8)]],
    ("audience", "Exit pages"): [
        [("/products/b", 36), ("/", 30), ("/checkout", 30), ("/products/a", 2), ("/about", 1)]
    ],
    ("audience", "Top pages and their trend (unfiltered)"): [[(page, views, 0, None) for page, views in PAGES]],
    # Bounces: Mon cat 10; Wed ann 8, gus, cat, dan. By search only cat's 10 of Monday; landed by it on "/".
    ("acquisition", "Sessions"): [[(99,)]],
    ("acquisition", "Users"): [[(8,)]],
    ("acquisition", "Bounce rate"): [[(21 / 99,)]],
    ("acquisition", "Converted, of all sessions"): [[(30 / 99,)]],
    ("acquisition", "Sessions by channel"): [
        [
            (at, int(at in SEARCH_HOURS), 0, 0, 0, 0, 0, sessions - (at in SEARCH_HOURS), 0)
            for at, sessions in SESSIONS_BY_HOUR
        ]
    ],
    ("acquisition", "Orders and revenue"): [[]],
    ("acquisition", "Channels"): [[("direct", 89, 8, 11 / 89, 30 / 89), ("search", 10, 1, 1, 0)]],
    ("acquisition", "Revenue by channel (unfiltered)"): [[]],
    ("acquisition", "Campaigns"): [[]],
    ("acquisition", "Referrers"): [[("www.google.com", 10, 1, 1, 0)]],
    # "/about": eve's 10 of Tuesday, who go on to "/", and gus.
    ("acquisition", "Landing pages"): [
        [("/", 80, 7, 20 / 80, 30 / 80), ("/about", 11, 2, 1 / 11, 0), ("/checkout", 8, 1, 0, 0)]
    ],
    ("acquisition", "Countries"): [[("unknown", 99, 8, 21 / 99, 30 / 99)]],
    # All eight were new in this one week.
    ("retention", "Who comes back, by week"): [[(MON * HOUR, 8, *[None] * 8)]],
    # From Tuesday 17:00: ann 2, dan 2, eve 2, bob 1; Wednesday's 37.
    ("retention", "How sessions begin, last day"): [
        [
            ("/", 10, 10 / 44),  # ann 8, cat, dan
            ("/ → /products/a → /cart", 10, 10 / 44),  # dan 2, eve 8
            ("/ → /products/a → /products/b", 10, 10 / 44),  # ann 2, fay 8
            ("/checkout → /products/b", 8, 8 / 44),
            ("/ → /products/a → /checkout", 2, 2 / 44),  # bob, kim
            ("/about → /", 2, 2 / 44),
            ("/ → /products/a", 1, 1 / 44),  # eve
            ("/about", 1, 1 / 44),
        ]
    ],
    # "/" is the page with the most views. Left: ann 8, eve 2, cat, dan.
    ("retention", "After ${page}, last day"): [[("/products/a", 23, 23 / 35), ("(left)", 12, 12 / 35)]],
    # The scenario's visitors measure nothing.
    ("experience", "Largest paint (LCP)"): [[(None,)]],
    ("experience", "Slowest interaction (INP)"): [[(None,)]],
    ("experience", "Layout shift (CLS)"): [[(None,)]],
    ("experience", "First byte (TTFB)"): [[(None,)]],
    ("experience", "Web vitals over time"): [[]],
    ("experience", "JavaScript errors over time"): [[]],
    ("experience", "Web vitals by page"): [[]],
    ("experience", "JavaScript errors"): [[]],
    ("funnels", "Entered"): [[(90,)]],
    ("funnels", "Completed"): [[(30,)]],
    ("funnels", "Conversion"): [[(30 / 90,)]],
    ("funnels", "Outside the funnel"): [[(9 / 99,)]],
    ("funnels", "Sessions by step"): [STEPS],
    ("funnels", "From step to step"): [
        [
            (1, "Homepage", 90, 1, None, 30),
            (2, "Product", 60, 60 / 90, 60 / 90, 30),
            (3, "Checkout", 30, 30 / 90, 30 / 60, None),
        ]
    ],
    ("funnels", "Time to the step, last day (unfiltered)"): [[("2. Product", 120), ("3. Checkout", 120)]],
    ("funnels", "Conversion by day"): [[(MON * HOUR, 10 / 31), (TUE * HOUR, 11 / 31), (WED * HOUR, 9 / 28)]],
    # 16:30 to 17:00: cat and dan saw the homepage, eve a product as well.
    ("funnels", "Last 30 minutes, all funnels (unfiltered)"): [[("checkout:1", 3), ("checkout:2", 1)]],
    ("funnels", "By device"): [[("desktop", 60, 21, 21 / 60), ("mobile", 30, 9, 9 / 30)]],
    ("funnels", "By channel"): [[("direct", 80, 30, 30 / 80), ("search", 10, 0, 0)]],
    ("funnels", "By country"): [[("unknown", 90, 30, 30 / 90)]],
    ("funnels", "Versions"): [[(1, "Homepage (/) → Product (/products/*) → Checkout (/checkout)", None, None)]],
}
"""(dashboard, panel) → the rows of each target; times in ms since Monday 00:00."""
