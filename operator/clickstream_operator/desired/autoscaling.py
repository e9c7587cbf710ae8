"""HorizontalPodAutoscalers and the tracking API's PodDisruptionBudget.

The tracking API follows the load at once: a spike is gone before a slow autoscaler has noticed. Consumers go up and down
slowly, since each change moves partitions and makes everybody wait for a moment.
"""

from __future__ import annotations

from clickstream.contracts.durations import duration_ms
from clickstream_operator import naming
from clickstream_operator.desired.child import Manifest, metadata
from clickstream_operator.spec import Autoscaling, PipelineResource


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


def autoscaler(pipeline: PipelineResource, component: str, bounds: Autoscaling) -> Manifest:
    """On processor use, as a share of what is requested."""
    web = component == naming.TRACKING_API
    name = naming.workload(pipeline.name, component)
    window = min(3_600, duration_ms(bounds.scale_down_window) // 1_000)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(pipeline, name, component),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": bounds.min_replicas,
            "maxReplicas": bounds.max_replicas,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": bounds.target_cpu},
                    },
                }
            ],
            "behavior": {
                "scaleUp": _fast_up() if web else _slow_up(),
                "scaleDown": {
                    "stabilizationWindowSeconds": window,
                    "selectPolicy": "Max",
                    "policies": [
                        {"type": "Percent", "value": 50, "periodSeconds": 60}
                        if web
                        else {"type": "Pods", "value": 1, "periodSeconds": 120}
                    ],
                },
            },
        },
    }


def disruption_budget(pipeline: PipelineResource, component: str) -> Manifest:
    """Drains take one pod at a time; a single replica does not block them."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(pipeline, naming.workload(pipeline.name, component), component),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": naming.selector(pipeline.name, component)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
