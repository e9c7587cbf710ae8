"""Which country a click has: the tracking API's finding, else that of the address in the record; and what no address
is."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from clickstream.contracts.clicks import EnrichedClick
from clickstream.enrichment import geo
from clickstream.runtime.geoip import Address, CountryOf, no_country


def german(address: Address) -> str | None:
    return "DE" if address in {IPv4Address("203.0.113.7"), IPv4Address("203.0.113.0")} else None


def located(country_of: CountryOf, ip: str | None, country: str | None = None) -> tuple[str | None, str | None]:
    draft = EnrichedClick("e", 0, 0, 0, "undated", "u", "s", "/", "/", "home", ip=ip, country=country)
    geo.enrichment(country_of)(draft)
    return draft.ip, draft.country


def test_the_country_of_an_address_in_the_record():
    assert located(german, "203.0.113.0") == ("203.0.113.0", "DE")
    assert located(german, "10.0.0.1") == ("10.0.0.1", None)
    assert located(no_country, "203.0.113.7") == ("203.0.113.7", None)
    assert located(german, None) == (None, None)


def test_what_the_tracking_api_found_by_the_whole_address_counts():
    assert located(german, "203.0.113.0", "GB") == ("203.0.113.0", "GB")
    assert located(german, None, "GB") == (None, "GB")
    assert located(german, "unknown", "gb") == (None, "GB")


@pytest.mark.parametrize("country", ["", "Germany", "D", "00", "\0\0", "ßß", "x" * 5_000])
def test_a_country_that_is_none_does_not_count(country):
    assert located(german, "203.0.113.7", country) == ("203.0.113.7", "DE")
    assert located(german, None, country) == (None, None)


@pytest.mark.parametrize("ip", ["", "unknown", "1.2.3", "1.2.3.4, 5.6.7.8", "999.1.1.1", "fe80::1%eth0", "x" * 5_000])
def test_what_is_no_address_is_left_out(ip):
    assert located(german, ip) == (None, None)
