"""etcd, the API server and the controller manager, shared by an API server alone and a whole cluster.

There is one replica of each, without durability (`--unsafe-no-fsync`): the state lives as long as a test run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cluster.build import binary, run
from cluster.pki import Identity, Pki
from cluster.processes import Processes
from devstack.errors import StartError

ISSUER = "https://kubernetes.default.svc.cluster.local"
NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
)
READY_SECONDS = 90
AUDIT_POLICY = """\
{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [{"level": "Metadata"}]}
"""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Addresses and folder of one; `service_address` is the first of `service_cidr`."""

    folder: Path
    processes: Processes
    host: str
    port: int
    etcd_ports: tuple[int, int]
    service_cidr: str = "10.96.0.0/16"
    service_address: str = "10.96.0.1"
    audit_log: Path | None = None
    api_server_flags: tuple[str, ...] = ()
    controller_flags: tuple[str, ...] = ()
    identities: dict[str, Identity] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{self.host}:{self.port}"

    @property
    def pki(self) -> Pki:
        return Pki(self.folder / "pki")

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "admin.kubeconfig"

    def start(self) -> None:
        """Start the three; the API server answers and the default service account exists when this returns."""
        own = tuple(f"DNS:{name}" for name in NAMES)
        addresses = tuple(f"IP:{address}" for address in dict.fromkeys((self.host, self.service_address, "127.0.0.1")))
        identities = {
            "apiserver": Identity("/CN=kube-apiserver", own + addresses),
            "admin": Identity("/O=system:masters/CN=kubernetes-admin"),
            "controller-manager": Identity("/CN=system:kube-controller-manager", ("DNS:localhost", "IP:127.0.0.1")),
        }
        self.pki.make(identities | self.identities)
        self.pki.kubeconfig(self.kubeconfig, self.url, client="admin")
        self.processes.start("etcd", self._etcd())
        self.processes.start("kube-apiserver", self._api_server())
        self.processes.wait_for(lambda: self.answers("get", "--raw", "/readyz"), "API server ready", READY_SECONDS)
        self.processes.start("kube-controller-manager", self._controller_manager())

    def wait_for_controllers(self) -> None:
        """Wait until the controller manager works: it makes the default service account."""
        self.processes.wait_for(
            lambda: self.answers("get", "serviceaccount", "default"), "controllers at work", READY_SECONDS
        )

    def kubectl(self, *arguments: str | Path, text: str | None = None) -> str:
        """Run kubectl as administrator, `text` being its input; return its output.

        Raises StartError with its errors.
        """
        return kubectl(self.kubeconfig, *arguments, text=text)

    def answers(self, *arguments: str) -> bool:
        """Whether this kubectl command succeeds now."""
        try:
            self.kubectl("--request-timeout=5s", *arguments)
        except StartError:
            return False
        return True

    def client_kubeconfig(self, name: str) -> Path:
        """Write the kubeconfig of one of the identities."""
        return self.pki.kubeconfig(self.folder / f"{name}.kubeconfig", self.url, client=name)

    def _etcd(self) -> list[str | Path]:
        client, peer = (f"http://127.0.0.1:{port}" for port in self.etcd_ports)
        return [
            *(
                binary("etcd"),
                "--name=e2e",
                f"--data-dir={self.folder / 'etcd'}",
                "--log-level=warn",
                "--unsafe-no-fsync",
            ),
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=e2e={peer}"),
        ]

    def _api_server(self) -> list[str | Path]:
        pki, flags = self.pki, list(self.api_server_flags)
        if self.audit_log is not None:
            policy = self.folder / "audit-policy.json"
            policy.write_text(AUDIT_POLICY, encoding="utf-8")
            flags += [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"]
            flags.append("--audit-log-maxsize=100000")  # MB: one file, never rotated
        return [
            *(binary("kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{self.etcd_ports[0]}"),
            *(f"--bind-address={self.host}", f"--secure-port={self.port}", f"--advertise-address={self.host}"),
            *(f"--service-cluster-ip-range={self.service_cidr}", "--allow-privileged=true", "--profiling=false"),
            *("--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--anonymous-auth=false"),
            *(f"--client-ca-file={pki.certificate('ca')}", f"--tls-cert-file={pki.certificate('apiserver')}"),
            *(f"--tls-private-key-file={pki.key('apiserver')}", f"--service-account-issuer={ISSUER}"),
            *(f"--service-account-key-file={pki.key('sa')}", f"--service-account-signing-key-file={pki.key('sa')}"),
            *flags,
        ]

    def _controller_manager(self) -> list[str | Path]:
        pki = self.pki
        client = self.client_kubeconfig("controller-manager")
        return [
            *(binary("kube-controller-manager"), f"--kubeconfig={client}", "--leader-elect=false", "--profiling=false"),
            *("--use-service-account-credentials=true", f"--service-account-private-key-file={pki.key('sa')}"),
            *(f"--root-ca-file={pki.certificate('ca')}", f"--cluster-signing-cert-file={pki.certificate('ca')}"),
            *(f"--cluster-signing-key-file={pki.key('ca')}", *self.controller_flags),
        ]


def kubectl(kubeconfig: Path, *arguments: str | Path, text: str | None = None) -> str:
    """Run kubectl, `text` being its input; return its output. Raises StartError with its errors."""
    # The usual cache is keyed by address: another cluster may have had the same port a minute ago.
    own = (f"--kubeconfig={kubeconfig}", f"--cache-dir={kubeconfig.parent / 'kubectl-cache'}")
    return run([binary("kubectl"), *own, *arguments], text=text)
