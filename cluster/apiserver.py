"""A control plane without nodes, for tests of what only talks to the API: the operator, the chart, the CRD.

It needs neither root nor namespaces nor fixed addresses, is up in seconds, and several can run side by side; and yet
admission, RBAC, garbage collection and the controllers are the real ones. Scheduler and nodes are deliberately absent:
a Deployment gets its ReplicaSet and Pods, and the Pods stay Pending.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cluster.build import binary, require
from cluster.control_plane import ControlPlane
from cluster.processes import Processes
from devstack.errors import StartError
from devstack.ports import LOOPBACK, free_ports

ATTEMPTS = 3
PROGRAMS = ("kube-controller-manager", "kube-apiserver", "etcd")
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A running one; use it as a context manager, or call `stop`."""

    control_plane: ControlPlane

    @classmethod
    def start(cls, home: Path, *, audit: bool = False) -> ApiServer:
        """Start one in `home` (kept afterwards, with the logs). Raises StartError with the end of the logs."""
        require({"openssl": "openssl"})
        binary("kube")
        for attempt in range(ATTEMPTS):
            # Chosen ports can be taken by others before they are bound: then it is tried again with new ones.
            folder = home / f"api-server-{attempt}" if attempt else home / "api-server"
            server = cls(_control_plane(folder, audit=audit))
            try:
                server.stop()  # what an earlier run in the same home may have left
                server.control_plane.start()
                server.control_plane.wait_for_controllers()
            except StartError as error:
                server.stop()
                if "address already in use" not in str(error) or attempt == ATTEMPTS - 1:
                    raise
            except BaseException:
                server.stop()
                raise
            else:
                return server
        raise AssertionError

    @property
    def kubeconfig(self) -> Path:
        return self.control_plane.kubeconfig

    @property
    def audit_log(self) -> Path:
        """One JSON event a line, written before the request is answered; only with `audit=True`."""
        assert self.control_plane.audit_log is not None, "start it with audit=True"
        return self.control_plane.audit_log

    def audited(self, begin: int = 0) -> Iterator[dict[str, Any]]:
        """The audit events from this byte of the log on, from the next line's beginning, as far as they are whole."""
        with self.audit_log.open("rb") as log:
            if begin:  # the log's length, at some moment, may be in the middle of a line
                log.seek(begin - 1)
                log.readline()
            yield from (json.loads(line) for line in log if line.endswith(b"\n"))

    def writes(self, user: str) -> Iterator[dict[str, Any]]:
        """Audit events of the requests by which `user` wrote, or tried to.

        A service account is `system:serviceaccount:NAMESPACE:NAME`.
        """
        for event in self.audited():
            if event["user"]["username"] == user and event["verb"] in WRITES:
                yield event

    def kubectl(self, *arguments: str | Path, text: str | None = None) -> str:
        """Run kubectl as administrator; see ControlPlane.kubectl."""
        return self.control_plane.kubectl(*arguments, text=text)

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Write a kubeconfig that has exactly the rights of this service account (a token for a day)."""
        token = self.kubectl("create", "token", name, f"--namespace={namespace}", "--duration=24h").strip()
        path = self.control_plane.folder / f"{namespace}.{name}.kubeconfig"
        return self.control_plane.pki.kubeconfig(path, self.control_plane.url, token=token)

    def stop(self) -> None:
        """End its processes; its files stay."""
        for program in PROGRAMS:
            self.control_plane.processes.stop(program, grace_seconds=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _control_plane(folder: Path, *, audit: bool) -> ControlPlane:
    port, client, peer = free_ports(3)
    return ControlPlane(
        folder=folder,
        processes=Processes(folder / "processes"),
        host=LOOPBACK,
        port=port,
        etcd_ports=(client, peer),
        audit_log=folder / "audit.log" if audit else None,
        # No endpoints for the `kubernetes` service: nobody in a pod will ask, and loopback is refused there.
        api_server_flags=("--endpoint-reconciler-type=none",),
        controller_flags=("--secure-port=0",),
    )
