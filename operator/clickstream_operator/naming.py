"""Every name, label and selector of a pipeline's children. Topics and stores are named by clickstream.contracts.names.

Pipelines have at most 40 characters, so the longest child, `<40>-sink-elasticsearch`, fits a Service's 63.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

GROUP: Final = "clickstream.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "ClickstreamPipeline"
PLURAL: Final = "clickstreampipelines"

FIELD_MANAGER: Final = "clickstream-operator"
FINALIZER: Final = f"{GROUP}/delete-data"
PIPELINE_LABEL: Final = f"{GROUP}/pipeline"
NAMESPACE_LABEL: Final = f"{GROUP}/namespace"
APPLIED_ANNOTATION: Final = f"{GROUP}/applied"
"""On each child: the hash of what was applied last, so that a field which is no longer wanted is noticed."""
CHECKSUM_ANNOTATION: Final = f"{GROUP}/checksum"
"""On pod templates: the hash of configuration and Secrets, so that a change rolls the pods."""

TRACKING_API: Final = "tracking-api"
ENRICHER: Final = "enricher"
ELASTICSEARCH: Final = "elasticsearch"
POSTGRES: Final = "postgres"
TOPICS: Final = "topics"
STORES: Final = (ELASTICSEARCH, POSTGRES)

HTTP_PORT: Final = 8080
OPS_PORT: Final = 9090


def sink(store: str) -> str:
    """Component of a store's sink."""
    return f"sink-{store}"


def workload(pipeline: str, component: str) -> str:
    """Deployment, Service, autoscaler, budget and Ingress of a component."""
    return f"{pipeline}-{component}"


def document(pipeline: str) -> str:
    """ConfigMap with the pipeline document."""
    return f"{pipeline}-pipeline"


def service_account(pipeline: str) -> str:
    """ServiceAccount of all pods; it may do nothing."""
    return f"{pipeline}-clickstream"


def job(pipeline: str, verb: str, what: str, digest: str) -> str:
    """A Job's template cannot be changed, so each version is a Job of its own. `verb` is setup or drop.

    Its pods carry the name as a label, which has 63 characters; the digest, being of the template, tells long names apart.
    """
    rest = f"-{verb}-{what}-{digest}"
    return pipeline[: 63 - len(rest)].rstrip("-") + rest


def dashboard(pipeline: str, uid: str) -> str:
    """ConfigMap of one dashboard."""
    return f"{pipeline}-dashboard-{uid}"


def datasources(pipeline: str) -> str:
    """Secret with Grafana's data sources."""
    return f"{pipeline}-grafana-datasources"


def owned_by(namespace: str, pipeline: str) -> dict[str, str]:
    """Labels that find all children of a pipeline, in whatever namespace."""
    return {PIPELINE_LABEL: pipeline, NAMESPACE_LABEL: namespace}


def labels(namespace: str, pipeline: str, component: str) -> dict[str, str]:
    """All labels of a child."""
    return selector(pipeline, component) | {
        "app.kubernetes.io/part-of": "clickstream",
        "app.kubernetes.io/managed-by": "clickstream-operator",
        **owned_by(namespace, pipeline),
    }


def selector(pipeline: str, component: str) -> dict[str, str]:
    """As little as tells a component's pods from all others in the namespace; a selector can never be changed."""
    return {
        "app.kubernetes.io/name": "clickstream",
        "app.kubernetes.io/instance": pipeline,
        "app.kubernetes.io/component": component,
    }


def digest(content: Any, length: int = 10) -> str:
    """A short hash of anything that JSON can hold, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def selector_text(wanted: Mapping[str, str]) -> str:
    """Labels as the API's labelSelector parameter."""
    return ",".join(f"{key}={value}" for key, value in wanted.items())
