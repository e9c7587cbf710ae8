"""The components: the tracking API, which takes clicks, and the consumers of Kafka, the enricher and the sinks.

A Deployment's `replicas` belongs to whoever scales it. It is sent as 0 while the pipeline is suspended, and as the
number that the user gives in the place of an autoscaler, else not at all. How it is let go of is in scaling.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clickstream_operator import naming
from clickstream_operator.desired.autoscaling import autoscaler, disruption_budget
from clickstream_operator.desired.child_object import ChildObject, Manifest
from clickstream_operator.desired.context import Context
from clickstream_operator.desired.pods import Process, pod_template
from clickstream_operator.desired.service import NO_GATEWAY_API, http_route, ingress, service
from clickstream_operator.spec import Autoscaling, ConsumerAutoscaling, ElasticsearchSink, PipelineSpec, PostgresSink

DRAIN_SECONDS: Final = 10
"""After SIGTERM the tracking API serves for so long: by then the Service's endpoints no longer route to it."""
TRACKING_GRACE_SECONDS: Final = 60
"""Drain, then the requests that have begun (20 s), then the producer's flush (5 s)."""
CONSUMER_GRACE_SECONDS: Final = 60
"""For the chunk or batch at hand, its delivery and the last commit."""


def tracking_api(context: Context) -> Iterator[ChildObject]:
    component, tracking, geoip = naming.TRACKING_API, context.spec.tracking_api, context.spec.enricher.geoip
    process = Process(
        component=component,
        container="tracking-api",
        arguments=("tracking-api",),
        resources=tracking.resources,
        mounts_for=component,
        template=tracking.pod_template,
        log_level=tracking.log_level,
        env={
            "CLICKSTREAM_HTTP_PORT": str(naming.HTTP_PORT),
            "CLICKSTREAM_OPS_PORT": str(naming.OPS_PORT),
            "CLICKSTREAM_DRAIN_SECONDS": str(DRAIN_SECONDS),
        },
        # The kubelet asks where clicks are taken: an older image, which a pipeline may name, has no ops port here.
        ports=(("http", naming.HTTP_PORT), ("ops", naming.OPS_PORT)),
        grace_seconds=TRACKING_GRACE_SECONDS,
        geoip_claim=None if geoip is None else geoip.claim_name,
    )
    yield ChildObject(service(context), component)
    yield from _scaled_deployment(context, process, tracking.autoscaling, stopped=False)
    yield ChildObject(disruption_budget(context, component), component)
    if tracking.ingress is not None:
        yield ChildObject(ingress(context, tracking.ingress), component)
    if tracking.http_route is not None:
        blocked = None if context.inputs.gateway else NO_GATEWAY_API
        yield ChildObject(http_route(context, tracking.http_route), component, blocked)


def enricher(context: Context) -> Iterator[ChildObject]:
    spec = context.spec.enricher
    process = Process(
        component=naming.ENRICHER,
        container="enricher",
        arguments=("enricher",),
        resources=spec.resources,
        mounts_for=naming.ENRICHER,
        template=spec.pod_template,
        log_level=spec.log_level,
        env={"CLICKSTREAM_OPS_PORT": str(naming.OPS_PORT)},
        ports=(("ops", naming.OPS_PORT),),
        grace_seconds=CONSUMER_GRACE_SECONDS,
        # Ready once its state is recovered: ten minutes, where half a minute is expected.
        started=("/readyz", 300),
        geoip_claim=None if spec.geoip is None else spec.geoip.claim_name,
    )
    yield from _scaled_deployment(context, process, spec.autoscaling, stopped=context.spec.suspend)


def sink(context: Context, store: str) -> Iterator[ChildObject]:
    """The sink of a store that is wanted."""
    if store in context.spec.stores:
        bounds: ConsumerAutoscaling = getattr(context.spec.sinks, store).autoscaling
        yield from _scaled_deployment(context, _sink(context.spec, store), bounds, stopped=context.spec.suspend)


def _sink(spec: PipelineSpec, store: str) -> Process:
    wanted: ElasticsearchSink | PostgresSink = getattr(spec.sinks, store)
    return Process(
        component=naming.sink(store),
        container="sink",
        arguments=("sink", store),
        resources=wanted.resources,
        mounts_for=naming.sink(store),
        template=wanted.pod_template,
        log_level=wanted.log_level,
        env={"CLICKSTREAM_OPS_PORT": str(naming.OPS_PORT)},
        ports=(("ops", naming.OPS_PORT),),
        grace_seconds=CONSUMER_GRACE_SECONDS,
    )


def _scaled_deployment(
    context: Context, process: Process, bounds: Autoscaling, *, stopped: bool
) -> Iterator[ChildObject]:
    component, blocked = process.component, context.missing_mounts(process.mounts_for)
    replicas = 0 if stopped else bounds.replicas
    yield ChildObject(_deployment(context, process, replicas), component, blocked, needs_topics=True)
    yield from autoscaler(context, component, bounds, blocked, stopped=stopped)


def _deployment(context: Context, process: Process, replicas: int | None) -> Manifest:
    """`replicas` None: the number is not ours."""
    spec: Manifest = {
        "selector": {"matchLabels": context.selector(process.component)},
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 300,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": pod_template(context, process),
    }
    if replicas is not None:
        spec["replicas"] = replicas
    name = naming.workload(context.pipeline.name, process.component)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": context.metadata(name, process.component),
        "spec": spec,
    }
