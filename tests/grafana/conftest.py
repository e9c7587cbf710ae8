"""A real Grafana (GRAFANA_HOME), provisioned for a pipeline that runs: `make test-grafana`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clickstream.contracts.pipeline import Pipeline
from demo.grafana import Grafana, prometheus_command, prometheus_settings
from devstack import Stack
from devstack.ports import free_ports
from preview.board import Stores
from support.browser import chromium  # noqa: F401 - a fixture
from support.dashboards import Dashboards, send_scenario
from support.processes import wait_for
from support.system import System, system_on

FUNNEL = [("Homepage", "/"), ("Product", "/products/*"), ("Checkout", "/checkout")]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    started = Stack.up(home=tmp_path_factory.mktemp("servers"))
    yield started
    started.down(wipe=True)


@pytest.fixture(scope="session")
def new_system(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., System]]:
    """Starts the data plane of a pipeline of that name."""
    started: list[System] = []

    def make(name: str, **enricher: str) -> System:
        funnel = {"name": "checkout", "steps": [{"name": step, "page": page} for step, page in FUNNEL]}
        members = {"namespace": "grafana", "funnels": [funnel], "enricher": {"lateAfter": "30d"} | enricher}
        started.append(system_on(stack, tmp_path_factory.mktemp(name), name, **members))
        return started[-1]

    yield make
    for each in started:
        each.close()


class Running:
    """A Grafana that runs, and perhaps a Prometheus beside it."""

    def __init__(self, system: System, folder: Path) -> None:
        self.pipeline: Pipeline = system.pipeline
        names = self.pipeline.names
        port, metrics_port = free_ports(2)
        program = shutil.which("prometheus")
        assert program is not None, "the tests of Grafana need Prometheus on the PATH (Debian: prometheus)"
        targets = {
            name: f"127.0.0.1:{process.ops_port}"
            for name, process in (
                ("tracking-api", system.api),
                ("enricher", system.enricher),
                ("sink-elasticsearch", system.elasticsearch),
                ("sink-postgres", system.postgres),
            )
        }
        self.grafana = Grafana(Path(os.environ["GRAFANA_HOME"]), folder / "grafana", port)
        self.grafana.write(self.pipeline, f"http://127.0.0.1:{metrics_port}")
        metrics = prometheus_command(program, folder / "prometheus", metrics_port, prometheus_settings(names, targets))
        self._log = (folder / "log").open("wb")
        self._children = [
            subprocess.Popen(command, stdout=self._log, stderr=self._log)
            for command in (metrics, self.grafana.command())
        ]
        wait_for(lambda: self.get("/api/health")[0] == 200, "Grafana answers")

    def close(self) -> None:
        for child in self._children:
            child.terminate()
            child.wait(20)
        self._log.close()

    def get(self, path: str) -> tuple[int, Any]:
        return self._ask(urllib.request.Request(self.grafana.url + path))

    def post(self, path: str, body: object) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"}
        return self._ask(urllib.request.Request(self.grafana.url + path, json.dumps(body).encode(), headers))

    def _ask(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
        except OSError:
            return 0, None


@pytest.fixture(scope="session")
def run_grafana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[System], Running]]:
    running: list[Running] = []

    def start(system: System) -> Running:
        running.append(Running(system, tmp_path_factory.mktemp("grafana")))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture(scope="session")
def dashboards(new_system: Callable[[str], System]) -> Iterator[Dashboards]:
    """The scenario of the truth tests, in the stores."""
    system = new_system("scenario")
    monday = send_scenario(system)
    sinks = system.pipeline.sinks
    stores = Stores(system.pipeline.names, sinks.elasticsearch.url, sinks.postgres.dsn)
    yield Dashboards(system, stores, monday)
    stores.close()
