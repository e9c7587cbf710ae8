"""Reading lists of Kubernetes resources, and what the restricted Pod Security Standard asks of their pods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Resource = dict[str, Any]


def of_kind(resources: list[Resource], kind: str) -> list[Resource]:
    """Those of one kind."""
    return [one for one in resources if one["kind"] == kind]


def one_of_kind(resources: list[Resource], kind: str) -> Resource:
    """The only one of a kind."""
    (found,) = of_kind(resources, kind)
    return found


def pods(resources: list[Resource]) -> Iterator[tuple[str, Resource]]:
    """Name of the owner, and the pod's spec, of everything that runs pods."""
    for one in resources:
        name = f"{one['kind']}/{one['metadata']['name']}"
        match one["kind"]:
            case "Pod":
                yield name, one["spec"]
            case "Deployment" | "StatefulSet" | "DaemonSet" | "Job":
                yield name, one["spec"]["template"]["spec"]


def restricted_violations(pod: Resource) -> list[str]:
    """What the standard forbids in a pod's spec; empty when it is admitted."""
    found = []
    whole = pod.get("securityContext", {})
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        own = container.get("securityContext", {})
        checks = {
            "allowPrivilegeEscalation must be false": own.get("allowPrivilegeEscalation") is False,
            "all capabilities must be dropped": own.get("capabilities", {}).get("drop") == ["ALL"],
            "no capability may be added": not own.get("capabilities", {}).get("add"),
            "it must not be privileged": not own.get("privileged"),
            "runAsNonRoot must be true": own.get("runAsNonRoot", whole.get("runAsNonRoot")) is True,
            "runAsUser must not be 0": own.get("runAsUser", whole.get("runAsUser")) != 0,
            "seccompProfile must be RuntimeDefault": own.get("seccompProfile", whole.get("seccompProfile", {})).get(
                "type"
            )
            == "RuntimeDefault",
            "no host port": not any("hostPort" in port for port in container.get("ports", [])),
        }
        found += [f"{container['name']}: {text}" for text, holds in checks.items() if not holds]
    found += [f"{key} is forbidden" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    found += [
        f"volume {volume['name']}" for volume in pod.get("volumes", []) if not (volume.keys() - {"name"}) <= allowed
    ]
    return found
