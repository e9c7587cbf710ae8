"""The conditions of a pass: how each part of the pipeline stands after the children were applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from clickstream_operator import naming, status
from clickstream_operator.application import Applied
from clickstream_operator.desired.child import Child
from clickstream_operator.health import dashboards_health, deployment_health, job_health, topic_health
from clickstream_operator.spec import PipelineSpec
from clickstream_operator.status import Condition

Manifest = dict[str, Any]
Pods = Callable[[Mapping[str, str]], list[Manifest]]
"""The pods with these labels; asked for only where something is not well."""

CONFIGURATION: Final = "Configuration"
_COMPONENTS: Final = {
    naming.TOPICS: status.TOPICS,
    naming.ELASTICSEARCH: status.STORES,
    naming.POSTGRES: status.STORES,
    naming.TRACKING_API: status.TRACKING,
    naming.ENRICHER: status.ENRICHER,
    naming.sink(naming.ELASTICSEARCH): status.SINKS,
    naming.sink(naming.POSTGRES): status.SINKS,
    "dashboards": status.DASHBOARDS,
}


class Verdicts:
    """Judges the children of one pipeline, which has so many topics."""

    def __init__(
        self, name: str, spec: PipelineSpec, children: Iterable[Child], topics: int, applied: Applied, pods: Pods
    ) -> None:
        self._name = name
        self._topic_total = topics
        self._spec = spec
        self._children = list(children)
        self._applied = applied
        self._pods = pods

    def conditions(self) -> tuple[list[Condition], str]:
        """The condition of each part and of the whole, and the count of topics, `4/5`."""
        topics, count = self._topics()
        suspended = self._spec.suspend
        stores = [naming.sink(store) for store in self._spec.stores]
        parts = [
            topics,
            status.worst(status.STORES, [self._job(status.STORES, store) for store in self._spec.stores]),
            self._deployment(status.TRACKING, naming.TRACKING_API, suspended=False),
            self._deployment(status.ENRICHER, naming.ENRICHER, suspended=suspended),
            status.worst(status.SINKS, [self._deployment(status.SINKS, sink, suspended=suspended) for sink in stores]),
            self._dashboards(),
        ]
        whole = status.ready([*self._configuration(), *parts])
        return [*parts, whole], count

    def _impeded(self, kind: str, component: str) -> Condition | None:
        """What kept the component from being applied."""
        failure = self._applied.failures.get(component)
        if failure is not None:
            return Condition(kind, False, failure.reason, failure.message, severe=True)
        hold = self._applied.holds.get(component)
        if hold is not None:
            return Condition(kind, False, hold.reason, hold.message, severe=not hold.creation_only)
        return None

    def _configuration(self) -> list[Condition]:
        found = []
        for component, failure in self._applied.failures.items():
            if component not in _COMPONENTS:
                found.append(Condition(CONFIGURATION, False, failure.reason, failure.message, severe=True))
        return found

    def _topics(self) -> tuple[Condition, str]:
        impeded = self._impeded(status.TOPICS, naming.TOPICS)
        wanted = [child for child in self._children if child.component == naming.TOPICS]
        if self._spec.kafka.strimzi is not None:
            condition, count = topic_health((child.key[2], self._applied.live.get(child.key)) for child in wanted)
            return impeded or condition, count
        condition = impeded or self._job(status.TOPICS, naming.TOPICS)
        return condition, f"{self._topic_total if condition.status is True else 0}/{self._topic_total}"

    def _job(self, kind: str, what: str) -> Condition:
        impeded = self._impeded(kind, what)
        if impeded is not None:
            return impeded
        child = next(child for child in self._children if child.component == what and child.key[0] == "Job")
        job = self._applied.live.get(child.key)
        condition = job_health(kind, what, job, [])
        if condition.status is True or job is None:
            return condition
        return job_health(kind, what, job, self._pods({"batch.kubernetes.io/job-name": child.key[2]}))

    def _deployment(self, kind: str, component: str, *, suspended: bool) -> Condition:
        impeded = self._impeded(kind, component)
        if impeded is not None:
            return impeded
        key = next(c.key for c in self._children if c.component == component and c.key[0] == "Deployment")
        live = self._applied.live.get(key)
        condition = deployment_health(kind, live, [], suspended=suspended)
        if suspended or live is None or condition.reason == "Available":
            return condition
        pods = self._pods(naming.selector(self._name, component))
        return deployment_health(kind, live, pods, suspended=suspended)

    def _dashboards(self) -> Condition:
        impeded = self._impeded(status.DASHBOARDS, "dashboards")
        if impeded is not None:
            return impeded
        count = sum(1 for child in self._children if child.component == "dashboards" and child.key[0] == "ConfigMap")
        return dashboards_health(count, enabled=self._spec.dashboards.enabled)
