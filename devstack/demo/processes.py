"""The pipeline's processes, the shop and the visitors, started as anybody would start them: by their commands.

Why it exists: the demo must run what is shipped, not a special assembly. Deliberately absent: when to start and stop
them (`run`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from clickstream.contracts.pipeline import Pipeline
from devstack.demo.children import Child, Family
from devstack.demo.document import BROWSER, SIMULATED, write_key
from devstack.demo.home import Home
from devstack.demo.settings import DemoSettings
from devstack.errors import DevstackError
from devstack.ports import LOOPBACK

SHOP: Final = Path(__file__).resolve().parents[2] / "apps" / "shop"
PRODUCTS: Final = SHOP / "products.json"
CLICKSTREAM: Final = ("-m", "clickstream.cli")
SINKS: Final = ("elasticsearch", "postgres")

_ENVIRONMENT: Final = {
    "CLICKSTREAM_OPS_HOST": LOOPBACK,
    "CLICKSTREAM_OPS_PORT": "0",
    "CLICKSTREAM_HTTP_HOST": LOOPBACK,
    "CLICKSTREAM_HTTP_PORT": "0",
    "CLICKSTREAM_DRAIN_SECONDS": "0",  # there is no load balancer that must notice first
    "CLICKSTREAM_LOG_FORMAT": "text",
}


def set_up_stores(home: Home) -> None:
    """`clickstream setup all`. Raises DevstackError with what it said."""
    command = [sys.executable, *CLICKSTREAM, "setup", "all", "--pipeline", str(home.pipeline)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 - our own interpreter
    (home.logs / "setup.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode != 0:
        msg = f"clickstream setup ended with status {done.returncode}:\n{done.stdout}{done.stderr}"
        raise DevstackError(msg)


def start_pipeline(family: Family, home: Home, give_up: Callable[[], bool]) -> dict[str, Child]:
    """Start tracking-api, enricher and both sinks, and wait until they are ready. Raises DevstackError."""
    document = ("--pipeline", home.pipeline)
    children = {
        "tracking-api": family.start(
            "tracking-api",
            [*CLICKSTREAM, "tracking-api", *document, "--port-file", family.port_file("tracking-api")],
            _ENVIRONMENT,
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
        child.wait_ready("/readyz", give_up)
    return children


def start_shop(family: Family, pipeline: Pipeline, api_url: str, give_up: Callable[[], bool]) -> Child:
    """Serve the example shop, its pages tracked as the source of real browsers."""
    shop = family.start(
        "shop",
        [SHOP / "server.py", "--port", "0", "--port-file", family.port_file("shop"), "--tracker-url", api_url,
         "--write-key", write_key(pipeline, BROWSER)],
    )  # fmt: skip
    shop.wait_ready("/", give_up)
    return shop


def start_visitors(family: Family, home: Home, settings: DemoSettings, pipeline: Pipeline, api_url: str) -> Child:
    """Let the simulated visitors in; the summary of what was sent comes through the child's standard output."""
    command = [
        *CLICKSTREAM, "simulate", "--url", api_url, "--rate", f"{settings.rate:g}", "--batch", str(settings.batch),
        "--single-share", "0.02", "--seed", str(settings.seed), "--time-scale", f"{1 / settings.speed:.6f}",
        "--products", str(PRODUCTS), "--ledger", str(home.ledger),
    ]  # fmt: skip
    if settings.seconds is not None:
        command += ["--seconds", f"{settings.seconds:g}"]
    key = {"CLICKSTREAM_WRITE_KEY": write_key(pipeline, SIMULATED)}
    return family.start("simulator", command, key, pipe=True)
