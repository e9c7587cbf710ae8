"""What should exist for a pipeline: one factory after the other, in the order in which their objects are applied.

Pure: no clock, no cluster, never `status`. Fresh dicts each time; a member that is not wanted is left out, so that
server-side apply neither sets nor owns it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from clickstream_operator import naming
from clickstream_operator.desired.child_object import ChildObject
from clickstream_operator.desired.configmap import pipeline_document
from clickstream_operator.desired.context import Context
from clickstream_operator.desired.dashboards import dashboards
from clickstream_operator.desired.datasources import datasources
from clickstream_operator.desired.jobs import drop_jobs, store_setup
from clickstream_operator.desired.kafka_topics import kafka_topics
from clickstream_operator.desired.networkpolicy import network_policies
from clickstream_operator.desired.serviceaccount import service_account
from clickstream_operator.desired.workloads import enricher, sink, tracking_api

Factory = Callable[[Context], Iterator[ChildObject]]


class Part(NamedTuple):
    """A factory, and the component whose condition its children count for."""

    component: str
    factory: Factory


_BASE: Final = (
    Part(naming.CONFIGURATION, service_account),
    Part(naming.CONFIGURATION, pipeline_document),
    Part(naming.NETWORK, network_policies),
)
PIPELINE: Final[tuple[Part, ...]] = (
    *_BASE,
    Part(naming.TOPICS, kafka_topics),
    *(Part(store, partial(store_setup, store=store)) for store in naming.STORES),
    Part(naming.TRACKING_API, tracking_api),
    Part(naming.ENRICHER, enricher),
    *(Part(naming.sink(store), partial(sink, store=store)) for store in naming.STORES),
    Part(naming.DASHBOARDS, dashboards),
    Part(naming.DASHBOARDS, datasources),
)
DROP: Final[tuple[Part, ...]] = (*_BASE, Part(naming.DROP, drop_jobs))
"""The Jobs that remove a pipeline's data, and what their pods need."""


@dataclass(frozen=True, slots=True)
class Desired:
    """`failures`: why the children of a component, or some of them, are not among `children`."""

    children: tuple[ChildObject, ...]
    failures: dict[str, Exception] = field(default_factory=dict)


def build(context: Context, parts: tuple[Part, ...] = PIPELINE) -> tuple[ChildObject, ...]:
    return tuple(child for part in parts for child in part.factory(context))


def build_confined(context: Context) -> Desired:
    """Every child of the pipeline; a factory that raises holds up its own component and no other."""
    children: list[ChildObject] = []
    failures: dict[str, Exception] = {}
    for part in PIPELINE:
        try:
            children += part.factory(context)
        except Exception as error:  # noqa: BLE001 - told by the component's condition
            failures.setdefault(part.component, error)
    return Desired(tuple(children), failures)
