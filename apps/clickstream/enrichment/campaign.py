"""The campaign that brought a visitor: the UTM parameters of the page, and the click ids that ad networks add.

A tagged page is more specific than its referrer, so it replaces `medium` and `referrer_source`, in this order: an ad
click id (`gclid`, `msclkid`, …) → `paid`; `utm_medium` → `paid`, `email`, `social`, `search`, `referral` or `affiliate`
where it is one of the usual words for it, else `campaign`; other UTM parameters alone → `campaign`; `fbclid`, which
Facebook adds to every link, paid or not → `social`. Where that leaves `campaign` or `referral`, a utm_source that
channels.py knows says more: `chatgpt.com` is `ai`. The source has the name of channels.py where utm_source is one of
its names or hosts, and else stands as it is; without one it is the network's name.

A click id stays in the address when it is copied, mailed or linked to. So it counts only on an entry, and only where
nothing says that the visitor came from elsewhere: the referrer is the network's or none, and so is utm_source.

Of a parameter given twice the first counts; values are percent-decoded and cut to 256 characters. `amp;` before a name
is what mail programs leave of `&amp;`. Only the page's query is read, never `properties`.
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
from clickstream.enrichment.channels import channel_of_source
from clickstream.enrichment.memo import Memo

CACHED: Final = 10_000
MAX_VALUE: Final = 256
FACEBOOK: Final = "facebook"

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
"""Ad click ids, and whose they are."""
CLICK_IDS: Final = frozenset({*_AD_CLICKS, "fbclid"})
_OF_NETWORK: Final = {
    "google": frozenset({"google", "youtube", "gmail", "doubleclick.net"}),
    "bing": frozenset({"bing", "yahoo", "duckduckgo", "ecosia", "qwant", "aol", "outlook"}),
    "facebook": frozenset({"facebook", "instagram", "threads"}),
}
"""The sources whose visitors a network's click ids may be of; any other network has only its own."""
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
    """The UTM parameters, and what they make of the visit's medium and source (None: nothing).

    `network` is that of a click id, which counts for a visitor of one of its `sources`.
    """

    name: str | None = None
    source: str | None = None
    medium: str | None = None
    term: str | None = None
    content: str | None = None
    visit_medium: str | None = None
    visit_source: str | None = None
    network: str | None = None
    sources: frozenset[str] = frozenset()


_NO_SOURCES: Final[frozenset[str]] = frozenset()
_NONE: Final = Campaign()


def read_query(query: str) -> Campaign:
    """The campaign in a page's query string."""
    found: dict[str, str] = {}
    for key, text in parse_qsl(query):
        value = without_nul(text).strip()[:MAX_VALUE]
        if value:
            found.setdefault(key.lower().removeprefix("amp;"), value)
    network = next((_AD_CLICKS[key] for key in found if key in _AD_CLICKS), FACEBOOK if "fbclid" in found else None)
    source, medium = found.get("utm_source"), found.get("utm_medium")
    name, term, content = found.get("utm_campaign"), found.get("utm_term"), found.get("utm_content")
    known = channel_of_source(source.lower()) if source else None
    visit_medium = None
    if medium is not None:
        visit_medium = next((word for words, word in _MEDIA if words.fullmatch(medium.lower())), "campaign")
    elif name or source or term or content:
        visit_medium = "campaign"
    elif network is None:
        return _NONE
    if known is not None and visit_medium in {"campaign", "referral"}:
        visit_medium = known[0]
    visit_source = known[1] if known is not None else source.lower() if source else None
    sources = _NO_SOURCES if network is None else _OF_NETWORK.get(network, frozenset({network}))
    if visit_source is not None and visit_source not in sources:
        network = None
    return Campaign(name, source, medium, term, content, visit_medium, visit_source, network, sources)


def enrichment(most: int = CACHED) -> Enrichment:
    """Sets campaign…, and medium and referrer_source where the page is tagged. After the referrer."""
    campaigns = Memo(lambda page: read_query(split_page(page)[2]), min(most, CACHED))

    def enrich(click: EnrichedClick) -> None:
        page = click.page
        if "?" not in page:
            return
        campaign = campaigns[page]
        if campaign is _NONE:
            return
        medium, source = campaign.visit_medium, campaign.visit_source
        if campaign.network is not None and _brought(click, campaign.sources):
            if campaign.network != FACEBOOK:
                medium = "paid"
            elif medium is None:
                medium = "social"
            source = source or campaign.network
        if medium is None:
            return
        click.medium = medium
        click.referrer_source = source
        click.campaign = campaign.name
        click.campaign_source = campaign.source
        click.campaign_medium = campaign.medium
        click.campaign_term = campaign.term
        click.campaign_content = campaign.content

    return enrich


def _brought(click: EnrichedClick, sources: frozenset[str]) -> bool:
    """Whether, by the referrer, a visitor may come from one of these sources just now."""
    source = click.referrer_source
    if source is None:
        return click.medium != "internal"
    return source in sources or any(source.endswith("." + each) for each in sources if "." in each)
