"""Page taxonomy, and rows joined by the key in a page's path."""

from __future__ import annotations

import pytest

from clickstream.contracts.clicks import EnrichedClick
from clickstream.contracts.pipeline import Join, PageCategory
from clickstream.enrichment import join, page
from clickstream.enrichment.memo import Memo

CATEGORIES = [
    PageCategory("sale", "/products/sale-*"),
    PageCategory("product", "/products/*"),
    PageCategory("checkout", "/checkout"),
]


def on_page(url: str, **tables: dict) -> EnrichedClick:
    draft = EnrichedClick("e", 0, 0, 0, "undated", "u", "s", url, "", "")
    page.enrichment(CATEGORIES)(draft)
    joins = [
        Join("catalogue", "t1", "/products/{key}"),
        Join("prices", "t2", "/products/{key}"),
        Join("news", "t3", "/news/{key}/*"),
    ]
    join.enrichment(joins, {each.name: tables.get(each.name, {}) for each in joins})(draft)
    return draft


@pytest.mark.parametrize(
    ("url", "host", "path", "category"),
    [
        ("/", None, "/", "home"),
        ("https://shop.example", "shop.example", "/", "home"),
        ("https://Shop.Example:8443/?q=1#top", "shop.example", "/", "home"),
        ("/products/item-7/", None, "/products/item-7", "product"),
        ("/products/sale-1", None, "/products/sale-1", "sale"),
        ("/products", None, "/products", "products"),
        ("/checkout", None, "/checkout", "checkout"),
        ("/checkout/done", None, "/checkout/done", "checkout"),
        ("/about/us?x=/products/1", None, "/about/us", "about"),
        ("/caf%C3%A9/1", None, "/caf%C3%A9/1", "caf%C3%A9"),
        ("Settings/Profile", None, "Settings/Profile", "Settings"),
        ("/" + "s" * 2_000, None, "/" + "s" * 2_000, "s" * 256),
    ],
)
def test_a_page_has_host_path_and_category(url, host, path, category):
    draft = on_page(url)
    assert (draft.page_host, draft.page_path, draft.page_category) == (host, path, category)


def test_the_row_of_the_page_is_joined_and_a_changed_row_shows_in_the_next_click():
    catalogue = {"item-7": {"name": "Shoe", "price": 12.5}}
    first = on_page("https://shop.example/products/item-7?utm_source=x", catalogue=catalogue)
    catalogue["item-7"] = {"name": "Boot", "price": 20}
    second = on_page("/products/item-7", catalogue=catalogue)
    assert first.joins == {"catalogue": {"name": "Shoe", "price": 12.5}}
    assert second.joins == {"catalogue": {"name": "Boot", "price": 20}}


def test_several_joins_meet_on_one_page_and_a_key_without_a_row_adds_nothing():
    draft = on_page("/products/7", catalogue={"7": {"a": 1}}, prices={"7": {"b": 2}})
    assert draft.joins == {"catalogue": {"a": 1}, "prices": {"b": 2}}
    assert on_page("/products/8", catalogue={"7": {"a": 1}}).joins == {}
    assert on_page("/news/8", news={"8": {"a": 1}}).joins == {}
    assert on_page("/news/8/today", news={"8": {"a": 1}}).joins == {"news": {"a": 1}}


def test_the_key_is_percent_decoded():
    assert on_page("/products/caf%C3%A9", catalogue={"café": {"a": 1}}).joins == {"catalogue": {"a": 1}}


def test_a_memo_computes_once_stays_small_and_keeps_what_is_used():
    computed = []

    def compute(key: str) -> str:
        computed.append(key)
        return key.upper()

    memo = Memo(compute, 10)
    for number in range(1_000):
        assert memo["often"] == "OFTEN"
        assert memo[f"rare-{number}"] == f"RARE-{number}"
        assert len(memo) <= 10
    assert computed.count("often") == 1
    long = "x" * 5_000
    assert memo[long] == memo[long] == long.upper()
    assert computed.count(long) == 2
