"""Where the click came from: the referrer's host, the `medium` and the `referrer_source` that stands for it.

| medium | when |
|---|---|
| `direct` | no referrer, or one without a host (`about:blank`, a file) |
| `internal` | a host of the page's own registrable domain, or of a domain that is the site's own; a path |
| `search`, `social`, `email`, `ai` | a host or app that channels.py knows; source `google`, `reddit`, `gmail`, … |
| `referral` | any other host or app; the source is its name |
| `paid`, `affiliate`, `campaign` (and those above) | the page is tagged: campaign.py, which comes later, decides |

The medium is the click's, not the visit's: a session takes that of its first click. Registrable domains are those of
the Public Suffix List as the package `publicsuffixlist` has it: `shop.example` for `m.shop.example`, `a.co.uk`, and
`shop.github.io` for itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final
from urllib.parse import urlsplit

import msgspec
from publicsuffixlist import PublicSuffixList

from clickstream.contracts.clicks import EnrichedClick
from clickstream.enrichment import Enrichment
from clickstream.enrichment.channels import MAX_HOST, channel_of_app, channel_of_host
from clickstream.enrichment.memo import Memo

CACHED: Final = 20_000


class Referrer(msgspec.Struct, frozen=True, gc=False):
    """A referrer by itself, not yet compared with the page. `site`: its host's registrable domain, None for an app."""

    host: str | None = None
    site: str | None = None
    medium: str = "direct"
    source: str | None = None


_NOWHERE: Final = Referrer()
_OWN_PATH: Final = Referrer(medium="internal")


def read_referrer(text: str) -> Referrer:
    """What a referrer says by itself. Never raises: what cannot be parsed has no host."""
    text = text.strip()
    if text.startswith("/") and not text.startswith("//"):
        return _OWN_PATH
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return _NOWHERE
    if not host or len(host) > MAX_HOST:
        return _NOWHERE
    if parts.scheme in {"android-app", "ios-app"}:
        return Referrer(host, None, *channel_of_app(host))
    if parts.scheme not in {"http", "https", ""}:
        return _NOWHERE
    return Referrer(host, registrable(host), *channel_of_host(host))


def registrable(host: str) -> str:
    """The registrable domain of a lower-case host; the host itself, without `www.`, where it has none."""
    host = host.rstrip(".")
    by_number = ":" in host or host.rpartition(".")[2].isdigit()
    found = None if by_number or len(host) > MAX_HOST else _suffixes().privatesuffix(host)
    return host.removeprefix("www.") if found is None else str(found)


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def enrichment(own_domains: Iterable[str] = (), most: int = CACHED) -> Enrichment:
    """Sets referrer_host, medium, referrer_source. After page, whose host decides what is internal."""
    own = tuple(domain.lower().strip(".") for domain in own_domains)

    def read(text: str) -> Referrer:
        referrer = read_referrer(text)
        if referrer.site is None or referrer.host is None:
            return referrer
        ours = any(referrer.host == domain or referrer.host.endswith("." + domain) for domain in own)
        return msgspec.structs.replace(_OWN_PATH, host=referrer.host) if ours else referrer

    referrers = Memo(read, min(most, CACHED))
    sites = Memo(registrable, min(most, CACHED))

    def enrich(click: EnrichedClick) -> None:
        text = click.referrer
        if not text:
            return
        referrer = referrers[text]
        click.referrer_host = referrer.host
        if referrer.site is not None and click.page_host is not None and referrer.site == sites[click.page_host]:
            click.medium = "internal"
            return
        click.medium = referrer.medium
        click.referrer_source = referrer.source

    return enrich
