"""The demo's dashboards: in a Grafana when somebody has named one, otherwise on the preview page.

Why it exists: a newcomer sees the real dashboards at once, from the same JSON either way. Deliberately absent:
downloading a Grafana.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from clickstream.contracts.pipeline import Pipeline
from devstack.demo.children import Child, Family
from devstack.demo.home import Home
from devstack.grafana import Grafana, prometheus_command, prometheus_settings
from devstack.ports import LOOPBACK, free_ports

_PODS = {"elasticsearch": "sink-elasticsearch", "postgres": "sink-postgres"}


def show_dashboards(
    family: Family, home: Home, pipeline: Pipeline, grafana_home: Path | None, children: Mapping[str, Child]
) -> str:
    """Start what shows them, wait until it does, and return the address of the overview. Raises DevstackError."""
    if grafana_home is None:
        return _preview(family, home)
    names = pipeline.names
    port, metrics_port = free_ports(2)
    grafana = Grafana(grafana_home, home.folder / "grafana", port)
    command = grafana.command()
    program = shutil.which("prometheus")
    metrics = None if program is None else f"http://{LOOPBACK}:{metrics_port}"
    grafana.write(pipeline, metrics)
    if program is not None:
        targets = {_PODS.get(name, name): f"{LOOPBACK}:{child.port}" for name, child in children.items()}
        folder = home.folder / "prometheus"
        shutil.rmtree(folder, ignore_errors=True)
        settings = prometheus_settings(names, targets)
        family.port_file("prometheus").write_text(str(metrics_port), encoding="ascii")
        family.start("prometheus", prometheus_command(program, folder, metrics_port, settings), program=True)
    family.port_file("grafana").write_text(str(port), encoding="ascii")
    family.start("grafana", command, program=True).wait_ready("/api/health", lambda: False)
    return f"{grafana.dashboard_url(names, 'overview')}?from=now-15m&to=now"


def _preview(family: Family, home: Home) -> str:
    child = family.start(
        "preview",
        ["-m", "devstack.preview", "--pipeline", home.pipeline, "--port-file", family.port_file("preview")],
    )
    child.wait_ready("/", lambda: False)
    return f"http://{LOOPBACK}:{child.port}/"
