"""The page's host, path and category: the first of the pipeline's `pageCategories` that matches, else a guess.

The guess is the path's first segment (`/products/item-7` → `products`), `home` for `/`. Percent-encoding is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from clickstream.contracts.clicks import EnrichedClick
from clickstream.contracts.pages import matcher, split_page
from clickstream.contracts.pipeline import PageCategory
from clickstream.enrichment import Enrichment
from clickstream.enrichment.memo import Memo

CACHED: Final = 20_000
MAX_CATEGORY: Final = 256


class Page(msgspec.Struct, frozen=True, gc=False):
    """A page taken apart. `host` is None where the page is a path or an app's screen."""

    host: str | None
    path: str
    category: str


class PageReader:
    """Takes pages apart. Raises nothing: what cannot be parsed is its own path."""

    def __init__(self, categories: Sequence[PageCategory]) -> None:
        self._categories = [(matcher(category.page), category.name) for category in categories]

    def __call__(self, page: str) -> Page:
        """The page's parts and category."""
        host, path, _ = split_page(page)
        return Page(host, path, self._category(path))

    def _category(self, path: str) -> str:
        for matches, name in self._categories:
            if matches(path):
                return name
        first = path.lstrip("/").partition("/")[0]
        return first[:MAX_CATEGORY] or "home"


def enrichment(categories: Sequence[PageCategory], most: int = CACHED) -> Enrichment:
    """Sets page_host, page_path, page_category."""
    pages = Memo(PageReader(categories), min(most, CACHED))

    def enrich(click: EnrichedClick) -> None:
        page = pages[click.page]
        click.page_host = page.host
        click.page_path = page.path
        click.page_category = page.category

    return enrich
