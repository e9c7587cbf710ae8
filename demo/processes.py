"""The pipeline's processes, the shop, the visitors and the dashboards, started by their commands, as shipped."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from clickstream.contracts.pipeline import Pipeline
from clickstream.runtime.port_file import write_port
from demo.children import Family
from demo.document import BROWSER, SIMULATED, write_key
from demo.grafana import Grafana, prometheus_command, prometheus_settings
from demo.settings import DemoSettings, Home
from devstack.child import Child
from devstack.errors import DevstackError
from devstack.ports import LOOPBACK, free_ports

SHOP: Final = Path(__file__).resolve().parents[1] / "apps" / "shop"
PRODUCTS: Final = SHOP / "products.json"
CLICKSTREAM: Final = ("-m", "clickstream.cli")
SINKS: Final = ("elasticsearch", "postgres")

_ENVIRONMENT: Final = {
    "CLICKSTREAM_OPS_HOST": LOOPBACK,
    "CLICKSTREAM_OPS_PORT": "0",
    "CLICKSTREAM_HTTP_HOST": LOOPBACK,
    "CLICKSTREAM_HTTP_PORT": "0",
    "CLICKSTREAM_DRAIN_SECONDS": "0",  # no load balancer must notice first
    "CLICKSTREAM_LOG_FORMAT": "text",
}


def set_up_stores(home: Home) -> None:
    """`clickstream setup all`. Raises DevstackError with its output."""
    command = [sys.executable, *CLICKSTREAM, "setup", "all", "--pipeline", str(home.pipeline)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 - our own interpreter
    (home.logs / "setup.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode != 0:
        msg = f"clickstream setup ended with status {done.returncode}:\n{done.stdout}{done.stderr}"
        raise DevstackError(msg)


def start_pipeline(family: Family, home: Home) -> dict[str, Child]:
    """Start tracking-api, enricher and both sinks, and wait until they are ready. Raises DevstackError."""
    document, ops = ("--pipeline", home.pipeline), family.port_file("tracking-api-ops")
    children = {
        "tracking-api": family.start(
            "tracking-api",
            [*CLICKSTREAM, "tracking-api", *document, "--port-file", family.port_file("tracking-api"),
             "--ops-port-file", ops],
            _ENVIRONMENT,
            ops_port_file=ops,
        ),
        "enricher": family.start(
            "enricher",
            [*CLICKSTREAM, "enricher", *document, "--ops-port-file", family.port_file("enricher"),
             "--data-dir", home.folder / "enricher"],
            _ENVIRONMENT,
        ),
    }  # fmt: skip
    for sink in SINKS:
        children[sink] = family.start(
            sink,
            [*CLICKSTREAM, "sink", sink, *document, "--ops-port-file", family.port_file(sink)],
            _ENVIRONMENT,
        )
    for child in children.values():
        child.wait_ready()
    return children


def start_shop(family: Family, pipeline: Pipeline, api_url: str) -> Child:
    """Serve the example shop, its pages tracked as the source of real browsers."""
    shop = family.start(
        "shop",
        [SHOP / "server.py", "--port", "0", "--port-file", family.port_file("shop"), "--tracker-url", api_url,
         "--write-key", write_key(pipeline, BROWSER), "--modules", "vitals errors"],
    )  # fmt: skip
    shop.wait_ready("/")
    return shop


def start_visitors(family: Family, home: Home, settings: DemoSettings, pipeline: Pipeline, api_url: str) -> Child:
    """Start the simulated visitors; the summary of what was sent is the child's standard output."""
    command = [
        *CLICKSTREAM, "simulate", "--url", api_url, "--rate", f"{settings.rate:g}", "--batch", str(settings.batch),
        "--single-share", "0.02", "--seed", str(settings.seed), "--time-scale", f"{1 / settings.speed:.6f}",
        "--products", str(PRODUCTS), "--ledger", str(home.ledger),
    ]  # fmt: skip
    if settings.seconds is not None:
        command += ["--seconds", f"{settings.seconds:g}"]
    key = {"CLICKSTREAM_WRITE_KEY": write_key(pipeline, SIMULATED)}
    return family.start("simulator", command, key, pipe=True)


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
        targets = {_PODS.get(name, name): f"{LOOPBACK}:{child.ops_port}" for name, child in children.items()}
        folder = home.folder / "prometheus"
        shutil.rmtree(folder, ignore_errors=True)
        settings = prometheus_settings(names, targets)
        family.start("prometheus", prometheus_command(program, folder, metrics_port, settings), program=True)
    child = family.start("grafana", command, program=True)
    write_port(family.port_file("grafana"), port)
    child.wait_ready("/api/health")
    return f"{grafana.dashboard_url(names, 'overview')}?from=now-15m&to=now"


def _preview(family: Family, home: Home) -> str:
    child = family.start(
        "preview",
        ["-m", "preview", "--pipeline", home.pipeline, "--port-file", family.port_file("preview")],
    )
    child.wait_ready("/")
    return f"http://{LOOPBACK}:{child.port}/"
