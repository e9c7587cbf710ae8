"""The scenario, sent once through the real pipeline, and the dashboards on what the stores hold then."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from clickstream.contracts.pipeline import Pipeline
from preview.board import Stores
from support.dashboards import Dashboards, send_scenario
from support.system import System


@pytest.fixture(scope="package")
def system(new_pipeline: Callable[..., Pipeline], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("dashboards")
    countries = MMDBWriter(6, "Test-Country", ipv4_compatible=True)  # none of the visitors'
    countries.insert_network(IPSet(["203.0.113.0/24"]), {"country": {"iso_code": "DE"}})
    countries.to_db_file(str(folder / "country.mmdb"))
    enricher = {"lateAfter": "30d", "geoip": str(folder / "country.mmdb")}
    started = System(new_pipeline(enricher=enricher), folder)
    yield started
    started.close()


@pytest.fixture(scope="package")
def dashboards(system: System) -> Iterator[Dashboards]:
    monday = send_scenario(system)
    sinks = system.pipeline.sinks
    stores = Stores(system.pipeline.names, sinks.elasticsearch.url, sinks.postgres.dsn)
    yield Dashboards(system, stores, monday)
    stores.close()
