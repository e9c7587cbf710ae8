"""Elasticsearch: one node with the core server and the HTTP transport, on loopback.

Mappings, deduplicating creates and aggregations are the real ones. Security, painless, reindex, ILM's API, ingest
processors and ES|QL are deliberately absent: their modules are not published as artifacts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from devstack.artifacts import elasticsearch_home
from devstack.health import check_elasticsearch
from devstack.jdk import find_jdk
from devstack.launch import Launch
from devstack.ports import LOOPBACK
from devstack.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NATIVE_MODULES = "ALL-UNNAMED,org.elasticsearch.foreign,org.elasticsearch.nativeaccess,org.apache.lucene.core"


class Elasticsearch(Server):
    """The node; `url` is what clients are given."""

    name: ClassVar[str] = "elasticsearch"
    port_names: ClassVar[tuple[str, ...]] = ("http", "transport")

    def member(self) -> dict[str, Any]:
        """Return the `sinks.elasticsearch` member of a pipeline document for this node: nobody else has a replica."""
        return {"url": self.url, "replicas": 0}

    @property
    def url(self) -> str:
        """The base URL, for clients."""
        return self.address

    def local_address(self, chosen: Mapping[str, int]) -> str:
        """Return the URL for these ports."""
        return f"http://{LOOPBACK}:{chosen['http']}"

    def check(self, address: str, timeout: float) -> None:
        """Ask for the version and the cluster's health."""
        check_elasticsearch(address, timeout)

    def prepare(self, chosen: Mapping[str, int]) -> Launch:
        """Download and compile if need be, write the configuration."""
        jdk = find_jdk()
        home = elasticsearch_home(self._workspace.settings.cache, self._report, self._workspace.cancelled)
        config = self.folder / "config"
        config.mkdir(parents=True, exist_ok=True)
        # JSON is YAML, and quotes any path correctly.
        text = json.dumps(self._settings(chosen), indent=2)
        (config / "elasticsearch.yml").write_text(text + "\n", encoding="utf-8")
        heap = self._workspace.settings.elasticsearch_heap
        return Launch(java_command(jdk.java, home, config, heap), folder=self.folder)

    def _settings(self, chosen: Mapping[str, int]) -> dict[str, str | int | bool]:
        return {
            "cluster.name": "devstack",
            "node.name": "devstack",
            "network.host": LOOPBACK,
            "http.port": chosen["http"],
            "transport.port": chosen["transport"],
            "discovery.type": "single-node",
            "path.data": str(self.data_folder()),
            "path.logs": str(self.folder / "logs"),
            "path.repo": str(self.folder / "snapshots"),
            "cluster.routing.allocation.disk.threshold_enabled": False,
        }


def java_command(java: Path, home: Path, config: Path, heap: str) -> list[str | Path]:
    """Return the command that runs the node of this home (`elasticsearch_home`) with this configuration folder."""
    return [
        java,
        f"-Xms{heap}",
        f"-Xmx{heap}",
        "-XX:+UseSerialGC",
        "--add-modules=jdk.incubator.vector",
        f"--enable-native-access={NATIVE_MODULES}",
        "-Djava.awt.headless=true",
        "-Dlog4j2.disable.jmx=true",
        "-Dlog4j.shutdownHookEnabled=false",
        "-Des.distribution.type=tar",
        f"-Des.path.home={home}",
        "-Dorg.elasticsearch.nativeaccess.enableVectorLibrary=false",
        "-Dio.netty.noUnsafe=true",
        "-Dio.netty.noKeySetOptimization=true",
        "--module-path",
        home / "libs",
        "--add-modules=ALL-MODULE-PATH",
        "-cp",
        home / "launcher",
        "NodeLauncher",
        home,
        config,
    ]
