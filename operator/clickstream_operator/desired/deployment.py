"""A Deployment around a pod template.

`replicas` belongs to the autoscaler and is sent only while the pipeline is suspended: as 0. When the field is dropped
afterwards Kubernetes falls back to 1, from where the autoscaler takes it to its minimum.
"""

from __future__ import annotations

from clickstream_operator import naming
from clickstream_operator.desired.child import Manifest, metadata
from clickstream_operator.spec import PipelineResource


def deployment(pipeline: PipelineResource, component: str, template: Manifest, *, stopped: bool = False) -> Manifest:
    """`stopped`: no pods at all."""
    spec: Manifest = {
        "selector": {"matchLabels": naming.selector(pipeline.name, component)},
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 300,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": template,
    }
    if stopped:
        spec["replicas"] = 0
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(pipeline, naming.workload(pipeline.name, component), component),
        "spec": spec,
    }
