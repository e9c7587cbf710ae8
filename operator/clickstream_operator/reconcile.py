"""One pass over one pipeline: read everything, work out what should be, make it so, say how it stands.

Level-based: a pass looks at what is, never at what has happened, so it may come at any time, be killed at any point,
and be missed. Blocking: the queue runs it in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from clickstream.contracts.topics import topics_of
from clickstream_operator import naming, status
from clickstream_operator.application import Application, Applied, Count
from clickstream_operator.cluster import Cluster, ClusterError
from clickstream_operator.deletion import Deletion
from clickstream_operator.desired import build
from clickstream_operator.desired.child import Child
from clickstream_operator.desired.tracking_api import url
from clickstream_operator.document import build_document, checked
from clickstream_operator.facts import Facts, Images
from clickstream_operator.health import job_state, topic_health
from clickstream_operator.observation import Observed, look_up, observe, pods_of
from clickstream_operator.spec import InvalidSpecError, PipelineResource, PipelineSpec, read_resource
from clickstream_operator.status import Condition
from clickstream_operator.verdicts import Verdicts

PROGRESS_SECONDS: Final = 2.0
"""Until the next look while something is on its way."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What came of a pass. `again_in` seconds, None: no more (the pipeline is gone). `news` are worth an Event."""

    again_in: float | None
    body: dict[str, Any] | None = None
    news: tuple[Condition, ...] = ()
    ready: bool = False


class Reconciler:
    """Makes passes. `clock` gives an aware datetime; `count` is told of each write."""

    def __init__(
        self,
        cluster: Cluster,
        images: Images,
        resync_seconds: float,
        count: Count,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._images = images
        self._resync_seconds = resync_seconds
        self._count = count
        self._clock = clock

    def run(self, namespace: str, name: str) -> Pass:
        """One pass. Raises ClusterError when the API server is away or refuses the status itself."""
        body = self._cluster.get(naming.KIND, namespace, name)
        if body is None:
            return Pass(None)
        pipeline = read_resource(body)
        if pipeline.deleting and naming.FINALIZER not in pipeline.finalizers:
            return Pass(None)  # its children go with it, by their owner references
        try:
            spec = pipeline.spec()
            if pipeline.deleting:
                conditions, topics = self._delete(pipeline, spec), None
                if conditions is None:
                    return Pass(None)
            else:
                self._hold_on(pipeline, spec)
                conditions, topics = self._converge(pipeline, spec)
            facts = {"trackingUrl": url(pipeline, spec)} | ({} if topics is None else {"topics": topics})
        except InvalidSpecError as error:
            conditions, facts = [Condition(status.READY, False, "InvalidSpec", str(error), severe=True)], {}
        except ClusterError as error:
            if error.status != 403:
                raise
            conditions, facts = [Condition(status.READY, False, "Forbidden", str(error), severe=True)], {}
        return self._tell(pipeline, body, conditions, facts)

    def _converge(self, pipeline: PipelineResource, spec: PipelineSpec) -> tuple[list[Condition], str]:
        document = checked(build_document(pipeline.namespace, pipeline.name, spec))
        strimzi = spec.kafka.strimzi
        facts = look_up(self._cluster, pipeline, spec, self._images)
        topics_namespace = None
        if strimzi is not None and facts.strimzi:
            topics_namespace = strimzi.namespace or pipeline.namespace
        observed = observe(self._cluster, pipeline, topics_namespace)
        children = build(pipeline, replace(facts, topics_ready=_topics_ready(build(pipeline, facts), observed)))
        applied = self._apply(pipeline, children, observed)
        verdicts = Verdicts(
            pipeline.name,
            spec,
            children,
            len(topics_of(document)),
            applied,
            lambda labels: pods_of(self._cluster, pipeline, labels),
        )
        return verdicts.conditions()

    def _apply(self, pipeline: PipelineResource, children: list[Child], observed: Observed) -> Applied:
        application = Application(self._cluster, pipeline, self._count, self._clock())
        applied = application.apply(children, observed)
        application.prune(children, observed, applied)
        return applied

    def _delete(self, pipeline: PipelineResource, spec: PipelineSpec) -> list[Condition] | None:
        """None once everything is removed and the finalizer with it."""
        if spec.deletion_policy == "Delete":
            facts: Facts = look_up(self._cluster, pipeline, spec, self._images)
            deletion = Deletion(self._cluster, pipeline, spec, facts, self._count, self._clock())
            waiting = deletion.step()
            if waiting is not None:
                return [waiting]
        self._let_go(pipeline)
        return None

    def _hold_on(self, pipeline: PipelineResource, spec: PipelineSpec) -> None:
        """The finalizer is there exactly while the user wants the data to go with the pipeline."""
        has = naming.FINALIZER in pipeline.finalizers
        if spec.deletion_policy == "Delete" and not has:
            self._set_finalizers(pipeline, [*pipeline.finalizers, naming.FINALIZER])
        elif spec.deletion_policy != "Delete" and has:
            self._let_go(pipeline)

    def _let_go(self, pipeline: PipelineResource) -> None:
        self._set_finalizers(pipeline, [each for each in pipeline.finalizers if each != naming.FINALIZER])

    def _set_finalizers(self, pipeline: PipelineResource, finalizers: list[str]) -> None:
        # With the version that was read: somebody else's finalizer is never lost.
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": pipeline.resource_version}}
        self._cluster.merge(naming.KIND, pipeline.namespace, pipeline.name, patch)
        self._count("patch", naming.KIND)

    def _tell(
        self, pipeline: PipelineResource, body: dict[str, Any], conditions: list[Condition], facts: dict[str, str]
    ) -> Pass:
        before = pipeline.status
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        after = status.next_status(before, conditions, pipeline.generation, now, facts)
        whole = next(each for each in conditions if each.type == status.READY)
        if len(conditions) == 1:  # the parts could not be looked at: what was said of them stands
            others = [each for each in before.get("conditions", []) if each["type"] != status.READY]
            after = dict(before) | after | {"conditions": [*others, *after["conditions"]]}
        if after != dict(before):
            try:
                self._cluster.merge(naming.KIND, pipeline.namespace, pipeline.name, {"status": after}, "status")
                self._count("patch", f"{naming.KIND}/status")
            except ClusterError as error:
                if error.status == 404:
                    return Pass(None)
                raise
        news = tuple(status.news(before, conditions))
        on_its_way = any(
            each.status is not True and not each.severe and each.reason != "Suspended" for each in conditions
        )
        again_in = min(PROGRESS_SECONDS, self._resync_seconds) if on_its_way else self._resync_seconds
        return Pass(again_in, body, news, whole.status is True)


def _topics_ready(children: list[Child], observed: Observed) -> bool:
    topics = [child for child in children if child.component == naming.TOPICS]
    if topics and topics[0].key[0] == "Job":
        job = observed.objects.get(topics[0].key)
        return job is not None and job_state(job) == "Complete"
    condition, _ = topic_health((child.key[2], observed.objects.get(child.key)) for child in topics)
    return condition.status is True
