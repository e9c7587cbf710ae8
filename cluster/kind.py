"""A Kubernetes of one node in Docker: kind, with the bare cluster's verbs. It needs no root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cluster.build import report, run
from cluster.control_plane import kubectl

NAME = "clickstream-e2e"
CONFIG = Path(__file__).parent / "manifests" / "kind.yaml"
# As published, image included: where kind is used, its node pulls from the internet. The version is that of go/kube.
METRICS_SERVER = "https://github.com/kubernetes-sigs/metrics-server/releases/download/v0.8.0/components.yaml"
# kind's kubelet serves with a certificate of its own making.
INSECURE_TLS = '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--kubelet-insecure-tls"}]'


@dataclass(frozen=True, slots=True)
class Kind:
    """The cluster whose kubeconfig is in `home`; there is one a Docker engine."""

    home: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; the user's own stays as it is."""
        return self.home / "kind.kubeconfig"

    def up(self) -> None:
        """Start it. Raises StartError with kind's error, also if it exists already."""
        report("starting kind")
        self._kind("create", "cluster", "--config", CONFIG, "--kubeconfig", self.kubeconfig, "--wait", "120s")
        metrics_server = ("--namespace=kube-system", "deployment/metrics-server")
        kubectl(self.kubeconfig, "apply", "-f", METRICS_SERVER)
        kubectl(self.kubeconfig, "patch", *metrics_server, "--type=json", "--patch", INSECURE_TLS)
        kubectl(self.kubeconfig, "rollout", "status", *metrics_server, "--timeout=180s")

    def down(self) -> None:
        """Remove it; nothing happens if it is not there."""
        self._kind("delete", "cluster", "--kubeconfig", self.kubeconfig)

    def load(self, archive: Path) -> None:
        """Import an image archive into the node."""
        self._kind("load", "image-archive", archive)

    def _kind(self, *arguments: str | Path) -> None:
        run(["kind", *arguments, "--name", NAME])
