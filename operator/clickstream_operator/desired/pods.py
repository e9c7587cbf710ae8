"""The pod template that all components share: the *restricted* Pod Security Standard, files, probes, placement.

Deliberately absent: anything that changes by itself. A template changes with the spec, the document's part of the
component and the referenced Secrets, and with nothing else, so that nothing else restarts a pod.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from clickstream_operator import document as documents
from clickstream_operator import mounts, naming
from clickstream_operator.desired.child import Manifest
from clickstream_operator.facts import Facts
from clickstream_operator.spec import PipelineResource, PipelineSpec, Resources

USER: Final = 10_001
"""The image's user (images/apps.Dockerfile)."""

_TMP_SIZE: Final = "256Mi"


@dataclass(frozen=True, slots=True)
class Process:
    """What differs from component to component. `mounts_for`: whose Secrets it needs (mounts.py).

    `started`: the path that answers 200 once the start is over, and for how many looks, two seconds apart, it may not.
    """

    component: str
    container: str
    arguments: tuple[str, ...]
    resources: Resources
    mounts_for: str
    env: dict[str, str] = field(default_factory=dict)
    port: tuple[str, int] | None = None
    grace_seconds: int = 60
    started: tuple[str, int] = ("/healthz", 60)
    geoip_claim: str | None = None


def pod_template(
    pipeline: PipelineResource, spec: PipelineSpec, document: dict[str, Any], facts: Facts, process: Process
) -> Manifest:
    """Metadata and spec of the pods of a component."""
    labels = naming.labels(pipeline.namespace, pipeline.name, process.component)
    keys = mounts.mounts_of(spec, process.mounts_for)
    checksum = naming.digest(
        {
            "document": documents.part_of(document, process.mounts_for),
            "secrets": [[*mount.key, facts.secrets.get(mount.key)] for mount in keys],
        },
        16,
    )
    return {
        "metadata": {"labels": labels, "annotations": {naming.CHECKSUM_ANNOTATION: checksum}},
        "spec": _pod_spec(pipeline, spec, facts, process, keys),
    }


def _pod_spec(
    pipeline: PipelineResource, spec: PipelineSpec, facts: Facts, process: Process, keys: list[mounts.Mount]
) -> Manifest:
    pod: Manifest = {
        "serviceAccountName": naming.service_account(pipeline.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": process.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": _spread(pipeline, process),
        "containers": [_container(spec, facts, process, keys)],
        "volumes": _volumes(pipeline, process, keys),
    }
    if facts.images.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in facts.images.pull_secrets]
    if spec.scheduling.node_selector:
        pod["nodeSelector"] = dict(spec.scheduling.node_selector)
    if spec.scheduling.tolerations:
        pod["tolerations"] = [dict(toleration) for toleration in spec.scheduling.tolerations]
    if spec.scheduling.priority_class_name is not None:
        pod["priorityClassName"] = spec.scheduling.priority_class_name
    return pod


def _container(spec: PipelineSpec, facts: Facts, process: Process, keys: list[mounts.Mount]) -> Manifest:
    env = {
        "CLICKSTREAM_PIPELINE": f"{documents.MOUNT}/{documents.FILE}",
        "CLICKSTREAM_LOG_LEVEL": spec.telemetry.log_level,
        **process.env,
    }
    if spec.telemetry.otlp_endpoint is not None:
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = spec.telemetry.otlp_endpoint
    container: Manifest = {
        "name": process.container,
        "image": spec.image or facts.images.apps,
        "imagePullPolicy": facts.images.pull_policy,
        "args": list(process.arguments),
        "env": [{"name": name, "value": value} for name, value in sorted(env.items())],
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
    if process.port is not None:
        name, number = process.port
        container["ports"] = [{"name": name, "containerPort": number, "protocol": "TCP"}]
        container |= _probes(name, *process.started)
    return container


def _resources(resources: Resources) -> Manifest:
    found: Manifest = {}
    if resources.requests:
        found["requests"] = {name: str(amount) for name, amount in resources.requests.items()}
    if resources.limits:
        found["limits"] = {name: str(amount) for name, amount in resources.limits.items()}
    return found


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


def _volumes(pipeline: PipelineResource, process: Process, keys: list[mounts.Mount]) -> list[Manifest]:
    found: list[Manifest] = [
        {"name": "pipeline", "configMap": {"name": naming.document(pipeline.name), "defaultMode": 0o444}},
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


def _spread(pipeline: PipelineResource, process: Process) -> list[Manifest]:
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": naming.selector(pipeline.name, process.component)},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
