"""A complete Kubernetes of one node on the bare machine: control plane, scheduler, kubelet, network, DNS, metrics.

Rolling updates, autoscaling and network policies are only proved where pods really run. One a machine, since its
addresses are fixed. There is no load balancer and no ingress.
"""

from __future__ import annotations

import json
import os
import shutil
import string
import sys
from dataclasses import dataclass
from pathlib import Path

from cluster import images
from cluster.build import binary, report, require, run
from cluster.control_plane import ControlPlane, kubectl
from cluster.namespaces import CGROUP, DNS_ADDRESS, NODE_ADDRESS, PODS, SERVICE_ADDRESS, SERVICES, Namespaces
from cluster.pki import Identity
from devstack.cache import locked
from devstack.errors import MissingToolError

NAME = "e2e-node"
MANIFESTS = Path(__file__).parent / "manifests"
COMMANDS = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "openssl": "openssl",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "modprobe": "kmod",
}
VOLUMES = 6
# All that differs from Kubernetes' own timing: a test cannot wait for minutes.
AUTOSCALER_FLAGS = (
    "--horizontal-pod-autoscaler-sync-period=5s",
    "--horizontal-pod-autoscaler-cpu-initialization-period=20s",
    "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
)
IDENTITIES = {
    "apiserver-kubelet-client": Identity("/O=e2e:kubelet-api-admins/CN=kube-apiserver"),
    "front-proxy-client": Identity("/CN=front-proxy-client", authority="front-proxy-ca"),
    "scheduler": Identity("/CN=system:kube-scheduler"),
    "kubelet": Identity(f"/O=system:nodes/CN=system:node:{NAME}", (f"DNS:{NAME}", f"IP:{NODE_ADDRESS}")),
    "kube-proxy": Identity("/CN=system:kube-proxy"),
    "policies": Identity("/CN=e2e:policies"),
}


def can_run() -> bool:
    """Whether this user may make what it consists of."""
    return sys.platform == "linux" and os.geteuid() == 0


