"""What scales a component, a HorizontalPodAutoscaler or KEDA's ScaledObject, and the PodDisruptionBudget.

The tracking API follows the load at once: a spike would be over before a slow autoscaler reacts. Consumers scale
slowly, since each change moves partitions, and the whole group pauses meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from clickstream.contracts.durations import duration_ms
from clickstream_operator import naming
from clickstream_operator.components import consumers_of
from clickstream_operator.desired.child_object import Blocked, ChildObject, Manifest
from clickstream_operator.desired.context import Context
from clickstream_operator.spec import Autoscaling, ConsumerAutoscaling

_PAUSED_ANNOTATION: Final = "autoscaling.keda.sh/paused-replicas"


def autoscaler(
    context: Context, component: str, bounds: Autoscaling, blocked: Blocked | None, *, stopped: bool
) -> Iterator[ChildObject]:
    """The one that is wanted, if any. `blocked`: by what the component lacks, which its own condition tells."""
    held = None if blocked is None else replace(blocked, severe=False)
    if bounds.scaler == "HPA":
        manifest = _horizontal(context, component, bounds)
        yield ChildObject(manifest, naming.AUTOSCALING, held, needs_topics=True)
    elif bounds.scaler == "KEDA" and isinstance(bounds, ConsumerAutoscaling):
        manifest = _scaled_object(context, component, bounds, stopped=stopped)
        yield ChildObject(manifest, naming.AUTOSCALING, _keda_lacks(context, bounds) or held, needs_topics=True)


def _fast_up() -> Manifest:
    return {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 15},
            {"type": "Pods", "value": 4, "periodSeconds": 15},
        ],
    }


def _slow_up() -> Manifest:
    return {
        "stabilizationWindowSeconds": 30,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}],
    }


def _behavior(component: str, bounds: Autoscaling) -> Manifest:
    web = component == naming.TRACKING_API
    return {
        "scaleUp": _fast_up() if web else _slow_up(),
        "scaleDown": {
            "stabilizationWindowSeconds": min(3_600, duration_ms(bounds.scale_down_window) // 1_000),
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 50, "periodSeconds": 60}
                if web
                else {"type": "Pods", "value": 1, "periodSeconds": 120}
            ],
        },
    }


def _horizontal(context: Context, component: str, bounds: Autoscaling) -> Manifest:
    """On the user's own metrics, else on processor use, as a share of what is requested."""
    name = naming.workload(context.pipeline.name, component)
    target = {"type": "Utilization", "averageUtilization": bounds.target_cpu}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": context.metadata(name, component),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": bounds.min_replicas,
            "maxReplicas": bounds.max_replicas,
            "metrics": [dict(metric) for metric in bounds.metrics]
            or [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "behavior": _behavior(component, bounds),
        },
    }


def _scaled_object(context: Context, component: str, bounds: ConsumerAutoscaling, *, stopped: bool) -> Manifest:
    """On the records that wait in each of the consumer's topics. Paused, KEDA would else start what is stopped."""
    name = naming.workload(context.pipeline.name, component)
    consumer = next(each for each in consumers_of(context.parsed, context.spec) if each.component == component)
    meta = context.metadata(name, component)
    if stopped:
        meta["annotations"] = {_PAUSED_ANNOTATION: "0"}
    servers = ",".join(part.strip() for part in context.parsed.kafka.bootstrap_servers.split(","))
    reference = bounds.trigger_authentication_ref
    authentication = (
        {} if reference is None else {"authenticationRef": {"name": reference.name, "kind": reference.kind}}
    )
    triggers = [
        {
            "type": "kafka",
            "metadata": {
                "bootstrapServers": servers,
                "consumerGroup": consumer.group,
                "topic": topic.name,
                "lagThreshold": str(bounds.lag_threshold),
                "offsetResetPolicy": "earliest",
            },
            **authentication,
        }
        for topic in consumer.topics
    ]
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": meta,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicaCount": bounds.min_replicas,
            "maxReplicaCount": bounds.max_replicas,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(component, bounds)}},
            "triggers": triggers,
        },
    }


def _keda_lacks(context: Context, bounds: ConsumerAutoscaling) -> Blocked | None:
    if not context.inputs.keda:
        message = (
            "autoscaling.scaler is KEDA, and this cluster serves no ScaledObjects (keda.sh/v1alpha1): install KEDA"
        )
        return Blocked("KedaMissing", message)
    kafka = context.spec.kafka
    if bounds.trigger_authentication_ref is None and (kafka.tls is not None or kafka.authentication is not None):
        message = (
            "Kafka wants TLS or authentication, and KEDA has a client of its own: name a TriggerAuthentication "
            "(autoscaling.triggerAuthenticationRef)"
        )
        return Blocked("TriggerAuthenticationMissing", message)
    return None


def disruption_budget(context: Context, component: str) -> Manifest:
    """Drains take one pod at a time; a single replica does not block them."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": context.metadata(naming.workload(context.pipeline.name, component), component),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": context.selector(component)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
