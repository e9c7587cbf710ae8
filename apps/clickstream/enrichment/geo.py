"""The country of the client's address, and whether what a click calls its address is one.

The tracking API finds the country by the whole address before it anonymizes it, and such a country counts. For records
that others produced it is looked up here, by whatever address they hold. What is no IP address is left out of the
enriched click: the stores' address fields would refuse the whole click for it.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from clickstream.contracts.clicks import EnrichedClick
from clickstream.enrichment import Enrichment
from clickstream.enrichment.memo import Memo
from clickstream.runtime.geoip import Address, CountryOf, country_code

CACHED: Final = 50_000


def enrichment(country_of: CountryOf, most: int = CACHED) -> Enrichment:
    """Sets ip, country."""
    addresses = Memo(_read_address, min(most, CACHED))

    def enrich(click: EnrichedClick) -> None:
        country = country_code(click.country)
        if click.ip is not None:
            address = addresses[click.ip]
            if address is None:
                click.ip = None
            elif country is None:
                country = country_of(address)
        click.country = country

    return enrich


def _read_address(text: str) -> Address | None:
    if "%" in text:  # an IPv6 zone means something on the client's own machine only
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None
