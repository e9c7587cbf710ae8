"""The country of the client's address, from a MaxMind-format database (GeoLite2, GeoIP2, DB-IP, IPinfo's mmdb) when one is given.

Addresses are anonymized before they reach Kafka (/24, /48); countries are found from those as well. What is no IP
address is left out of the enriched click: the stores' address fields would refuse the whole click for it.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

import maxminddb
import msgspec

from clickstream.enricher.enrichments.draft import Draft, Enrichment
from clickstream.enricher.enrichments.memo import Memo

CACHED: Final = 50_000

CountryOf = Callable[[str], str | None]
"""From an IP address, valid text, to its ISO 3166-1 code."""


class GeoError(Exception):
    """The database cannot be used; the message names the file and what is wrong with it."""


class Place(msgspec.Struct, frozen=True, gc=False):
    """A client address that is one (else None), and its country."""

    ip: str | None = None
    country: str | None = None


def open_database(path: str) -> CountryOf:
    """The countries in a database file, which stays open as long as the process. Raises GeoError."""
    try:
        reader = maxminddb.open_database(path)
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        msg = f"enricher.geoip: {path}: {_why(error)}"
        raise GeoError(msg) from error

    def country_of(ip: str) -> str | None:
        try:
            found = reader.get(ip)
        except (ValueError, maxminddb.InvalidDatabaseError):  # IPv6 in an IPv4 database; a broken record
            return None
        if not isinstance(found, dict):
            return None
        # MaxMind's layout first; registered_country is where the network's owner is, better than nothing.
        for name in ("country", "registered_country"):
            country = found.get(name)
            if isinstance(country, dict):
                country = country.get("iso_code")
            if isinstance(country, str) and len(country) == 2:
                return country.upper()
        return None

    return country_of


def enrichment(country_of: CountryOf | None) -> Enrichment:
    """Sets ip, country. Without a database every country is None."""

    def locate(ip: str) -> Place:
        if "%" in ip:  # an IPv6 zone means something on the client's own machine only
            return Place()
        try:
            ip_address(ip)
        except ValueError:
            return Place()
        return Place(ip, country_of(ip) if country_of is not None else None)

    places = Memo(locate, CACHED)

    def enrich(draft: Draft) -> None:
        ip = draft.ip
        if ip is not None:
            place = places[ip]
            draft.ip = place.ip
            draft.country = place.country

    return enrich


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "not a MaxMind DB file, or a damaged one"
