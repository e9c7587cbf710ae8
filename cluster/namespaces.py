"""The node's namespaces for processes, mounts and network, held open by one process.

containerd, kubelet and kube-proxy make mounts, links, routes and rules that could not be told from the machine's
afterwards. In namespaces they never touch the machine, and all of them end with the first process, whatever happened
before. There is deliberately no route to the internet from inside; all images are local.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.build import binary, run
from cluster.processes import Processes
from devstack.errors import StartError
from devstack.process import ProcessId

LINK = "clickstream-e2e"  # on the machine's side; its peer is the node's eth0
# Networks for benchmarks of network devices (RFC 2544), which no real network uses.
MACHINE_ADDRESS, NODE_ADDRESS, LINK_BITS = "198.18.0.1", "198.18.0.2", 30
SERVICES, PODS = "198.18.64.0/18", "198.19.0.0/24"
SERVICE_ADDRESS, DNS_ADDRESS = (str(ipaddress.ip_network(SERVICES)[n]) for n in (1, 10))
CGROUPS = Path("/sys/fs/cgroup")
CGROUP = "clickstream-e2e"
# The machine's, for there is only one of each: kubelet sets them, `close` sets them back.
SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# Where containerd, the CNI library and kubelet put things, whatever they are told.
FIXED_PLACES = ("/run", "/var/lib/cni", "/var/lib/kubelet")
GONE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Those of the node whose folder is `home`."""

    home: Path

    @property
    def _outside(self) -> Processes:
        return Processes(self.home / "init")

    @property
    def inside(self) -> Processes:
        """Processes in the namespaces. Only while they are open."""
        return Processes(self.home / "processes", self._enter())

    def open(self) -> None:
        """Make them, with a link to the machine, and cgroups for the pods."""
        self._save_sysctls()
        for group in _cgroup_roots():
            (group / CGROUP).mkdir(exist_ok=True)
        apart = ["unshare", "--pid", "--mount", "--net", "--fork", "--mount-proc", "--kill-child"]
        parent = self._outside.start("unshare", [*apart, binary("pause")])
        self._outside.wait_for(lambda: _is_pause(parent), "namespaces", 10)
        self._outside.remember("init", parent.children()[0])
        self._hide_folders()
        self._connect()

    def close(self) -> None:
        """End all that is in them, and with it their mounts, links and rules; remove cgroups and settings."""
        for name in ("init", "unshare"):
            self._outside.stop(name, grace_seconds=0)
        self._outside.wait_for(lambda: not Path("/sys/class/net", LINK).exists(), "link gone", GONE_SECONDS)
        for root in _cgroup_roots():
            for group in sorted((root / CGROUP).rglob("*/"), reverse=True):
                group.rmdir()
            if (root / CGROUP).exists():
                (root / CGROUP).rmdir()
        made = self.home / "made"
        for folder in made.read_text(encoding="ascii").splitlines() if made.exists() else ():
            with suppress(FileNotFoundError):  # a `down` before this one did not come to its end
                Path(folder).rmdir()
        for saved in (self.home / "sysctls").glob("*"):
            Path("/proc/sys", saved.name.replace("+", "/")).write_text(
                saved.read_text(encoding="ascii"), encoding="ascii"
            )

    def holder(self) -> ProcessId | None:
        """Return the process that holds them open, if it is alive."""
        return self._outside.find("init")

    def _enter(self) -> tuple[str | Path, ...]:
        init = self.holder()
        if init is None:
            message = "the cluster is not up"
            raise StartError(message)
        return ("nsenter", f"--target={init.pid}", "--pid", "--mount", "--net", "--")

    def _hide_folders(self) -> None:
        """Redirect fixed paths of the programs to the node's folder, or to mounts that end with the namespaces."""
        logs, made = self.home / "var-log", self.home / "made"
        logs.mkdir()
        made.write_text(
            "".join(f"{folder}\n" for folder in FIXED_PLACES if not Path(folder).exists()), encoding="ascii"
        )
        for folder in FIXED_PLACES:
            Path(folder).mkdir(exist_ok=True)
            run([*self._enter(), "mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", folder])
        run([*self._enter(), "mount", "--bind", logs, "/var/log"])

    def _connect(self) -> None:
        init = self.holder()
        assert init is not None
        run(["ip", "link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", str(init.pid)])
        run(["ip", "address", "add", f"{MACHINE_ADDRESS}/{LINK_BITS}", "dev", LINK])
        run(["ip", "link", "set", LINK, "up"])
        node = [*self._enter(), "ip"]
        run([*node, "link", "set", "lo", "up"])
        run([*node, "address", "add", f"{NODE_ADDRESS}/{LINK_BITS}", "dev", "eth0"])
        run([*node, "link", "set", "eth0", "up"])
        # Without a route the kernel refuses to connect to a service before kube-proxy's rules can redirect it.
        run([*node, "route", "add", SERVICES, "dev", "eth0", "src", NODE_ADDRESS])
        for network in (SERVICES, PODS):  # people and tests on the machine reach services and pods
            run(["ip", "route", "add", network, "via", NODE_ADDRESS, "dev", LINK])
        for name in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
            run([*self._enter(), "sh", "-c", f"echo 1 > /proc/sys/{name}"])

    def _save_sysctls(self) -> None:
        folder = self.home / "sysctls"
        folder.mkdir(parents=True)
        for name in SYSCTLS:
            (folder / name.replace("/", "+")).write_text(
                Path("/proc/sys", name).read_text(encoding="ascii"), encoding="ascii"
            )


def _is_pause(parent: ProcessId) -> bool:
    """Whether the child has become the program: by then all namespaces are made."""
    return any(
        Path(f"/proc/{child.pid}/comm").read_text(encoding="ascii").strip() == "pause" for child in parent.children()
    )


def _cgroup_roots() -> list[Path]:
    """One hierarchy (version 2), or one a controller (version 1)."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [folder for folder in CGROUPS.iterdir() if (folder / "cgroup.procs").exists() and not folder.is_symlink()]
