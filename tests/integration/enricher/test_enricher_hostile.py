"""A real enricher with a damaged country database, a newer release's document and a page that is made to be slow:
clicks go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from clickstream.contracts.clicks import Click, EnrichedClick
from clickstream.contracts.pipeline import Pipeline, dump_pipeline
from support.processes import Process, clickstream, wait_for
from support.records import decode_enriched
from support.topics import feed, read_all

PATTERN = "/*/*/*/*/*/item"
SLOW_PAGE = "/a" * 1_000 + "/x"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Germany's record is whole, Austria's is not."""
    writer = MMDBWriter(6, "Test-Country", ipv4_compatible=True)
    writer.insert_network(IPSet(["203.0.113.0/25"]), {"country": {"iso_code": "DE"}})
    writer.insert_network(IPSet(["203.0.113.128/25"]), {"country": {"iso_code": "AT"}})
    path = tmp_path / "country.mmdb"
    writer.to_db_file(str(path))
    content = path.read_bytes()
    assert content.count(b"AT") == 1
    path.write_bytes(content.replace(b"AT", b"\xff\xff"))
    return path


def test_nothing_of_that_stops_an_enricher(
    new_pipeline: Callable[..., Pipeline], database: Path, tmp_path: Path
) -> None:
    pipeline = new_pipeline(
        enricher={"geoip": str(database), "pageCategories": [{"name": "item", "page": PATTERN}]},
        funnels=[{"name": "f", "steps": [{"name": "s", "page": PATTERN}]}],
    )
    document = json.loads(dump_pipeline(pipeline))
    document["enricher"]["colour"] = "of the next release"
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps(document))
    command = clickstream("enricher", "--pipeline", str(path), "--ops-port-file", "{ops_port_file}")
    enricher = Process("enricher", command, tmp_path)
    now = time.time_ns() // 1_000_000
    bootstrap, names = pipeline.kafka.bootstrap_servers, pipeline.names

    def enriched(clicks: list[Click]) -> dict[str, EnrichedClick]:
        feed(bootstrap, names.raw_clicks, clicks)
        found: dict[str, EnrichedClick] = {}

        def all_there() -> bool:
            records = (decode_enriched(message.value()) for message in read_all(bootstrap, names.enriched_clicks))
            found.update((click.event_id, click) for click in records)
            return all(click.event_id in found for click in clicks)

        wait_for(all_there, "the clicks are enriched", enricher)
        return found

    def click(name: str, ip: str, page: str = "/", country: str | None = None) -> Click:
        return Click(name, now, "u", "s", page, now, ip=ip, country=country)

    try:
        found = enriched(
            [
                click("slow", "203.0.113.1", SLOW_PAGE),
                click("found", "203.0.113.1", "/1/2/3/4/5/item"),
                click("damaged", "203.0.113.200"),
                click("known", "203.0.113.200", country="AT"),
                click("unknown", "10.0.0.1", country="??"),
            ]
        )
        assert {name: (each.country, each.page_category) for name, each in found.items()} == {
            "slow": ("DE", "a"),
            "found": ("DE", "item"),
            "damaged": (None, "home"),
            "known": ("AT", "home"),
            "unknown": (None, "home"),
        }
        assert enricher.metric("clickstream_geoip_failed_lookups_total") == 1
        database.write_bytes(b"")  # what a mapped file dies of
        assert enriched([click("after", "203.0.113.2"), click("again", "203.0.113.200")])["after"].country == "DE"
        assert enricher.stop() == 0
        warnings = [line for line in enricher.log.read_text().splitlines() if "enricher.colour" in line]
        assert len(warnings) == 1
    finally:
        enricher.kill()
