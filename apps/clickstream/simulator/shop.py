"""The shop that is visited: its address, its products, and which of them are popular.

The visitors see the same products as the catalogue that clicks are joined with.
"""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from clickstream.runtime.files import UnreadableFileError, read_file
from clickstream.simulator.chance import Weighted

_CATALOGUE_BYTES = 64 << 20
_CATEGORIES = ("kitchen", "garden", "office", "outdoor")


class Product(msgspec.Struct, frozen=True):
    """One row of the catalogue; further fields of a row are not of interest here."""

    id: str
    name: str = ""
    category: str = ""
    price: float = 0.0


class Shop:
    """A shop at `origin` (`https://host`, no slash at the end) with its products, the most popular first."""

    def __init__(self, origin: str, products: tuple[Product, ...]) -> None:
        self.origin = origin
        self.products = products
        # A few products get most of the attention: the n-th is seen n^-0.8 times as often as the first.
        self._popularity = Weighted(((rank + 1) ** -0.8, product) for rank, product in enumerate(products))

    def pick(self, rng: random.Random) -> Product:
        return self._popularity.pick(rng)


def generated_products(count: int = 24) -> tuple[Product, ...]:
    """`item-1` … for when no catalogue is given."""
    return tuple(
        Product(f"item-{number}", f"Item {number}", _CATEGORIES[number % len(_CATEGORIES)], 4.9 + 5 * number)
        for number in range(1, count + 1)
    )


def load_products(path: Path) -> tuple[Product, ...]:
    """The products in a JSON file: a list of objects with `id`, or an object id → row.

    Raises ValueError with the path.
    """
    try:
        rows = msgspec.json.decode(read_file(path, _CATALOGUE_BYTES))
        if isinstance(rows, dict):
            listed = rows.get("products")
            rows = listed if isinstance(listed, list) else [{"id": key, **row} for key, row in rows.items()]
        products = msgspec.convert(rows, tuple[Product, ...], strict=False)
    except UnreadableFileError:
        raise
    except (TypeError, RecursionError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        msg = f"{path}: {error}"
        raise ValueError(msg) from error
    if not products:
        msg = f"{path}: there are no products in it"
        raise ValueError(msg)
    return products
