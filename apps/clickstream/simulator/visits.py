"""One visit to the shop as a list of actions: pages viewed, events, their order, and the pause after each.

Pages follow one another as they do in a shop, so that sessions, funnels and top pages make sense. Pure: a visit is a
function of the random source.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

from clickstream.simulator.arrivals import Arrival, Landing
from clickstream.simulator.chance import Weighted
from clickstream.simulator.shop import Product, Shop

Properties = dict[str, str | int | float | bool]

PAGE_VIEW: Final = "page_view"
PURCHASE: Final = "purchase"
WEB_VITALS: Final = "web_vitals"
_LONGEST_VISIT: Final = 40
_MEASURED: Final = 0.4
"""Share of visits whose first page reports how fast it was."""
_THINK_MEDIAN_S: Final = 9.0
_THINK_SIGMA: Final = 0.9


class Action(NamedTuple):
    """One click: its URL, title and type, and the seconds until the same visitor's next one."""

    page: str
    title: str
    type: str
    properties: Properties | None
    think_s: float


_FROM_HOME: Final = Weighted([(45, "listing"), (28, "product"), (27, "leave")])
_FROM_LISTING: Final = Weighted([(64, "product"), (12, "listing"), (4, "home"), (20, "leave")])
_FROM_PRODUCT: Final = Weighted([(24, "add"), (30, "product"), (18, "listing"), (4, "home"), (24, "leave")])
_FROM_ADD: Final = Weighted([(62, "cart"), (26, "product"), (12, "listing")])
_FROM_CART: Final = Weighted([(66, "checkout"), (12, "listing"), (22, "leave")])
_FROM_CHECKOUT: Final = Weighted([(72, "thanks"), (8, "cart"), (20, "leave")])
_NEXT: Final = {
    "home": _FROM_HOME,
    "listing": _FROM_LISTING,
    "product": _FROM_PRODUCT,
    "add": _FROM_ADD,
    "cart": _FROM_CART,
    "checkout": _FROM_CHECKOUT,
    "thanks": Weighted([(85, "leave"), (15, "home")]),
}
_PAGES: Final = {
    "home": ("/", "Home"),
    "listing": ("/products", "Products"),
    "cart": ("/cart", "Your cart"),
    "checkout": ("/checkout", "Checkout"),
    "thanks": ("/thank-you", "Thank you"),
}
_LANDED: Final = {Landing.HOME: "home", Landing.LISTING: "listing", Landing.PRODUCT: "product"}


def plan_visit(rng: random.Random, shop: Shop, arrival: Arrival) -> list[Action]:
    """The actions of a person who came by `arrival`; at least one."""
    actions: list[Action] = []
    state, query, product, cart = _LANDED[arrival.landing], arrival.query, shop.products[0], list[Product]()
    while state != "leave" and len(actions) < _LONGEST_VISIT:
        if state == "product":
            product = shop.pick(rng)
        elif state == "add":
            cart.append(product)
        page, title, kind, properties = _look(shop, state, product, cart, query)
        # Clicking a button follows quickly on the page that it is on; reading a page takes its time.
        think = 1.5 + rng.random() * 2 if state == "add" else rng.lognormvariate(0.0, _THINK_SIGMA) * _THINK_MEDIAN_S
        actions.append(Action(page, title, kind, properties, think))
        if len(actions) == 1 and rng.random() < _MEASURED:
            actions.append(Action(page, title, WEB_VITALS, _vitals(rng), 1.0))
        if state == "thanks":
            if cart:
                actions.append(Action(page, title, PURCHASE, _order(rng, cart), 1.0))
            cart.clear()
        state, query = _NEXT[state].pick(rng), ""
    return actions


def _vitals(rng: random.Random) -> Properties:
    """As the tracker's module of that name reports them."""
    return {
        "lcp_ms": round(rng.lognormvariate(7.2, 0.45)),
        "inp_ms": round(rng.lognormvariate(4.8, 0.5)),
        "cls": round(rng.random() ** 6, 4),
        "ttfb_ms": round(rng.lognormvariate(5.3, 0.3)),
    }


def _order(rng: random.Random, cart: list[Product]) -> Properties:
    total = round(sum(each.price for each in cart), 2)
    return {"order_id": f"o-{rng.getrandbits(48):012x}", "revenue": total, "currency": "EUR", "items": len(cart)}


def plan_crawl(rng: random.Random, shop: Shop) -> list[Action]:
    """The actions of a crawler: a dozen pages at an even pace, no cart."""
    pace = 1.0 + rng.random() * 3
    products = [shop.pick(rng) for _ in range(rng.randrange(4, 16))]
    looks = [_look(shop, "listing", products[0], [], "")]
    looks += [_look(shop, "product", product, [], "") for product in products]
    return [Action(page, title, kind, properties, pace) for page, title, kind, properties in looks]


def _look(
    shop: Shop, state: str, product: Product, cart: list[Product], query: str
) -> tuple[str, str, str, Properties | None]:
    """(URL, title, type, properties) of a state."""
    path, title = _PAGES.get(state) or (f"/products/{product.id}", product.name)
    kind = "add_to_cart" if state == "add" else PAGE_VIEW
    return f"{shop.origin}{path}{query}", title, kind, _details(state, product, cart)


def _details(state: str, product: Product, cart: list[Product]) -> Properties | None:
    total = round(sum(each.price for each in cart), 2)
    match state:
        case "add":
            return {"product": product.id, "price": product.price, "quantity": 1}
        case "cart" | "checkout" | "thanks":
            return {"items": len(cart), "total": total}
        case _:
            return None