@dataclass(frozen=True, slots=True)
class Node:
    """The cluster whose files are below `home`."""

    home: Path

    @classmethod
    def from_environment(cls) -> Node:
        """Find it below E2E_CLUSTER_HOME, or in its usual place."""
        return cls(Path(os.environ.get("E2E_CLUSTER_HOME") or "/var/lib/clickstream-e2e").absolute())

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; it works on this machine."""
        return self.home / "admin.kubeconfig"

    @property
    def socket(self) -> Path:
        return self.home / "containerd.sock"

    @property
    def namespaces(self) -> Namespaces:
        """What keeps it apart from the machine."""
        return Namespaces(self.home)

    def kubectl(self, *arguments: str | Path, text: str | None = None) -> str:
        """Run kubectl as administrator, `text` being its input."""
        return kubectl(self.kubeconfig, *arguments, text=text)

    def up(self) -> None:
        """Start it, or do nothing if it runs; what a crashed one has left is removed first.

        Raises MissingToolError where it cannot run, StartError with the end of the logs.
        """
        if not can_run():
            message = "the bare cluster needs root on Linux (namespaces, mounts, cgroups); elsewhere use kind"
            raise MissingToolError(message)
        require(COMMANDS)
        pause = images.pause()
        with locked(Path(f"{self.home}.lock")):
            if (
                self.namespaces.holder()
                and self.kubeconfig.exists()
                and self._control_plane().answers("get", "--raw", "/readyz")
            ):
                return
            self._down()
            try:
                self._start(pause)
            except BaseException:
                report(f"the logs are in {self.home}/processes; `down` removes them")
                raise

    def down(self) -> None:
        """End and remove everything, also after a crash."""
        with locked(Path(f"{self.home}.lock")):
            self._down()
        Path(f"{self.home}.lock").unlink(missing_ok=True)

    def load(self, archive: Path) -> None:
        """Import an image archive (docker-archive or OCI) into the node."""
        run(["ctr", "--address", self.socket, "--namespace=k8s.io", "images", "import", archive])

    def _down(self) -> None:
        if self.home.exists():
            self.namespaces.close()
            shutil.rmtree(self.home)

    def _start(self, pause: Path) -> None:
        self.home.mkdir(parents=True, mode=0o711)
        if not Path("/proc/sys/net/bridge").exists():
            run(["modprobe", "br_netfilter"])
        self.namespaces.open()
        processes, plane = self.namespaces.inside, self._control_plane()
        self._configure()
        processes.start("containerd", ["containerd", "--config", self.home / "containerd.toml"])
        plane.start()
        kubelet, scheduler, _ = (plane.client_kubeconfig(name) for name in ("kubelet", "scheduler", "kube-proxy"))
        processes.start(
            "kube-scheduler",
            [binary("kube-scheduler"), f"--kubeconfig={scheduler}", "--leader-elect=false", "--secure-port=0"],
        )
        processes.wait_for(self.socket.exists, "containerd", 30)
        self.load(pause)
        node = [f"--hostname-override={NAME}", f"--node-ip={NODE_ADDRESS}", f"--root-dir={self.home / 'kubelet'}"]
        config = self.home / "kubelet.yaml"
        processes.start(
            "kubelet",
            [binary("kubelet"), f"--config={config}", f"--kubeconfig={kubelet}", *node, "--housekeeping-interval=5s"],
        )
        processes.start("kube-proxy", [binary("kube-proxy"), f"--config={self.home / 'kube-proxy.yaml'}"])
        plane.wait_for_controllers()
        self.kubectl("apply", "--server-side", "-f", "-", text=self._fill("addons.yaml"))
        self.kubectl("apply", "--server-side", "-f", "-", text=self._volumes())
        processes.wait_for(lambda: plane.answers("get", "node", NAME), "node registered", 60)
        self.kubectl("wait", "--for=condition=Ready", f"node/{NAME}", "--timeout=60s")
        # Not before, for it asks once for the node's address.
        own = [f"--kubeconfig={plane.client_kubeconfig('policies')}", f"--hostname-override={NAME}"]
        processes.start("policies", [binary("policies"), *own, f"--service-cluster-ip-range={SERVICES}"])
        for name in ("coredns", "metrics-server"):
            self.kubectl("--namespace=kube-system", "rollout", "status", f"deployment/{name}", "--timeout=120s")
        processes.wait_for(lambda: plane.answers("top", "node", NAME), "metrics", 60)

    def _control_plane(self) -> ControlPlane:
        pki = self.home / "pki"
        return ControlPlane(
            folder=self.home,
            processes=self.namespaces.inside,
            host=NODE_ADDRESS,
            port=6443,
            etcd_ports=(2379, 2380),
            service_cidr=SERVICES,
            service_address=SERVICE_ADDRESS,
            identities=IDENTITIES,
            api_server_flags=(
                f"--kubelet-certificate-authority={pki / 'ca.crt'}",
                f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
                f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
                "--kubelet-preferred-address-types=InternalIP",
                f"--requestheader-client-ca-file={pki / 'front-proxy-ca.crt'}",
                "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                f"--proxy-client-cert-file={pki / 'front-proxy-client.crt'}",
                f"--proxy-client-key-file={pki / 'front-proxy-client.key'}",
            ),
            controller_flags=(
                "--secure-port=0",
                *AUTOSCALER_FLAGS,
            ),
        )

    def _configure(self) -> None:
        (self.home / "cni").mkdir()
        (self.home / "resolv.conf").write_text("# nothing outside the cluster has a name here\n", encoding="ascii")
        for template, target in (
            ("containerd.toml", "containerd.toml"),
            ("bridge.conflist", "cni/bridge.conflist"),
            ("kubelet.yaml", "kubelet.yaml"),
            ("kube-proxy.yaml", "kube-proxy.yaml"),
        ):
            (self.home / target).write_text(self._fill(template), encoding="utf-8")

    def _fill(self, template: str) -> str:
        """Fill in a manifest's $variables; what it does not know (a shell's) stays as it is."""
        return string.Template((MANIFESTS / template).read_text(encoding="utf-8")).safe_substitute(
            HOME=self.home,
            PROGRAMS=binary("kube").parent,
            PAUSE=images.PAUSE,
            NODE=NAME,
            NODE_ADDRESS=NODE_ADDRESS,
            PODS=PODS,
            DNS_ADDRESS=DNS_ADDRESS,
            CGROUP=CGROUP,
        )

    def _volumes(self) -> str:
        """Make folders and a local PersistentVolume for each: data that outlives a pod, forced deletion included."""
        items = []
        for number in range(VOLUMES):
            folder = self.home / "volumes" / str(number)
            folder.mkdir(parents=True)
            folder.chmod(0o777)
            here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]}
            spec = {
                "capacity": {"storage": "8Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "local",
                "persistentVolumeReclaimPolicy": "Retain",
                "local": {"path": str(folder)},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            }
            name = {"name": f"local-{number}"}
            items.append({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": name, "spec": spec})
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
