"""A real tracking API with a country database that changes under it: countries by whole addresses, and collection goes
on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

VISITOR = {"X-Forwarded-For": "81.2.69.142"}


def write_database(path: Path, country: str) -> None:
    """The visitor's own neighbours are of no country: an anonymized address would have none."""
    writer = MMDBWriter(6, "Test-City", ipv4_compatible=True)
    writer.insert_network(IPSet(["81.2.69.142/31"]), {"country": {"iso_code": country}})
    new = path.with_name("new")
    writer.to_db_file(str(new))
    new.rename(path)


@pytest.fixture(scope="module")
def api(start_api, tmp_path_factory):
    path = tmp_path_factory.mktemp("geo") / "city.mmdb"
    write_database(path, "GB")
    tracking = {"trustedProxies": ["127.0.0.1"]}
    started = start_api(trackingApi=tracking, enricher={"geoip": str(path)})
    started.database = path
    return started


def test_an_anonymized_click_has_the_country_of_the_whole_address(api, clicks, event: Callable) -> None:
    assert api.post(event(), **VISITOR).status == 202
    assert api.post({"events": [event(), event(ip="10.0.0.1")]}, "/v1/events/batch", **VISITOR).status == 202
    target = "/v1/pixel.gif?key=wk-web&" + "&".join(f"{name}={value}" for name, value in event().items())
    assert api.request("GET", target, headers=VISITOR).status == 200
    found = sorted((click.ip, click.country) for click in clicks.clicks() if click.country)
    assert found == [("81.2.69.0", "GB")] * 3


@pytest.mark.parametrize("signal", ["Sec_GPC", "DNT"])
def test_who_objects_has_neither_address_nor_country(api, clicks, event: Callable, signal: str) -> None:
    assert api.post(event(), **VISITOR, **{signal: "1"}).status == 202
    assert [(click.ip, click.country) for click in clicks.clicks()] == [(None, None)]


def test_a_database_that_is_cut_short_in_place_changes_nothing(api, clicks, event: Callable) -> None:
    with api.database.open("r+b") as file:
        file.truncate(100)
    for ip in ("81.2.69.142", "81.2.69.143", "81.2.69.144"):
        assert api.post(event(), X_Forwarded_For=ip).status == 202
    assert [click.country for click in clicks.clicks()] == ["GB", "GB", None]
    assert api.metrics()["clickstream_geoip_build_timestamp_seconds"] > 1_700_000_000
    assert api.metrics()["clickstream_geoip_failed_lookups_total"] == 0


def test_a_pipeline_collects_without_its_database(start_api, read, event: Callable) -> None:
    api = start_api(trackingApi={"trustedProxies": ["127.0.0.1"]}, enricher={"geoip": "/nowhere/city.mmdb"})
    assert api.post(event(), **VISITOR).status == 202
    assert [(click.ip, click.country) for click in read(api, "raw_clicks").clicks()] == [("81.2.69.0", None)]
    assert "clickstream_geoip_build_timestamp_seconds" not in api.metrics()
    assert api.metrics()["clickstream_geoip_failed_loads_total"] == 1
    assert "/nowhere/city.mmdb: No such file or directory; there are no countries" in api.output
    assert api.stop() == 0
