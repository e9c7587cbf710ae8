"""The scenario, sent once through the real pipeline, and the dashboards on what the stores hold then."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.dashboards import Dashboards, send_scenario
from support.system import System

from clickstream.contracts.pipeline import Pipeline
from devstack.preview.board import Stores


@pytest.fixture(scope="package")
def system(new_pipeline: Callable[..., Pipeline], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    started = System(new_pipeline(enricher={"lateAfter": "30d"}), tmp_path_factory.mktemp("dashboards"))
    yield started
    started.close()


@pytest.fixture(scope="package")
def dashboards(system: System) -> Iterator[Dashboards]:
    monday = send_scenario(system)
    sinks = system.pipeline.sinks
    stores = Stores(system.pipeline.names, sinks.elasticsearch.url, sinks.postgres.dsn)
    yield Dashboards(system, stores, monday)
    stores.close()
