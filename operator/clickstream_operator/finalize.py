"""What a finalizer is for: removing a pipeline's data (deletionPolicy Delete), and stopping that when it is taken back.

Each step looks at what is left and does the next thing; killed anywhere, it goes on from there. The children here have
no owner: the pipeline is being deleted, and the garbage collector would delete them before they are done.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from clickstream_operator import naming, status
from clickstream_operator.apply import Applier
from clickstream_operator.attempts import attempts
from clickstream_operator.cluster import LISTED, Cluster, ClusterError
from clickstream_operator.desired import DROP, build
from clickstream_operator.desired.child_object import ChildObject, Manifest, is_going
from clickstream_operator.desired.context import Context
from clickstream_operator.desired.kafka_topics import KIND as KAFKA_TOPIC
from clickstream_operator.health import job_health, job_state
from clickstream_operator.observe import Observed, observe, observe_everywhere, pods_of
from clickstream_operator.rewrites import Rewrites
from clickstream_operator.spec import PipelineResource
from clickstream_operator.status import Condition
from clickstream_operator.topics import deletion_trouble

_WRITERS: Final = ("HorizontalPodAutoscaler", "Deployment")
_WAY_OUT: Final = "to keep what is left, set deletionPolicy to Retain"
_UNMANAGED: Final = {"metadata": {"annotations": {"strimzi.io/managed": "false"}}}


class Finalizer:
    """For one pass over one pipeline that is being deleted with its data. `now`: aware datetime."""

    def __init__(self, cluster: Cluster, context: Context, now: datetime, rewrites: Rewrites) -> None:
        self._cluster = cluster
        self._context = context
        self._now = now
        self._applier = Applier(cluster, context.pipeline, rewrites)

    def step(self) -> Condition | None:
        """Do the next step; what is being waited for, or None when nothing is left. Raises ClusterError."""
        pipeline, namespace = self._context.pipeline, self._context.topics_namespace
        if namespace is None:
            observed = observe(self._cluster, pipeline, None)
        else:
            observed = observe_everywhere(self._cluster, pipeline, namespace)
        waiting = (
            self._stop(observed)
            or self._drop(observed, self._context.spec.stores)
            # Strimzi first, which would make again what is deleted under it; then consumer groups, and topics that it
            # does not manage.
            or self._delete_topics(observed)
            or self._drop(observed, [*self._context.spec.stores, naming.TOPICS])
        )
        if waiting is None:
            delete_children(self._cluster, observed)
        return waiting

    def _stop(self, observed: Observed) -> Condition | None:
        """Nothing may write any more, or the data would come back."""
        writers = [live for kind in _WRITERS for live in observed.of_kind(kind)]
        setups = [job for job in observed.of_kind("Job") if _component(job) == naming.SETUP]
        for live in (*writers, *setups):
            _delete(self._cluster, live)
        components = [
            naming.TRACKING_API,
            naming.ENRICHER,
            *(naming.sink(store) for store in self._context.spec.stores),
        ]
        left = _pods(self._cluster, self._context.pipeline, components)
        return _waiting("Stopping", f"waiting for {len(left)} pods to terminate") if left or writers else None

    def _drop(self, observed: Observed, targets: Collection[str]) -> Condition | None:
        """Run the Jobs that remove the data in these stores (`topics` is one), and wait for each."""
        wanted = attempts(map(_without_owner, build(self._context, DROP)), observed.objects, self._now)
        children = [child for child in wanted.desired if child.key.kind != "Job" or child.component in targets]
        applied = self._applier.apply(children, observed, topics_ready=True)
        drops = {key: live for key, live in observed.objects.items() if _is_drop_job(live)}
        self._applier.prune(wanted.desired, Observed(drops), applied, wanted.kept)
        obstacle = next(iter([*applied.failures.values(), *applied.blocked.values()]), None)
        if obstacle is not None:
            return _waiting(obstacle.reason, f"{obstacle.message}; {_WAY_OUT}", severe=True)
        for child in children:
            if child.key.kind != "Job":
                continue
            job = applied.live.get(child.key)
            if job is None or job_state(job) != "Complete":
                pods = pods_of(self._cluster, self._context.pipeline, {"batch.kubernetes.io/job-name": child.key.name})
                found = job_health(status.READY, child.component, job, pods)
                why = f"{found.message}; {_WAY_OUT}" if found.severe else f"data in {child.component} are being removed"
                return _waiting("DeletingData", why, severe=found.severe)
        return None

    def _delete_topics(self, observed: Observed) -> Condition | None:
        topics = observed.of_kind(KAFKA_TOPIC)
        for topic in topics:
            _delete(self._cluster, topic)
        if not topics:
            return None
        where = ", ".join(sorted({topic["metadata"]["namespace"] for topic in topics}))
        message = f"waiting for Strimzi's Topic Operator to remove {len(topics)} KafkaTopics in {where}"
        trouble = next(filter(None, map(deletion_trouble, topics)), None)
        if trouble is not None:
            return _waiting("DeletingTopics", f"{message}: {trouble}; {_WAY_OUT}", severe=True)
        return _waiting("DeletingTopics", message)


def keep_data(cluster: Cluster, pipeline: PipelineResource) -> Condition | None:
    """Stop a removal of data that is under way, and remove what was made for it; what is being waited for, or None.

    For a pipeline that is being deleted and asks for nothing to be removed, or no longer. Raises ClusterError.
    """
    observed = observe(cluster, pipeline, None)
    jobs = [job for job in observed.of_kind("Job") if _component(job) == naming.DROP]
    for job in jobs:
        _delete(cluster, job)
    pods = [pod for pod in _pods(cluster, pipeline, [naming.DROP]) if not _has_ended(pod)]
    if jobs or pods:
        message = (
            "the data are to be kept: waiting for the Jobs that remove them to stop; what is removed already is lost"
        )
        return _waiting("KeepingData", message)
    if cluster.serves(KAFKA_TOPIC):
        for topic in observe_everywhere(cluster, pipeline, _topics_namespace(pipeline)).of_kind(KAFKA_TOPIC):
            if is_going(topic):
                # Strimzi has not come to it: it lets go of an unmanaged resource, and leaves the topic.
                _keep_topic(cluster, topic)
    delete_children(cluster, observed)
    return None


def data_kept(body: Mapping[str, Any]) -> Condition | None:
    """What to say of a pipeline that is gone with its data left, though `deletionPolicy` asks for their removal.

    It was deleted before the operator could put the finalizer on it.
    """
    asked = isinstance(body.get("spec"), Mapping) and body["spec"].get("deletionPolicy") == "Delete"
    if not asked or body["metadata"].get("deletionTimestamp"):  # which it has if it ever waited for a finalizer
        return None
    message = (
        f"deleted before the operator had put the finalizer {naming.FINALIZER} on it: its topics, indices and tables "
        "are kept, though deletionPolicy is Delete; to remove them, apply the pipeline again, wait for the finalizer, "
        "and delete it"
    )
    return Condition(status.READY, False, "DataKept", message, severe=True)


def remove_orphans(cluster: Cluster, namespace: str, name: str) -> tuple[Condition, ...]:
    """Stop Jobs that remove the data of a pipeline which is gone: somebody has removed its finalizer. What to log."""
    labels = naming.owned_by(namespace, name)
    try:
        jobs = cluster.list("Job", namespace, labels | {"app.kubernetes.io/component": naming.DROP})
        if not any(_is_orphan(job) for job in jobs):
            return ()
        for kind in LISTED:
            for live in cluster.list(kind, namespace, labels):
                if _is_orphan(live):
                    _delete(cluster, live | {"kind": kind})
    except ClusterError as error:
        if error.status != 403:
            raise
        return ()
    message = (
        f"the finalizer {naming.FINALIZER} was removed by hand while data were being removed: the Jobs are stopped; "
        "what they had removed is lost"
    )
    return (Condition(status.READY, False, "FinalizerRemoved", message, severe=True),)


def delete_children(cluster: Cluster, observed: Observed) -> None:
    """All that were found by label in the pipeline's namespace. Raises ClusterError."""
    for kind in LISTED:
        for live in observed.of_kind(kind):
            _delete(cluster, live)


