"""An OCI registry beside the bare node: images and charts are pushed to it from this machine, and the node pulls them.

It lives in the node's namespaces, and ends with them. It speaks plain HTTP, of which containerd is told here; helm has
`--plain-http` for it.
"""

from __future__ import annotations

import json
import urllib.request
from urllib.error import URLError

from cluster.build import binary
from cluster.namespaces import NODE_ADDRESS
from cluster.node import Node

ADDRESS = f"{NODE_ADDRESS}:5000"


def start(node: Node) -> str:
    """Start it, or find it running; return its address, `host:port`. Raises StartError with the end of the logs."""
    processes = node.namespaces.inside
    if processes.find("registry") is None:
        config = node.home / "registry.json"
        storage = {"filesystem": {"rootdirectory": str(node.home / "registry")}}
        config.write_text(
            json.dumps({"version": 0.1, "storage": storage, "http": {"addr": ADDRESS}, "log": {"level": "warn"}}),
            encoding="utf-8",
        )
        hosts = node.home / "registries" / ADDRESS
        hosts.mkdir(parents=True, exist_ok=True)
        # Its `server` alone would not do: containerd asks that by HTTPS, whatever scheme is written.
        plain = f'[host."http://{ADDRESS}"]\ncapabilities = ["pull", "resolve"]\n'
        (hosts / "hosts.toml").write_text(plain, encoding="utf-8")
        processes.start("registry", [binary("registry"), "serve", config])
    processes.wait_for(_answers, "registry", 30)
    return ADDRESS


def _answers() -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{ADDRESS}/v2/", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, TimeoutError, ConnectionError):
        return False
