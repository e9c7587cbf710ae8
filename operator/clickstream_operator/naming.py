"""Every name, label and selector of a pipeline's children. Topics and stores are named by clickstream.contracts.names.

Pipelines have at most 40 characters, so the longest child, `<40>-sink-elasticsearch`, fits a Service's 63.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

Key = tuple[str, str]
"""(namespace, name) of a pipeline."""

GROUP: Final = "clickstream.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "ClickstreamPipeline"
PLURAL: Final = "clickstreampipelines"

FIELD_MANAGER: Final = "clickstream-operator"
REPLICAS_MANAGER: Final = "clickstream-operator-replicas"
"""Owns a Deployment's `replicas` from when the operator lets go of the field until an autoscaler sets it."""
FINALIZER: Final = f"{GROUP}/delete-data"
PAUSED_ANNOTATION: Final = f"{GROUP}/paused"
"""On a pipeline, with the value `true`: nothing of it is changed meanwhile but its status."""
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
PIPELINE_LABEL: Final = f"{GROUP}/pipeline"
NAMESPACE_LABEL: Final = f"{GROUP}/namespace"
APPLIED_ANNOTATION: Final = f"{GROUP}/applied"
"""On each child: the hash of what was applied last, so that a field which is no longer wanted is noticed."""
KEEP_ANNOTATIONS: Final = {"argocd.argoproj.io/sync-options": "Prune=false,Delete=false"}
"""On children without owner that are data: Argo CD, should it take one for its own, leaves it alone all the same."""
REPLICAS_ANNOTATION: Final = f"{GROUP}/replicas-before-suspend"
"""On a Deployment of a suspended pipeline: the replicas that it had, and has again when the pipeline is resumed."""
CHECKSUM_ANNOTATION: Final = f"{GROUP}/checksum"
"""On pod templates: the hash of configuration and Secrets, so that a change rolls the pods."""

TRACKING_API: Final = "tracking-api"
ENRICHER: Final = "enricher"
ELASTICSEARCH: Final = "elasticsearch"
POSTGRES: Final = "postgres"
TOPICS: Final = "topics"
STORES: Final = (ELASTICSEARCH, POSTGRES)
DASHBOARDS: Final = "dashboards"
AUTOSCALING: Final = "autoscaling"
SETUP: Final = "setup"
DROP: Final = "drop"
CONFIGURATION: Final = "configuration"
NETWORK: Final = "network"

HTTP_ROUTE: Final = "HTTPRoute"
SCALED_OBJECT: Final = "ScaledObject"

HTTP_PORT: Final = 8080
OPS_PORT: Final = 9090


def sink(store: str) -> str:
    """Component of a store's sink."""
    return f"sink-{store}"


def workload(pipeline: str, component: str) -> str:
    """Deployment, Service, autoscaler, budget, Ingress and HTTPRoute of a component."""
    return f"{pipeline}-{component}"


def document(pipeline: str) -> str:
    """ConfigMap with the pipeline document."""
    return f"{pipeline}-pipeline"


def service_account(pipeline: str) -> str:
    """ServiceAccount of all pods; it may do nothing in Kubernetes."""
    return f"{pipeline}-clickstream"


def job(pipeline: str, verb: str, what: str, digest: str) -> str:
    """A Job's template cannot be changed, so each version is a Job of its own. `verb` is setup or drop.

    Its pods carry the name as a label, which has 63 characters, four of them for the number of a later attempt; the
    digest, being of the template, tells long names apart.
    """
    rest = f"-{verb}-{what}-{digest}"
    return pipeline[: 59 - len(rest)].rstrip("-") + rest


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


def unowned(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of a child that has no owner.

    Without the one by which Argo CD knows what belongs to an Application (its label tracking): it takes what has no
    owner for the Application's, and prunes what its repository does not hold.
    """
    return {name: value for name, value in labels.items() if name != "app.kubernetes.io/instance"}


def selector(pipeline: str, component: str) -> dict[str, str]:
    """As little as tells a component's pods from all others in the namespace; a selector can never be changed."""
    return {
        "app.kubernetes.io/name": "clickstream",
        "app.kubernetes.io/instance": pipeline,
        COMPONENT_LABEL: component,
    }


def digest(content: Any, length: int = 10) -> str:
    """A short hash of anything that JSON can hold, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def component_of(labels: Mapping[str, str] | None) -> str:
    """The component that an object with these labels belongs to; empty when they do not say."""
    return str((labels or {}).get(COMPONENT_LABEL, ""))


def selector_text(wanted: Mapping[str, str]) -> str:
    """Labels as the API's labelSelector parameter."""
    return ",".join(f"{key}={value}" for key, value in wanted.items())
