"""The tracking API: its process, its Service and, where it is to be reached from outside, its Ingress."""

from __future__ import annotations

from typing import Final

from clickstream_operator import naming
from clickstream_operator.desired.child import Manifest, metadata
from clickstream_operator.desired.pods import Process
from clickstream_operator.spec import Ingress, PipelineResource, PipelineSpec

DRAIN_SECONDS: Final = 10
"""After SIGTERM a pod serves on for so long: its address is still being taken off the Service's endpoints."""
GRACE_SECONDS: Final = 60
"""Drain, then what has begun (20 s), then the producer's flush (5 s)."""

_SERVICE_PORT: Final = 80


def process(spec: PipelineSpec) -> Process:
    """What its pods run."""
    geoip = spec.enricher.geoip
    return Process(
        component=naming.TRACKING_API,
        container="tracking-api",
        arguments=("tracking-api",),
        resources=spec.tracking_api.resources,
        mounts_for=naming.TRACKING_API,
        env={"CLICKSTREAM_HTTP_PORT": str(naming.HTTP_PORT), "CLICKSTREAM_DRAIN_SECONDS": str(DRAIN_SECONDS)},
        port=("http", naming.HTTP_PORT),
        grace_seconds=GRACE_SECONDS,
        geoip_claim=None if geoip is None else geoip.claim_name,
    )


def service(pipeline: PipelineResource) -> Manifest:
    """Where clicks go within the cluster."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(pipeline, naming.workload(pipeline.name, naming.TRACKING_API), naming.TRACKING_API),
        "spec": {
            "type": "ClusterIP",
            "selector": naming.selector(pipeline.name, naming.TRACKING_API),
            "ports": [{"name": "http", "port": _SERVICE_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def ingress(pipeline: PipelineResource, wanted: Ingress) -> Manifest:
    """Where clicks go from outside: the whole host."""
    name = naming.workload(pipeline.name, naming.TRACKING_API)
    meta = metadata(pipeline, name, naming.TRACKING_API)
    if wanted.annotations:
        meta["annotations"] = dict(wanted.annotations)
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    spec: Manifest = {
        "rules": [
            {"host": wanted.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}},
        ]
    }
    if wanted.class_name is not None:
        spec["ingressClassName"] = wanted.class_name
    if wanted.tls_secret_name is not None:
        spec["tls"] = [{"hosts": [wanted.host], "secretName": wanted.tls_secret_name}]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": spec}


def url(pipeline: PipelineResource, spec: PipelineSpec) -> str:
    """Where clicks are sent to, for people."""
    wanted = spec.tracking_api.ingress
    if wanted is not None:
        return f"{'http' if wanted.tls_secret_name is None else 'https'}://{wanted.host}"
    return f"http://{naming.workload(pipeline.name, naming.TRACKING_API)}.{pipeline.namespace}.svc"
