"""Jobs that prepare topics and stores, and, when a pipeline is deleted with deletionPolicy Delete, that remove them.

A Job's template cannot change, so its name ends with a hash of it: whatever matters to the set-up makes a new Job, and
the old one is pruned. A Job ends within minutes, with the reason in its pod's termination message; a failed one is made
again by the reconciler.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clickstream_operator import naming
from clickstream_operator.desired.child_object import ChildObject, Manifest
from clickstream_operator.desired.context import Context
from clickstream_operator.desired.pods import Process, pod_template
from clickstream_operator.spec import Resources

WAIT_SECONDS: Final = 60
"""How long one try waits for a store that is away."""
_TRIES: Final = 3
_RESOURCES: Final = Resources(requests={"cpu": "50m", "memory": "128Mi"}, limits={"memory": "512Mi"})


def store_setup(context: Context, store: str) -> Iterator[ChildObject]:
    """The Job of a store that is wanted."""
    if store in context.spec.stores:
        yield setup_job(context, store)


def setup_job(context: Context, what: str) -> ChildObject:
    """Installs or migrates `what` (`topics`, `elasticsearch`, `postgres`)."""
    return _job(context, naming.SETUP, what, ("setup", what, "--timeout", str(WAIT_SECONDS)))


def comparison_job(context: Context) -> ChildObject:
    """Finds topics that are there with another number of partitions, before Strimzi is asked to make them."""
    arguments = ("setup", naming.TOPICS, "--timeout", str(WAIT_SECONDS), "--compare")
    return _job(context, naming.SETUP, naming.TOPICS, arguments)


def drop_jobs(context: Context) -> Iterator[ChildObject]:
    """One Job a store, and one for consumer groups and topics; each removes all of the pipeline there."""
    for what in (*context.spec.stores, naming.TOPICS):
        yield _job(context, naming.DROP, what, ("setup", what, "--timeout", str(WAIT_SECONDS), "--drop"))


def _job(context: Context, component: str, what: str, arguments: tuple[str, ...]) -> ChildObject:
    process = Process(
        component=component,
        container=component,
        arguments=arguments,
        resources=_RESOURCES,
        mounts_for=what,
        template=context.spec.jobs.pod_template,
        log_level=context.spec.jobs.log_level,
        grace_seconds=30,
    )
    template = pod_template(context, process)
    template["spec"]["restartPolicy"] = "Never"
    spec: Manifest = {
        "backoffLimit": _TRIES,
        "activeDeadlineSeconds": 1_800,
        "podFailurePolicy": {
            # Refused, wrong settings, another pipeline's data: a retry at once changes nothing.
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": component, "operator": "In", "values": [1, 2, 4]},
                }
            ]
        },
        "template": template,
    }
    name = naming.job(context.pipeline.name, component, what, naming.digest(spec))
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": context.metadata(name, component),
        "spec": spec,
    }
    return ChildObject(manifest, what, context.missing_mounts(what))
