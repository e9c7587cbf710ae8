"""Countries from a MaxMind-format database, also for anonymized addresses; a broken file is told at the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from clickstream.enricher.enrichments import geo
from clickstream.enricher.enrichments.draft import Draft


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = MMDBWriter(6, "Test-Country", languages=["en"], ipv4_compatible=True)
    writer.insert_network(IPSet(["203.0.113.0/24"]), {"country": {"iso_code": "DE", "names": {"en": "Germany"}}})
    writer.insert_network(
        IPSet(["2001:db8:1::/48"]), {"country": {"iso_code": "JP"}, "registered_country": {"iso_code": "US"}}
    )
    writer.insert_network(IPSet(["198.51.100.0/24"]), {"registered_country": {"iso_code": "FR"}})
    writer.insert_network(IPSet(["192.0.2.0/25"]), {"country": "nl"})
    writer.insert_network(IPSet(["192.0.2.128/25"]), {"continent": {"code": "EU"}})
    path = tmp_path_factory.mktemp("geo") / "country.mmdb"
    writer.to_db_file(str(path))
    return path


def located(country_of: geo.CountryOf | None, ip: str | None) -> tuple[str | None, str | None]:
    draft = Draft("e", 0, 0, 0, "undated", "u", "s", "/", "/", "home", ip=ip)
    geo.enrichment(country_of)(draft)
    return draft.ip, draft.country


@pytest.mark.parametrize(
    ("ip", "country"),
    [
        ("203.0.113.7", "DE"),
        ("203.0.113.0", "DE"),  # anonymized to /24
        ("2001:db8:1::", "JP"),  # anonymized to /48
        ("198.51.100.9", "FR"),  # only the network's registration is known
        ("192.0.2.1", "NL"),  # a flat layout
        ("192.0.2.200", None),
        ("10.0.0.1", None),
        ("::1", None),
    ],
)
def test_the_country_of_an_address(database, ip, country):
    assert located(geo.open_database(str(database)), ip) == (ip, country)


@pytest.mark.parametrize("ip", ["", "unknown", "1.2.3", "1.2.3.4, 5.6.7.8", "999.1.1.1", "fe80::1%eth0", "x" * 5_000])
def test_what_is_no_address_is_left_out(database, ip):
    assert located(geo.open_database(str(database)), ip) == (None, None)


def test_without_a_database_or_an_address_there_is_no_country():
    assert located(None, "203.0.113.7") == ("203.0.113.7", None)
    assert located(None, None) == (None, None)


@pytest.mark.parametrize("content", [b"", b"not a database", b"\xab\xcd\xefMaxMind.com\x00"])
def test_a_broken_file_is_a_clear_error(tmp_path, content):
    path = tmp_path / "broken.mmdb"
    path.write_bytes(content)
    with pytest.raises(geo.GeoError, match=r"enricher\.geoip: .*broken\.mmdb: not a MaxMind DB file"):
        geo.open_database(str(path))


def test_a_missing_file_is_a_clear_error(tmp_path):
    with pytest.raises(geo.GeoError, match="no such file"):
        geo.open_database(str(tmp_path / "absent.mmdb"))
    with pytest.raises(geo.GeoError, match=r"enricher\.geoip"):
        geo.open_database(str(tmp_path))


def test_a_damaged_tree_answers_nothing_instead_of_failing(database, tmp_path):
    content = bytearray(database.read_bytes())
    content[10:200] = b"\xff" * 190
    path = tmp_path / "damaged.mmdb"
    path.write_bytes(content)
    assert located(geo.open_database(str(path)), "203.0.113.7")[0] == "203.0.113.7"