def _delete(cluster: Cluster, live: Manifest) -> None:
    meta = live["metadata"]
    if not is_going(live):
        cluster.delete(live["kind"], meta["namespace"], meta["name"], uid=meta["uid"])


def _topics_namespace(pipeline: PipelineResource) -> str | None:
    """As the spec says, which may be invalid."""
    found: Any = pipeline.raw_spec
    for name in ("kafka", "strimzi", "namespace"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else None


def _keep_topic(cluster: Cluster, topic: Manifest) -> None:
    meta = topic["metadata"]
    try:
        cluster.merge(KAFKA_TOPIC, meta["namespace"], meta["name"], _UNMANAGED)
    except ClusterError as error:
        if error.status != 404:
            raise


def _pods(cluster: Cluster, pipeline: PipelineResource, components: Collection[str]) -> list[Manifest]:
    pods = pods_of(cluster, pipeline, naming.owned_by(pipeline.namespace, pipeline.name))
    return [pod for pod in pods if _component(pod) in components]


def _has_ended(pod: Manifest) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def _is_orphan(live: Manifest) -> bool:
    """Whether it is what `_without_owner` applied, and is not going already."""
    meta = live["metadata"]
    ours = naming.APPLIED_ANNOTATION in (meta.get("annotations") or {}) and not meta.get("ownerReferences")
    return ours and not is_going(live)


def _component(live: Manifest) -> str | None:
    found: str | None = live["metadata"]["labels"].get("app.kubernetes.io/component")
    return found


def _is_drop_job(live: Manifest) -> bool:
    return live["kind"] == "Job" and _component(live) == naming.DROP


def _without_owner(child: ChildObject) -> ChildObject:
    meta = {name: value for name, value in child.manifest["metadata"].items() if name != "ownerReferences"}
    meta["labels"] = naming.unowned(meta["labels"])
    return replace(child, manifest=child.manifest | {"metadata": meta})


def _waiting(reason: str, message: str, *, severe: bool = False) -> Condition:
    return Condition(status.READY, False, reason, message, severe)
