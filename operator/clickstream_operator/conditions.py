"""The conditions of a pass: how each part of the pipeline stands after the children were applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from clickstream.contracts.topics import topics_of
from clickstream_operator import naming, status
from clickstream_operator.apply import Applied
from clickstream_operator.autoscalers import at_maximum, is_active, lacks_requests, trouble
from clickstream_operator.cluster import ClusterError
from clickstream_operator.components import Consumer, consumers_of, scaled_components
from clickstream_operator.desired.child_object import ChildKey, ChildObject, Manifest
from clickstream_operator.desired.context import Context
from clickstream_operator.desired.kafka_topics import KIND as KAFKA_TOPIC
from clickstream_operator.desired.service import url
from clickstream_operator.failures import describe
from clickstream_operator.health import dashboards_health, deployment_health, job_health
from clickstream_operator.retention import Standing
from clickstream_operator.spec import PipelineResource
from clickstream_operator.status import Condition, Figures, Report
from clickstream_operator.topics import topic_health

Pods = Callable[[Mapping[str, str]], list[Manifest]]
"""The pods with these labels; called only where something is not well."""

CONFIGURATION: Final = "Configuration"
INTERNAL_ERROR: Final = "InternalError"
_COMPONENTS: Final = {
    naming.TOPICS: status.TOPICS,
    naming.ELASTICSEARCH: status.STORES,
    naming.POSTGRES: status.STORES,
    naming.TRACKING_API: status.TRACKING,
    naming.ENRICHER: status.ENRICHER,
    naming.sink(naming.ELASTICSEARCH): status.SINKS,
    naming.sink(naming.POSTGRES): status.SINKS,
    naming.DASHBOARDS: status.DASHBOARDS,
    naming.AUTOSCALING: status.AUTOSCALING,
}


def stopped_consumers(
    consumers: Iterable[Consumer], pipeline: PipelineResource, live: Mapping[ChildKey, Manifest]
) -> dict[str, str | None]:
    """Consumers without a pod that is ready, and since when their part has not been ready, where the status says so."""
    since = {
        each["type"]: each["lastTransitionTime"]
        for each in pipeline.status.get("conditions", [])
        if each["status"] == "False"
    }
    found: dict[str, str | None] = {}
    for consumer in consumers:
        name = naming.workload(pipeline.name, consumer.component)
        there = live.get(ChildKey("Deployment", pipeline.namespace, name))
        if there is not None and not (there.get("status") or {}).get("readyReplicas"):
            found[consumer.component] = since.get(_COMPONENTS[consumer.component])
    return found


def failed_pass(error: Exception) -> Report:
    """What a pass says that `error` has ended."""
    if not isinstance(error, ClusterError):
        return Report(_internal_error(status.READY, error), errors=(error,))
    if error.status == 403:
        return Report(Condition(status.READY, False, "Forbidden", str(error), severe=True))
    if error.status == 409:
        found = Condition(status.READY, False, "Changed", "the pipeline was changed meanwhile, and is looked at again")
    elif error.transient:
        message = f"the API server did not answer all that was asked, and is asked again: {error}"
        found = Condition(status.READY, False, status.BUSY, message)
    else:
        found = Condition(status.READY, False, "ApiServerRefused", str(error), severe=True)
    return Report(found, errors=(error,))


def _internal_error(kind: str, error: Exception) -> Condition:
    message = f"the operator failed: {describe(error)}; its log has the whole way there. Please report it"
    return Condition(kind, False, INTERNAL_ERROR, message, severe=True)


class Conditions:
    """Of one pipeline, after one pass over its children."""

    def __init__(
        self,
        context: Context,
        desired: tuple[ChildObject, ...],
        applied: Applied,
        failures: Mapping[str, Exception],
        pods: Pods,
        standing: Standing,
    ) -> None:
        self._context = context
        self._desired = desired
        self._applied = applied
        self._failures = failures
        self._pods = pods
        self._standing = standing
        self._components = scaled_components(context.spec)
        self._errors = list(failures.values())

    def report(self) -> Report:
        """The condition of each part and of the whole, the count of topics (`4/5`) and the tracking API's URL."""
        suspended, stores = self._context.spec.suspend, self._context.spec.stores
        count = ""

        def topics() -> Condition:
            nonlocal count
            condition, count = self._topics()
            return condition

        def stores_ready() -> Condition:
            return status.worst(status.STORES, [self._job(status.STORES, store) for store in stores])

        def sinks() -> Condition:
            found = [self._deployment(status.SINKS, naming.sink(store), suspended=suspended) for store in stores]
            return status.worst(status.SINKS, found)

        parts = (
            self._confined(status.TOPICS, topics),
            self._confined(status.STORES, stores_ready),
            self._confined(
                status.TRACKING, lambda: self._deployment(status.TRACKING, naming.TRACKING_API, suspended=False)
            ),
            self._confined(
                status.ENRICHER, lambda: self._deployment(status.ENRICHER, naming.ENRICHER, suspended=suspended)
            ),
            self._confined(status.SINKS, sinks),
            self._confined(status.DASHBOARDS, self._dashboards),
        )
        ready = status.ready([*self._configuration(), *parts])
        warnings = [self._confined(status.AUTOSCALING, self._autoscaling)]
        if self._standing.condition is not None:
            warnings.append(self._standing.condition)
        fields = {"trackingUrl": url(self._context), "topics": count} | dict(self._standing.fields)
        return Report(ready, parts, fields, tuple(self._errors), tuple(warnings), self._figures())

    def _confined(self, kind: str, judge: Callable[[], Condition]) -> Condition:
        """A part that cannot be judged does not keep the others from it."""
        try:
            return judge()
        except ClusterError:
            raise
        except Exception as error:  # noqa: BLE001 - told by the condition
            self._errors.append(error)
            return _internal_error(kind, error)

    def _impeded(self, kind: str, component: str) -> Condition | None:
        """What kept the component from being applied."""
        if component in self._failures:
            return _internal_error(kind, self._failures[component])
        found = self._applied.failures.get(component) or self._applied.blocked.get(component)
        return None if found is None else Condition(kind, False, found.reason, found.message, found.severe)

    def _configuration(self) -> list[Condition]:
        """What is wrong with children that no part's condition speaks of."""
        components = dict.fromkeys([*self._failures, *self._applied.failures, *self._applied.blocked])
        found = [self._impeded(CONFIGURATION, each) for each in components if each not in _COMPONENTS]
        return [each for each in found if each is not None]

    def _topics(self) -> tuple[Condition, str]:
        impeded = self._impeded(status.TOPICS, naming.TOPICS)
        if impeded is not None and naming.TOPICS in self._failures:
            return impeded, ""
        if self._context.spec.kafka.strimzi is not None:
            keys = [child.key for child in self._desired if child.key.kind == KAFKA_TOPIC]
            condition, count = topic_health((key.name, self._applied.live.get(key)) for key in keys)
            # While a Job that compares them is at work again, topics that are there are as ready as before.
            comparison = self._health_of_job(status.TOPICS, naming.TOPICS)
            found = [each for each in (impeded, comparison if comparison.severe else None) if each is not None]
            return status.worst(status.TOPICS, [*found, self._with_namespace(condition)]), count
        condition, total = self._job(status.TOPICS, naming.TOPICS), len(topics_of(self._context.parsed))
        return condition, f"{total if condition.status else 0}/{total}"

    def _with_namespace(self, condition: Condition) -> Condition:
        """A warning where the topics would go with the pipeline's namespace, though they are to be retained."""
        namespace, spec = self._context.pipeline.namespace, self._context.spec
        if not condition.status or spec.deletion_policy != "Retain" or self._context.topics_namespace != namespace:
            return condition
        message = (
            f"{condition.message}; but their KafkaTopics are in the pipeline's own namespace: though deletionPolicy is "
            f"Retain, deleting the namespace {namespace} deletes the topics with their records"
        )
        return Condition(condition.type, True, "DeletedWithNamespace", message, severe=True)

    def _job(self, kind: str, what: str) -> Condition:
        impeded = self._impeded(kind, what)
        return self._health_of_job(kind, what) if impeded is None else impeded

    def _health_of_job(self, kind: str, what: str) -> Condition:
        key = self._key("Job", what)
        job = self._applied.live.get(key)
        condition = job_health(kind, what, job, [])
        if condition.status or job is None:
            return condition
        return job_health(kind, what, job, self._pods({"batch.kubernetes.io/job-name": key.name}))

    def _deployment(self, kind: str, component: str, *, suspended: bool) -> Condition:
        impeded = self._impeded(kind, component)
        if impeded is not None:
            return impeded
        live = self._applied.live.get(self._key("Deployment", component))
        condition = deployment_health(kind, live, [], suspended=suspended)
        if suspended or live is None or condition.reason == "Available":
            return condition
        return deployment_health(kind, live, self._pods(self._context.selector(component)), suspended=suspended)

    def _is_stopped(self, component: str) -> bool:
        """Whether it does not run because the pipeline is suspended."""
        return self._context.spec.suspend and component != naming.TRACKING_API

    def _autoscalers(self) -> dict[str, Manifest]:
        """By component, those of components that are meant to run, as they are."""
        desired = [child for child in self._desired if child.component == naming.AUTOSCALING]
        found = {naming.component_of(child.manifest["metadata"]["labels"]): child.key for child in desired}
        return {
            name: self._applied.live[key]
            for name, key in found.items()
            if key in self._applied.live and not self._is_stopped(name)
        }

    def _autoscaling(self) -> Condition:
        """What keeps components from being scaled; at their maximum they are, and that is only said."""
        found = self._autoscalers()
        worked_out = [self._scaling(name, scaler) for name, scaler in found.items()]
        impeded = self._impeded(status.AUTOSCALING, naming.AUTOSCALING)
        if impeded is not None:
            worked_out.append(impeded)
        if bad := [each for each in worked_out if not each.status]:
            return status.worst(status.AUTOSCALING, bad)
        told = next((each for each in worked_out if each.reason == "AtMaximum"), None)
        message = f"{len(found)} autoscalers are at work" if found else "there is no autoscaler"
        return told or Condition(status.AUTOSCALING, True, "Scaling", message)

    def _scaling(self, component: str, scaler: Manifest) -> Condition:
        if not is_active(scaler) and lacks_requests(scaler, self._components[component].resources):
            message = (
                f"{component}: its pods request no cpu, and the autoscaler goes by a share of what is requested: set "
                "resources.requests.cpu, or autoscaling.metrics"
            )
            return Condition(status.AUTOSCALING, False, "RequestsMissing", message, severe=True)
        if (told := trouble(scaler)) is not None:
            return Condition(status.AUTOSCALING, False, told[0], f"{component}: {told[1]}")
        if (told := at_maximum(scaler)) is not None:
            most = self._components[component].autoscaling.max_replicas
            message = f"{component} has its {most} replicas (autoscaling.maxReplicas), and its autoscaler wants more"
            return Condition(status.AUTOSCALING, True, "AtMaximum", message)
        return Condition(status.AUTOSCALING, True, "Scaling", f"{component} is scaled")

    def _figures(self) -> Figures:
        deployments = {
            child.component: self._applied.live.get(child.key)
            for child in self._desired
            if child.key.kind == "Deployment" and not self._is_stopped(child.component)
        }
        retention = {
            each.component: each.retention_seconds for each in consumers_of(self._context.parsed, self._context.spec)
        }
        return Figures(
            available={
                name: int((live.get("status") or {}).get("availableReplicas") or 0)
                for name, live in deployments.items()
                if live is not None
            },
            at_maximum={
                name: at_maximum(live) is not None
                for name, live in self._autoscalers().items()
                if live["kind"] == "HorizontalPodAutoscaler"
            },
            kept_until={name: since + retention[name] for name, since in self._standing.oldest.items()},
            retention=retention,
        )

    def _dashboards(self) -> Condition:
        impeded = self._impeded(status.DASHBOARDS, naming.DASHBOARDS)
        if impeded is not None:
            return impeded
        written = [c for c in self._desired if c.component == naming.DASHBOARDS and c.key.kind == "ConfigMap"]
        return dashboards_health(len(written), enabled=self._context.spec.dashboards.enabled)

    def _key(self, kind: str, component: str) -> ChildKey:
        return next(each.key for each in self._desired if each.component == component and each.key.kind == kind)
