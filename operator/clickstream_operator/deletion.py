"""Removing a pipeline's data, for deletionPolicy Delete: stop what writes, drop topics, indices and schema, tidy up.

Each step looks at what is left and does the next thing; killed anywhere, it goes on from there. The children here have
no owner: the pipeline is being deleted, and the garbage collector would take them away under our hands.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from clickstream_operator import naming, status
from clickstream_operator.application import Application, Count
from clickstream_operator.cluster import LISTED, Cluster
from clickstream_operator.desired import build_drop
from clickstream_operator.desired.child import Child
from clickstream_operator.desired.jobs import COMPONENT as SETUP
from clickstream_operator.facts import Facts
from clickstream_operator.health import job_health, job_state
from clickstream_operator.observation import TOPIC_KIND, Observed, observe, pods_of
from clickstream_operator.spec import PipelineResource, PipelineSpec
from clickstream_operator.status import Condition

_WRITERS: Final = ("HorizontalPodAutoscaler", "Deployment")
_WAY_OUT: Final = f"to keep the data instead, set deletionPolicy to Retain or remove the finalizer {naming.FINALIZER}"


class Deletion:
    """One pass of the deletion of one pipeline."""

    def __init__(
        self,
        cluster: Cluster,
        pipeline: PipelineResource,
        spec: PipelineSpec,
        facts: Facts,
        count: Count,
        now: datetime,
    ) -> None:
        self._cluster = cluster
        self._pipeline = pipeline
        self._spec = spec
        self._facts = facts
        self._count = count
        self._now = now

    def step(self) -> Condition | None:
        """The next step; what is being waited for, or None when nothing is left. Raises ClusterError."""
        observed = observe(self._cluster, self._pipeline, self._topics_namespace())
        waiting = self._stop(observed) or self._drop(observed) or self._topics(observed)
        if waiting is None:
            self._tidy(observed)
        return waiting

    def _topics_namespace(self) -> str | None:
        strimzi = self._spec.kafka.strimzi
        return None if strimzi is None or not self._facts.strimzi else strimzi.namespace or self._pipeline.namespace

    def _stop(self, observed: Observed) -> Condition | None:
        """Nobody may write any more, or the data would come back."""
        for kind in _WRITERS:
            for live in observed.of_kind(kind):
                self._delete(kind, live)
        for job in observed.of_kind("Job"):
            if job["metadata"]["labels"].get("app.kubernetes.io/component") == SETUP:
                self._delete("Job", job)
        components = [naming.TRACKING_API, naming.ENRICHER, *(naming.sink(store) for store in self._spec.stores)]
        labels = naming.owned_by(self._pipeline.namespace, self._pipeline.name)
        left = [
            pod
            for pod in pods_of(self._cluster, self._pipeline, labels)
            if pod["metadata"]["labels"].get("app.kubernetes.io/component") in components
        ]
        if left or any(observed.of_kind(kind) for kind in _WRITERS):
            return _waiting("Stopping", f"{len(left)} pods are ending")
        return None

    def _drop(self, observed: Observed) -> Condition | None:
        children = [_without_owner(child) for child in build_drop(self._pipeline, self._facts)]
        applied = Application(self._cluster, self._pipeline, self._count, self._now).apply(children, observed)
        for failure in applied.failures.values():
            return _waiting(failure.reason, f"{failure.message}; {_WAY_OUT}", severe=True)
        for hold in applied.holds.values():
            return _waiting(hold.reason, f"{hold.message}; {_WAY_OUT}", severe=True)
        for child in children:
            if child.key[0] != "Job":
                continue
            job = applied.live.get(child.key)
            if job is None or job_state(job) != "Complete":
                pods = pods_of(self._cluster, self._pipeline, {"batch.kubernetes.io/job-name": child.key[2]})
                found = job_health(status.READY, child.component, job, pods)
                why = f"{found.message}; {_WAY_OUT}" if found.severe else f"data in {child.component} are being removed"
                return _waiting("DeletingData", why, severe=found.severe)
        return None

    def _topics(self, observed: Observed) -> Condition | None:
        topics = observed.of_kind(TOPIC_KIND)
        for topic in topics:
            self._delete(TOPIC_KIND, topic)
        if topics:
            return _waiting("DeletingTopics", f"{len(topics)} KafkaTopics are being removed by Strimzi")
        return None

    def _tidy(self, observed: Observed) -> None:
        for kind in LISTED:
            for live in observed.of_kind(kind):
                self._delete(kind, live)

    def _delete(self, kind: str, live: dict[str, Any]) -> None:
        meta = live["metadata"]
        if meta.get("deletionTimestamp") is None:
            self._cluster.delete(kind, meta["namespace"], meta["name"], uid=meta["uid"])
            self._count("delete", kind)


def _without_owner(child: Child) -> Child:
    meta = {name: value for name, value in child.manifest["metadata"].items() if name != "ownerReferences"}
    return replace(child, manifest=child.manifest | {"metadata": meta})


def _waiting(reason: str, message: str, *, severe: bool = False) -> Condition:
    return Condition(status.READY, False, reason, message, severe)
