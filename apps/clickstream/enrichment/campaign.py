"""The campaign that brought a visitor: the UTM parameters of the page, and the click ids that ad networks add.

A tagged page is more specific than its referrer, so it replaces `medium` and `referrer_source`, in this order: an ad
click id (`gclid`, `msclkid`, …) → `paid`; `utm_medium` → `paid`, `email`, `social`, `search`, `referral` or `affiliate`
where it is one of the usual words for it, else `campaign`; other UTM parameters alone → `campaign`; `fbclid`, which
Facebook adds to every link, paid or not → `social`. The source is utm_source, else the network's name.

Of a parameter given twice the first counts; values are percent-decoded and cut to 256 characters. Only the page's query
is read, never `properties`.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from clickstream.contracts.clicks import EnrichedClick
from clickstream.contracts.pages import split_page
from clickstream.contracts.text import without_nul
from clickstream.enrichment import Enrichment
from clickstream.enrichment.memo import Memo

CACHED: Final = 10_000
MAX_VALUE: Final = 256

_AD_CLICKS: Final = {
    "gclid": "google",
    "gbraid": "google",
    "wbraid": "google",
    "dclid": "google",
    "msclkid": "bing",
    "yclid": "yandex",
    "ttclid": "tiktok",
    "twclid": "twitter",
    "li_fat_id": "linkedin",
    "epik": "pinterest",
    "rdt_cid": "reddit",
    "sccid": "snapchat",
}
_MEDIA: Final = (
    (
        re.compile(
            r"cp[cmav]|ppc|paid.*|.*[-_ ]paid|.*cpc|display|banner|retargeting|remarketing|sem|ads?|programmatic"
        ),
        "paid",
    ),
    (re.compile(r"e[-_ ]?mail|newsletter|mailing"), "email"),
    (re.compile(r"social([-_ ](network|media))?|sm|organic[-_ ]social"), "social"),
    (re.compile(r"organic|search|seo"), "search"),
    (re.compile(r"affiliates?|partner"), "affiliate"),
    (re.compile(r"referral"), "referral"),
)


class Campaign(msgspec.Struct, frozen=True, gc=False):
    """The UTM parameters, and what they make of the visit's medium and source (None: nothing)."""

    name: str | None = None
    source: str | None = None
    medium: str | None = None
    term: str | None = None
    content: str | None = None
    visit_medium: str | None = None
    visit_source: str | None = None


_NONE: Final = Campaign()


def read_query(query: str) -> Campaign:
    """The campaign in a page's query string."""
    found: dict[str, str] = {}
    for key, text in parse_qsl(query):
        value = without_nul(text).strip()[:MAX_VALUE]
        if value:
            found.setdefault(key.lower(), value)
    network = next((_AD_CLICKS[key] for key in found if key in _AD_CLICKS), None)
    source, medium = found.get("utm_source"), found.get("utm_medium")
    name, term, content = found.get("utm_campaign"), found.get("utm_term"), found.get("utm_content")
    if network is not None:
        visit_medium = "paid"
    elif medium is not None:
        visit_medium = next((word for words, word in _MEDIA if words.fullmatch(medium.lower())), "campaign")
    elif name or source or term or content:
        visit_medium = "campaign"
    elif "fbclid" in found:
        visit_medium, network = "social", "facebook"
    else:
        return _NONE
    visit_source = source.lower() if source else network
    return Campaign(name, source, medium, term, content, visit_medium, visit_source)


def enrichment(most: int = CACHED) -> Enrichment:
    """Sets campaign…, and medium and referrer_source where the page is tagged. After the referrer."""
    campaigns = Memo(lambda page: read_query(split_page(page)[2]), min(most, CACHED))

    def enrich(click: EnrichedClick) -> None:
        page = click.page
        if "?" not in page:
            return
        campaign = campaigns[page]
        if campaign.visit_medium is None:
            return
        click.medium = campaign.visit_medium
        click.referrer_source = campaign.visit_source
        click.campaign = campaign.name
        click.campaign_source = campaign.source
        click.campaign_medium = campaign.medium
        click.campaign_term = campaign.term
        click.campaign_content = campaign.content

    return enrich
