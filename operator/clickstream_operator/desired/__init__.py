"""What should exist for a pipeline: `build` is the table of contents, one module a kind.

Pure: no clock, no cluster, never `status`. Fresh dicts each time; a member that is not wanted is left out, so that
server-side apply neither sets nor owns it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clickstream.contracts.pipeline import Pipeline
from clickstream_operator import mounts, naming
from clickstream_operator.desired import consumers, jobs, tracking_api
from clickstream_operator.desired.autoscaling import autoscaler, disruption_budget
from clickstream_operator.desired.child import Child, Hold
from clickstream_operator.desired.configuration import document_config_map, service_account
from clickstream_operator.desired.dashboards import dashboard_config_maps
from clickstream_operator.desired.datasources import datasources_secret
from clickstream_operator.desired.deployment import deployment
from clickstream_operator.desired.network import policies
from clickstream_operator.desired.pods import Process, pod_template
from clickstream_operator.desired.topics import kafka_topics
from clickstream_operator.document import build_document, checked
from clickstream_operator.facts import Facts
from clickstream_operator.spec import Autoscaling, PipelineResource, PipelineSpec

DASHBOARDS = "dashboards"


def build(pipeline: PipelineResource, facts: Facts) -> list[Child]:
    """Every child, in the order in which they are applied. Raises InvalidSpecError."""
    spec = pipeline.spec()
    document = build_document(pipeline.namespace, pipeline.name, spec)
    typed = checked(document)
    return [
        Child(service_account(pipeline), "configuration"),
        Child(document_config_map(pipeline, document), "configuration"),
        *_network(pipeline, spec),
        *_topics(pipeline, spec, document, typed, facts),
        *_setup(pipeline, spec, document, facts),
        *_tracking_api(pipeline, spec, document, facts),
        *_consumers(pipeline, spec, document, facts),
        *_dashboards(pipeline, spec, typed, facts),
    ]


def build_drop(pipeline: PipelineResource, facts: Facts) -> list[Child]:
    """The Jobs that remove a pipeline's data, and what their pods need. Raises InvalidSpecError."""
    spec = pipeline.spec()
    document = build_document(pipeline.namespace, pipeline.name, spec)
    checked(document)
    what = [*spec.stores, *([] if spec.kafka.strimzi is not None else [naming.TOPICS])]
    return [
        Child(service_account(pipeline), "configuration"),
        Child(document_config_map(pipeline, document), "configuration"),
        *_network(pipeline, spec),
        *(
            Child(jobs.drop_job(pipeline, spec, document, facts, part), part, _secrets_hold(spec, facts, part))
            for part in what
        ),
    ]


def _network(pipeline: PipelineResource, spec: PipelineSpec) -> Iterator[Child]:
    if spec.network_policies.enabled:
        yield from (Child(policy, "network") for policy in policies(pipeline, spec))


def _topics(
    pipeline: PipelineResource, spec: PipelineSpec, document: dict[str, Any], typed: Pipeline, facts: Facts
) -> Iterator[Child]:
    if spec.kafka.strimzi is None:
        hold = _secrets_hold(spec, facts, naming.TOPICS)
        yield Child(jobs.setup_job(pipeline, spec, document, facts, naming.TOPICS), naming.TOPICS, hold)
        return
    absent = Hold(
        "StrimziMissing", "this cluster serves no kafka.strimzi.io/v1 KafkaTopic: install Strimzi 1.0 or later"
    )
    for topic in kafka_topics(pipeline, typed, spec.kafka.strimzi):
        yield Child(topic, naming.TOPICS, None if facts.strimzi else absent, retained=True)


def _setup(pipeline: PipelineResource, spec: PipelineSpec, document: dict[str, Any], facts: Facts) -> Iterator[Child]:
    for store in spec.stores:
        hold = _secrets_hold(spec, facts, store)
        yield Child(jobs.setup_job(pipeline, spec, document, facts, store), store, hold)


def _tracking_api(
    pipeline: PipelineResource, spec: PipelineSpec, document: dict[str, Any], facts: Facts
) -> Iterator[Child]:
    process = tracking_api.process(spec)
    yield Child(tracking_api.service(pipeline), naming.TRACKING_API)
    yield from _workload(pipeline, spec, document, facts, process, spec.tracking_api.autoscaling, stopped=False)
    yield Child(disruption_budget(pipeline, naming.TRACKING_API), naming.TRACKING_API)
    if spec.tracking_api.ingress is not None:
        yield Child(tracking_api.ingress(pipeline, spec.tracking_api.ingress), naming.TRACKING_API)


def _consumers(
    pipeline: PipelineResource, spec: PipelineSpec, document: dict[str, Any], facts: Facts
) -> Iterator[Child]:
    parts: list[tuple[Process, Autoscaling]] = [(consumers.enricher(spec), spec.enricher.autoscaling)]
    parts += [(consumers.sink(spec, store), getattr(spec.sinks, store).autoscaling) for store in spec.stores]
    for process, bounds in parts:
        yield from _workload(pipeline, spec, document, facts, process, bounds, stopped=spec.suspend)


def _workload(
    pipeline: PipelineResource,
    spec: PipelineSpec,
    document: dict[str, Any],
    facts: Facts,
    process: Process,
    bounds: Autoscaling,
    *,
    stopped: bool,
) -> Iterator[Child]:
    component = process.component
    hold = _secrets_hold(spec, facts, process.mounts_for)
    if hold is None and not facts.topics_ready:
        hold = Hold("WaitingForTopics", "it starts when all topics are ready", creation_only=True)
    template = pod_template(pipeline, spec, document, facts, process)
    yield Child(deployment(pipeline, component, template, stopped=stopped), component, hold)
    yield Child(autoscaler(pipeline, component, bounds), component, hold)


def _dashboards(pipeline: PipelineResource, spec: PipelineSpec, typed: Pipeline, facts: Facts) -> Iterator[Child]:
    if not spec.dashboards.enabled:
        return
    yield from (Child(config_map, DASHBOARDS) for config_map in dashboard_config_maps(pipeline, spec, typed))
    missing = facts.missing(mounts.datasource_keys(spec))
    hold = None if not missing else _missing(missing)
    yield Child(datasources_secret(pipeline, spec, typed, facts), DASHBOARDS, hold)


def _secrets_hold(spec: PipelineSpec, facts: Facts, mounts_for: str) -> Hold | None:
    missing = facts.missing(mount.key for mount in mounts.mounts_of(spec, mounts_for))
    return None if not missing else _missing(missing)


def _missing(keys: list[mounts.SecretKey]) -> Hold:
    told = ", ".join(f"{key.secret}/{key.key}" for key in keys)
    return Hold("SecretMissing", f"not there yet (Secret/key): {told}")
