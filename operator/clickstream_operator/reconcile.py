"""One pass over one pipeline: read everything, work out what should be, make it so, write how it stands.

Level-based: a pass looks at what is, never at what has happened, so it may come at any time, be killed at any point,
and be missed. Blocking: the queue runs it in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any, Final

from clickstream_operator import naming, status
from clickstream_operator.apply import PAUSED, Applied, Applier
from clickstream_operator.at_rest import COUNTING_PASS_SECONDS, FULL_PASS_SECONDS, AtRest
from clickstream_operator.attempts import attempts
from clickstream_operator.backlog import CAUGHT_UP_SECONDS, Backlogs, Known
from clickstream_operator.cluster import Cluster, ClusterError
from clickstream_operator.components import consumers_of
from clickstream_operator.conditions import Conditions, failed_pass, stopped_consumers
from clickstream_operator.desired import build_confined
from clickstream_operator.desired.context import Context
from clickstream_operator.finalize import Finalizer, keep_data, remove_orphans
from clickstream_operator.inputs import Images
from clickstream_operator.naming import Key
from clickstream_operator.observe import Observed, look_up, observe, pods_of
from clickstream_operator.retention import Standing, standing
from clickstream_operator.rewrites import Rewrites
from clickstream_operator.scaling import scale_with_live
from clickstream_operator.spec import InvalidSpecError, PipelineResource, PipelineSpec, read_resource
from clickstream_operator.status import Condition, Report
from clickstream_operator.topics import reconcile_with_live, topics_ready
from clickstream_operator.turns import Turns
from clickstream_operator.watches import Watches

PROGRESS_SECONDS: Final = 2.0
"""Until the next pass while something is in progress."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a pass. `requeue_after` seconds, None: never, the pipeline is deleted.

    `body` is the pipeline as it was read; `transitions` are worth a log line, some an Event of it. `errors`: what made
    the pass fail, or a part of it. Their messages may quote a Secret. `unchanged`: there was nothing to look at.
    `report` None: it found nothing out.
    """

    requeue_after: float | None = None
    body: dict[str, Any] | None = None
    transitions: tuple[Condition, ...] = ()
    errors: tuple[Exception, ...] = ()
    unchanged: bool = False
    report: Report | None = None


class Reconciler:
    """Thread-safe, but for two passes over one pipeline at once. `clock` gives an aware datetime.

    `watches` spare the reads of what has not changed, if `changed` is called for what they tell. Without `backlogs` no
    consumer is asked how far behind it is. A new release changes `rollouts` pipelines at once.
    """

    def __init__(
        self,
        cluster: Cluster,
        images: Images,
        resync_seconds: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        watches: Watches | None = None,
        backlogs: Backlogs | None = None,
        rollouts: int = 1,
    ) -> None:
        self._cluster = cluster
        self._images = images
        self._resync_seconds = resync_seconds
        self._backlogs = backlogs
        self._clock = clock
        self._rewrites = Rewrites()
        self._watches = watches
        self._at_rest = AtRest(cluster, (lambda: False) if watches is None else watches.in_sync)
        self._turns = Turns(rollouts)
        self._release = f"{version('clickstream')}, {images.apps}"

    def changed(self, key: Key) -> None:
        """The pipeline or a child of it did."""
        self._at_rest.changed(key)

    def reconcile(self, namespace: str, name: str) -> Result:
        """One pass. It raises nothing: what fails is in the result, and in the status where that can be written."""
        key = namespace, name
        try:
            if self._at_rest.holds(key):
                if self._backlogs is not None:
                    self._backlogs.refresh(key)
                return Result(self._resync_seconds, unchanged=True)
            mark = self._at_rest.mark(key)
            body = self._cluster.get(naming.KIND, namespace, name)
            if body is None:
                self._forget(key)
                return Result(transitions=remove_orphans(self._cluster, namespace, name))
            pipeline = read_resource(body)
        except Exception as error:  # noqa: BLE001 - there is nothing to write a status to
            return Result(self._resync_seconds, errors=(error,))
        return self._look_at(pipeline, body, mark)

    def _look_at(self, pipeline: PipelineResource, body: dict[str, Any], mark: int | None) -> Result:
        """A pass that reads everything."""
        if pipeline.deleting and naming.FINALIZER not in pipeline.finalizers:
            self._forget(pipeline.key)
            return Result()  # its children are deleted with it, by their owner references
        try:
            if pipeline.deleting:
                return self._finalize(pipeline, body)
            spec = pipeline.spec()
            if not self._its_turn(pipeline):
                return Result(self._resync_seconds, body, report=Report(status.ready_before(pipeline.status)))
            report = self._converge(pipeline, spec, mark)
        except InvalidSpecError as error:
            report = Report(Condition(status.READY, False, "InvalidSpec", str(error), severe=True))
        except Exception as error:  # noqa: BLE001 - a pass never dies unseen
            report = failed_pass(error)
        try:
            return self._update_status(pipeline, body, report)
        except Exception as error:  # noqa: BLE001
            return Result(self._resync_seconds, body, errors=(*report.errors, error))

    def _forget(self, key: Key) -> None:
        if self._backlogs is not None:
            self._backlogs.forget(key)
        self._at_rest.forget(key)
        self._turns.done(key)

    def _its_turn(self, pipeline: PipelineResource) -> bool:
        """Whether what this release makes of the pipeline may be applied now."""
        before = pipeline.status
        touched = before.get("observedGeneration") != pipeline.generation
        if pipeline.paused or touched or before.get("release") == self._release:
            return True
        return self._turns.take(pipeline.key, was_ready=status.ready_before(before).status)

    def _converge(self, pipeline: PipelineResource, spec: PipelineSpec, mark: int | None) -> Report:
        if not pipeline.paused:
            self._ensure_finalizer(pipeline, wanted=spec.deletion_policy == "Delete")
        inputs = look_up(self._cluster, pipeline, spec, self._images)
        context = Context.of(pipeline, spec, inputs)
        if self._watches is not None and self._watches.include_topics(context.topics_namespace or pipeline.namespace):
            mark = None  # what changes before the first look of the new watch goes untold
        observed = observe(self._cluster, pipeline, context.topics_namespace)
        built = build_confined(context)
        names = context.parsed.names
        together = frozenset({names.raw_clicks, names.enricher_changelog})
        now = self._clock()
        tried = attempts(built.children, observed.objects, now)
        kept = self._standing(context, observed, now)
        scaled = scale_with_live(tried.desired, observed.objects, kept.behind)
        desired = reconcile_with_live(scaled, observed.objects, together)
        ready = naming.TOPICS not in built.failures and topics_ready(desired, observed.objects)
        applier = Applier(self._cluster, pipeline, self._rewrites)
        applied = applier.apply(desired, observed, topics_ready=ready)
        if not built.failures:  # else what is not desired may only be unknown
            applier.prune(desired, observed, applied, tried.kept)
        pods = partial(pods_of, self._cluster, pipeline)
        report = Conditions(context, desired, applied, built.failures, pods, kept).report()
        self._settle(context, mark, report, kept, applied)
        if report.ready.status:
            self._turns.done(pipeline.key)
        if pipeline.paused:
            before = {name: pipeline.status[name] for name in ("release",) if name in pipeline.status}
            return _paused(replace(report, fields={**report.fields, **before}))
        return replace(report, fields={**report.fields, "release": self._release})

    def _settle(self, context: Context, mark: int | None, report: Report, kept: Standing, applied: Applied) -> None:
        """The next passes need not look at everything where this one found nothing to do and nothing to wait for."""
        inputs = context.inputs
        versions = dict(inputs.versions)
        for key, live in applied.live.items():
            if key.kind == "Secret":
                versions[key.name] = live["metadata"]["resourceVersion"]
        level = context.spec.suspend or all(seconds < CAUGHT_UP_SECONDS for seconds in kept.behind.values())
        served = inputs.strimzi and inputs.gateway and inputs.keda  # no watch tells of a kind that comes
        settled = report.at_rest and level and served and not applied.written
        # Elsewhere a watch tells, or nothing changes: a missing metrics-server does not cost a full pass a minute.
        counting = not report.ready.status or (kept.condition is not None and not kept.condition.status)
        seconds = COUNTING_PASS_SECONDS if counting else FULL_PASS_SECONDS
        self._at_rest.settle(context.pipeline.key, mark if settled else None, versions, seconds)

    def _standing(self, context: Context, observed: Observed, now: datetime) -> Standing:
        pipeline, consumers = context.pipeline, consumers_of(context.parsed, context.spec)
        stopped = stopped_consumers(consumers, pipeline, observed.objects)
        running = [each for each in consumers if each.component not in stopped]
        known = Known() if self._backlogs is None else self._backlogs.known(pipeline.key, running)
        return standing(consumers, known, stopped, pipeline.status, now)

    def _finalize(self, pipeline: PipelineResource, body: dict[str, Any]) -> Result:
        """Remove the data if that is asked for, then the finalizer."""
        told: tuple[Condition, ...] = ()
        try:
            spec = pipeline.spec()
            if spec.deletion_policy == "Delete":
                waiting = self._remove_data(pipeline, spec)
            else:
                waiting = keep_data(self._cluster, pipeline)
        except InvalidSpecError as error:
            # It does not say what to remove, and must not keep the pipeline and its namespace for ever.
            waiting = keep_data(self._cluster, pipeline)
            message = f"the pipeline is deleted without removing its data: {error}"
            told = (Condition(status.READY, False, "InvalidSpec", message, severe=True),)
        if waiting is not None:
            return self._update_status(pipeline, body, Report(waiting))
        self._remove_finalizer(pipeline)
        return Result(None, body, told)

    def _remove_data(self, pipeline: PipelineResource, spec: PipelineSpec) -> Condition | None:
        """None when nothing is left to remove."""
        context = Context.of(pipeline, spec, look_up(self._cluster, pipeline, spec, self._images))
        return Finalizer(self._cluster, context, self._clock(), self._rewrites).step()

    def _ensure_finalizer(self, pipeline: PipelineResource, *, wanted: bool) -> None:
        """The finalizer is there exactly while the user wants the data to be deleted with the pipeline."""
        if wanted and naming.FINALIZER not in pipeline.finalizers:
            self._set_finalizers(pipeline, [*pipeline.finalizers, naming.FINALIZER])
        elif not wanted and naming.FINALIZER in pipeline.finalizers:
            self._remove_finalizer(pipeline)

    def _remove_finalizer(self, pipeline: PipelineResource) -> None:
        self._set_finalizers(pipeline, [each for each in pipeline.finalizers if each != naming.FINALIZER])

    def _set_finalizers(self, pipeline: PipelineResource, finalizers: list[str]) -> None:
        # With the version that was read: nobody else's finalizer is ever lost.
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": pipeline.resource_version}}
        self._cluster.merge(naming.KIND, pipeline.namespace, pipeline.name, patch)

    def _update_status(self, pipeline: PipelineResource, body: dict[str, Any], report: Report) -> Result:
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        after = status.next_status(pipeline.status, report, pipeline.generation, now)
        if after != dict(pipeline.status):
            gone = dict.fromkeys(pipeline.status.keys() - after.keys())  # a merge patch removes what is null
            patch = {"status": after | gone}
            try:
                self._cluster.merge(naming.KIND, pipeline.namespace, pipeline.name, patch, "status")
            except ClusterError as error:
                if error.status == 404:
                    return Result()
                raise
        requeue_after = min(PROGRESS_SECONDS, self._resync_seconds) if report.in_progress else self._resync_seconds
        transitions = tuple(status.transitions(pipeline.status, report.conditions))
        return Result(requeue_after, body, transitions, report.errors, report=report)


def _paused(report: Report) -> Report:
    """The same, with a reason that says that nothing is done about it."""
    message = f"paused by the annotation {naming.PAUSED_ANNOTATION}, nothing is applied: {report.ready.message}"
    return replace(report, ready=replace(report.ready, reason=PAUSED, message=message, severe=True))
