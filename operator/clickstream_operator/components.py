"""The components of a pipeline: how each is scaled, and what a consumer reads from Kafka."""

from __future__ import annotations

from dataclasses import dataclass

from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.topics import Topic, topics_of
from clickstream_operator import naming
from clickstream_operator.spec import ElasticsearchSink, Enricher, PipelineSpec, PostgresSink, TrackingApi

Scaled = TrackingApi | Enricher | ElasticsearchSink | PostgresSink
"""The part of the spec that has a component's `autoscaling` and `resources`."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """A component that reads `topics` as the consumer group `group`."""

    component: str
    group: str
    topics: tuple[Topic, ...]

    @property
    def partitions(self) -> int:
        """Of all its topics."""
        return sum(topic.partitions for topic in self.topics)

    @property
    def retention_seconds(self) -> float:
        """How long Kafka keeps a record for it, at least: that of the topic that keeps the shortest."""
        return min(int(topic.config["retention.ms"]) for topic in self.topics) / 1_000


def scaled_components(spec: PipelineSpec) -> dict[str, Scaled]:
    """By component, in the order of the flow."""
    found: dict[str, Scaled] = {naming.TRACKING_API: spec.tracking_api, naming.ENRICHER: spec.enricher}
    return found | {naming.sink(store): getattr(spec.sinks, store) for store in spec.stores}


def consumers_of(pipeline: Pipeline, spec: PipelineSpec) -> tuple[Consumer, ...]:
    """The enricher and the sinks that are wanted."""
    names, topics = pipeline.names, {topic.name: topic for topic in topics_of(pipeline)}
    stored = (topics[names.enriched_clicks], topics[names.sessions])
    return (
        Consumer(naming.ENRICHER, names.enricher_group, (topics[names.raw_clicks],)),
        *(Consumer(naming.sink(store), names.sink_group(store), stored) for store in spec.stores),
    )
