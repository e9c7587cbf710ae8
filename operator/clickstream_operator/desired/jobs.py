"""Jobs that prepare topics and stores, and, when a pipeline is deleted with deletionPolicy Delete, that remove them.

A Job's template cannot change, so its name ends with a hash of it: whatever matters to the set-up makes a new Job, and
the old one is pruned. A Job ends within minutes, with the reason in its pod's termination message; a failed one is made
again by the reconciler.
"""

from __future__ import annotations

from typing import Any, Final

from clickstream_operator import naming
from clickstream_operator.desired.child import Manifest, metadata
from clickstream_operator.desired.pods import Process, pod_template
from clickstream_operator.facts import Facts
from clickstream_operator.spec import PipelineResource, PipelineSpec, Resources

COMPONENT: Final = "setup"
DROP_COMPONENT: Final = "drop"
WAIT_SECONDS: Final = 60
"""How long one try waits for a store that is away."""
_TRIES: Final = 3
_RESOURCES: Final = Resources(requests={"cpu": "50m", "memory": "128Mi"}, limits={"memory": "512Mi"})


def setup_job(
    pipeline: PipelineResource, spec: PipelineSpec, document: dict[str, Any], facts: Facts, what: str
) -> Manifest:
    """Installs or migrates `what` (`topics`, `elasticsearch`, `postgres`)."""
    return _job(pipeline, spec, document, facts, what, drop=False)


def drop_job(
    pipeline: PipelineResource, spec: PipelineSpec, document: dict[str, Any], facts: Facts, what: str
) -> Manifest:
    """Removes everything that the pipeline has in `what`."""
    return _job(pipeline, spec, document, facts, what, drop=True)


def _job(
    pipeline: PipelineResource, spec: PipelineSpec, document: dict[str, Any], facts: Facts, what: str, *, drop: bool
) -> Manifest:
    component = DROP_COMPONENT if drop else COMPONENT
    process = Process(
        component=component,
        container=component,
        arguments=("setup", what, "--timeout", str(WAIT_SECONDS), *(("--drop",) if drop else ())),
        resources=_RESOURCES,
        mounts_for=what,
        grace_seconds=30,
    )
    template = pod_template(pipeline, spec, document, facts, process)
    template["spec"]["restartPolicy"] = "Never"
    del template["spec"]["topologySpreadConstraints"]
    job_spec: Manifest = {
        "backoffLimit": _TRIES,
        "activeDeadlineSeconds": 1_800,
        "podFailurePolicy": {
            # Refused, wrong settings, somebody else's: asking again at once changes nothing.
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": component, "operator": "In", "values": [1, 2, 4]},
                }
            ]
        },
        "template": template,
    }
    name = naming.job(pipeline.name, component, what, naming.digest(job_spec))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(pipeline, name, component),
        "spec": job_spec,
    }
