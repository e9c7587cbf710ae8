"""How visitors find the shop: the page they land on, the site that sent them, the campaign in the address.

They differ, so that the enricher has referrers, media and campaigns to tell apart.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from clickstream.simulator.chance import Weighted


class Landing(Enum):
    """The kind of page that a visit begins on."""

    HOME = "home"
    LISTING = "listing"
    PRODUCT = "product"


class Arrival(NamedTuple):
    """One way to arrive: landing page, referrer (None: typed or bookmarked), query string (with its `?`, or empty)."""

    landing: Landing
    referrer: str | None = None
    query: str = ""


_SEARCH = "https://www.google.com/"
_SPRING = "?utm_source=google&utm_medium=cpc&utm_campaign=spring-sale&utm_term=enamel+mug&utm_content=ad-"
_NEWS = "?utm_source=newsletter&utm_medium=email&utm_campaign=week-23"
_SOCIAL = "?utm_source=instagram&utm_medium=social&utm_campaign=summer-picnic"

FIRST_VISIT: Final = Weighted(
    [
        (20, Arrival(Landing.HOME)),
        (16, Arrival(Landing.HOME, _SEARCH)),
        (4, Arrival(Landing.HOME, "https://www.bing.com/")),
        (3, Arrival(Landing.HOME, "https://duckduckgo.com/")),
        (14, Arrival(Landing.PRODUCT, _SEARCH)),
        (4, Arrival(Landing.PRODUCT, _SEARCH, _SPRING + "a")),
        (3, Arrival(Landing.PRODUCT, _SEARCH, _SPRING + "b")),
        (7, Arrival(Landing.PRODUCT, "https://l.facebook.com/")),
        (4, Arrival(Landing.PRODUCT, "https://t.co/")),
        (6, Arrival(Landing.PRODUCT, "https://l.instagram.com/", _SOCIAL)),
        (3, Arrival(Landing.PRODUCT, "https://www.pinterest.com/")),
        (5, Arrival(Landing.LISTING, None, _NEWS)),
        (4, Arrival(Landing.LISTING, "https://slow-kitchen.example/ten-things-for-a-picnic")),
        (2, Arrival(Landing.HOME, "https://forum.example/threads/4711")),
    ]
)
LATER_VISIT: Final = Weighted(
    [
        (60, Arrival(Landing.HOME)),
        (15, Arrival(Landing.HOME, _SEARCH)),
        (15, Arrival(Landing.LISTING, None, _NEWS)),
        (10, Arrival(Landing.PRODUCT)),
    ]
)
