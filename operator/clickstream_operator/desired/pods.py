"""The pod template that all components share: the *restricted* Pod Security Standard, files, probes, placement.

A template changes with the spec, the document's part of the component and the referenced Secrets, and with nothing
else, so that nothing else restarts a pod.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Final

from clickstream_operator import document as documents
from clickstream_operator import mounts, naming
from clickstream_operator.desired.child_object import Manifest
from clickstream_operator.desired.context import Context
from clickstream_operator.quantities import less
from clickstream_operator.spec import PodTemplate, Resources, Scheduling

_TMP_SIZE: Final = "256Mi"


@dataclass(frozen=True, slots=True)
class Process:
    """What differs from component to component. `mounts_for`: whose Secrets it needs (mounts.py).

    `ports` are those that it listens on, by name; the kubelet asks the first. `template`, `log_level`: the user's.
    `started`: the path that answers 200 once the start is over, and for how many looks, two seconds apart, it may not.
    """

    component: str
    container: str
    arguments: tuple[str, ...]
    resources: Resources
    mounts_for: str
    template: PodTemplate
    log_level: str | None
    env: dict[str, str] = field(default_factory=dict)
    ports: tuple[tuple[str, int], ...] = ()
    grace_seconds: int = 60
    started: tuple[str, int] = ("/healthz", 60)
    geoip_claim: str | None = None


def pod_template(context: Context, process: Process) -> Manifest:
    """Metadata and spec of the pods of a component."""
    keys = mounts.mounts_of(context.spec, process.mounts_for)
    checksum = naming.digest(
        {
            "document": documents.part_of(context.document, process.mounts_for),
            "secrets": [[*mount.key, context.inputs.secrets.get(mount.key)] for mount in keys],
        },
        16,
    )
    return {
        # Where the user's and ours have a name in common, which the resource's rules refuse, ours stand.
        "metadata": {
            "labels": dict(process.template.metadata.labels) | context.labels(process.component),
            "annotations": dict(process.template.metadata.annotations) | {naming.CHECKSUM_ANNOTATION: checksum},
        },
        "spec": _pod_spec(context, process, keys),
    }


def _pod_spec(context: Context, process: Process, keys: list[mounts.Mount]) -> Manifest:
    template = process.template
    pod: Manifest = {
        "serviceAccountName": naming.service_account(context.pipeline.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": process.grace_seconds,
        "securityContext": _security(context.inputs.images.run_as_user),
        **({"topologySpreadConstraints": spread} if (spread := _spread(context, process)) else {}),
        "containers": [_container(context, process, keys)],
        "volumes": [*_volumes(context, process, keys), *(volume.shown() for volume in template.volumes)],
        **_placement(context.spec.scheduling, template),
    }
    pull_secrets = [*context.inputs.images.pull_secrets, *(ref.name for ref in context.spec.image_pull_secrets)]
    if pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in dict.fromkeys(pull_secrets)]
    return pod


def _security(user: int | None) -> Manifest:
    """The restricted standard. Without a user the platform chooses one, as OpenShift does."""
    found: Manifest = {"runAsNonRoot": True}
    if user is not None:
        found |= {"runAsUser": user, "runAsGroup": user, "fsGroup": user, "fsGroupChangePolicy": "OnRootMismatch"}
    return found | {"seccompProfile": {"type": "RuntimeDefault"}}


def _placement(scheduling: Scheduling, template: PodTemplate) -> Manifest:
    """Where the pods run: each as the component says, else as the pipeline does; what nobody says is left out."""

    def first(own: Any, shared: Any) -> Any:
        return shared if own is None else own

    found = {
        "affinity": template.affinity,
        "nodeSelector": first(template.node_selector, scheduling.node_selector),
        "tolerations": first(template.tolerations, scheduling.tolerations),
        "priorityClassName": first(template.priority_class_name, scheduling.priority_class_name),
    }
    return {name: copy.deepcopy(value) for name, value in found.items() if value}


def _container(context: Context, process: Process, keys: list[mounts.Mount]) -> Manifest:
    spec, images = context.spec, context.inputs.images
    env = {
        "CLICKSTREAM_PIPELINE": f"{documents.MOUNT}/{documents.FILE}",
        "CLICKSTREAM_LOG_LEVEL": process.log_level or spec.telemetry.log_level,
        **process.env,
    }
    if spec.telemetry.otlp_endpoint is not None:
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = spec.telemetry.otlp_endpoint
    container: Manifest = {
        "name": process.container,
        "image": spec.image or images.apps,
        "imagePullPolicy": images.pull_policy,
        "args": list(process.arguments),
        "env": [
            *({"name": name, "value": value} for name, value in sorted(env.items())),
            *(each.shown() for each in process.template.env if each.name not in env),
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": _resources(process.resources),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "pipeline", "mountPath": documents.MOUNT, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
        ],
    }
    if keys:
        container["volumeMounts"].append({"name": "secrets", "mountPath": mounts.ROOT, "readOnly": True})
    if process.geoip_claim is not None:
        container["volumeMounts"].append({"name": "geoip", "mountPath": documents.GEOIP_MOUNT, "readOnly": True})
    container["volumeMounts"] += [mount.shown() for mount in process.template.volume_mounts]
    if process.ports:
        container["ports"] = [
            {"name": name, "containerPort": number, "protocol": "TCP"} for name, number in process.ports
        ]
        container |= _probes(process.ports[0][0], *process.started)
    return container


def _resources(resources: Resources) -> Manifest:
    """Requests are no more than the limits: who gives limits alone has the resource's default requests."""
    limits = {name: str(amount) for name, amount in resources.limits.items()}
    requests = {name: str(amount) for name, amount in resources.requests.items()}
    capped = {name: limits[name] if less(limits.get(name), amount) else amount for name, amount in requests.items()}
    found = {"requests": capped, "limits": limits}
    return {name: amounts for name, amounts in found.items() if amounts}


def _probes(port: str, started: str, looks: int) -> Manifest:
    """Once it has started, half a minute without an answer is a restart."""

    def probe(path: str, period: int, failures: int) -> Manifest:
        return {
            "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
            "periodSeconds": period,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        }

    return {
        "startupProbe": probe(started, 2, looks),
        "livenessProbe": probe("/healthz", 10, 3),
        "readinessProbe": probe("/readyz", 3, 2),
    }


def _volumes(context: Context, process: Process, keys: list[mounts.Mount]) -> list[Manifest]:
    found: list[Manifest] = [
        {"name": "pipeline", "configMap": {"name": naming.document(context.pipeline.name), "defaultMode": 0o444}},
        {"name": "tmp", "emptyDir": {"sizeLimit": _TMP_SIZE}},
    ]
    if keys:
        sources = [
            {"secret": {"name": mount.key.secret, "items": [{"key": mount.key.key, "path": mount.path}]}}
            for mount in keys
        ]
        found.append({"name": "secrets", "projected": {"defaultMode": 0o440, "sources": sources}})
    if process.geoip_claim is not None:
        claim = {"claimName": process.geoip_claim, "readOnly": True}
        found.append({"name": "geoip", "persistentVolumeClaim": claim})
    return found


def _spread(context: Context, process: Process) -> list[Manifest]:
    """The user's constraints, else preferences; none for a Job, whose pods come one at a time."""
    own = {"labelSelector": {"matchLabels": context.selector(process.component)}}
    if process.template.topology_spread_constraints is not None or not process.ports:
        return [own | copy.deepcopy(each) for each in process.template.topology_spread_constraints or ()]
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            **own,
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
