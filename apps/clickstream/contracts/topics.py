"""The Kafka topics of a pipeline, as the operator or `clickstream setup topics` creates them, and its consumer groups.

Applications never create a topic: auto-creation would give a changelog the wrong number of partitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from clickstream.contracts.durations import duration_ms
from clickstream.contracts.pipeline import Pipeline, TopicSpec

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
SINKS: Final = ("elasticsearch", "postgres")
"""Every sink, configured in the pipeline or not."""
RECORD_BYTES: Final = 1_048_588
"""`max.message.bytes` of every topic, Kafka's own default. The brokers compare it with compressed batches: a record
that compresses well may be several megabytes."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `replicas` None: the brokers decide; `config`: Kafka's names, string values."""

    name: str
    partitions: int
    replicas: int | None
    config: Mapping[str, str] = field(default_factory=dict)


def topics_of(pipeline: Pipeline) -> tuple[Topic, ...]:
    """All topics of the pipeline, changelogs included. Topics that joins read belong to their owners."""
    names, topics = pipeline.names, pipeline.kafka.topics
    return (
        _log(names.raw_clicks, topics.raw_clicks),
        _log(names.enriched_clicks, topics.enriched_clicks),
        Topic(
            names.sessions,
            topics.sessions.partitions,
            topics.sessions.replicas,
            {
                "cleanup.policy": "compact,delete",
                "retention.ms": str(duration_ms(topics.sessions.retention)),
                "delete.retention.ms": str(7 * _DAY_MS),
                # A paused enricher that resumes may write an older version after a newer one: keep both for a while.
                "min.compaction.lag.ms": str(_HOUR_MS),
                **_common(topics.sessions.replicas),
            },
        ),
        _log(names.dead_letters, topics.dead_letters),
        Topic(
            names.enricher_changelog,
            topics.raw_clicks.partitions,
            topics.raw_clicks.replicas,
            {
                "cleanup.policy": "compact",
                # A paused enricher that resumes may write an older state after a newer one: keep both for a while.
                "min.compaction.lag.ms": str(_HOUR_MS),
                # What a recovery reads is bounded by the size of the state; this saves disk space.
                "delete.retention.ms": str(_HOUR_MS),
                "segment.bytes": str(64 << 20),
                "segment.ms": str(_HOUR_MS),
                "min.cleanable.dirty.ratio": "0.2",
                **_common(topics.raw_clicks.replicas),
            },
        ),
    )


def groups_of(pipeline: Pipeline) -> tuple[str, ...]:
    """All consumer groups that the pipeline's processes may have left behind, removed sinks included."""
    names = pipeline.names
    return (names.enricher_group, *(names.sink_group(sink) for sink in SINKS))


def _log(name: str, spec: TopicSpec) -> Topic:
    config = {"cleanup.policy": "delete", "retention.ms": str(duration_ms(spec.retention))}
    return Topic(name, spec.partitions, spec.replicas, config | _common(spec.replicas))


def _common(replicas: int | None) -> dict[str, str]:
    config = {
        "max.message.bytes": str(RECORD_BYTES),
        # The brokers' clock, not the producers': it bounds what a pod with a wrong clock can do to others' sessions,
        # tells the enricher the time of idle partitions, and brokers refuse no record for its time.
        "message.timestamp.type": "LogAppendTime",
    }
    # What acks=all means: with three copies or more, two have the record; otherwise the brokers' own rule counts.
    return config | ({"min.insync.replicas": "2"} if replicas is not None and replicas >= 3 else {})
