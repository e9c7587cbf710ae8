"""What each process must be allowed to do in Kafka: its ACLs. `manifests/examples/kafka-users.yaml` has the same list.

Read and Write include Describe. Where topics are Strimzi's to make, nobody needs those of `setup`; those of `drop` are
for who deletes a pipeline's data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from clickstream.contracts.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Right:
    """One operation on a `topic` or `group`; `prefix`: on every one whose name begins with `name`."""

    kind: str
    name: str
    operation: str
    prefix: bool = False

    def __str__(self) -> str:
        return f"{self.operation} on {self.kind} {self.name}{'*' if self.prefix else ''}"


def rights_of(process: str, pipeline: Pipeline) -> tuple[Right, ...]:
    """The rights of one of `PROCESSES`, and no more than it needs."""
    return PROCESSES[process](pipeline)


def _topics(operations: str, *names: str) -> tuple[Right, ...]:
    return tuple(Right("topic", name, operation) for name in names for operation in operations.split())


def _setup(pipeline: Pipeline) -> tuple[Right, ...]:
    prefix = f"{pipeline.names.prefix}."
    return tuple(Right("topic", prefix, operation, prefix=True) for operation in ("Create", "Describe", "AlterConfigs"))


def _drop(pipeline: Pipeline) -> tuple[Right, ...]:
    return tuple(Right(kind, f"{pipeline.names.prefix}.", "Delete", prefix=True) for kind in ("topic", "group"))


def _tracking_api(pipeline: Pipeline) -> tuple[Right, ...]:
    return _topics("Write", pipeline.names.raw_clicks, pipeline.names.dead_letters)


def _enricher(pipeline: Pipeline) -> tuple[Right, ...]:
    names = pipeline.names
    return (
        *_topics("Read", names.raw_clicks),
        *_topics("Write", names.enriched_clicks, names.sessions, names.dead_letters),
        *_topics("Read Write", names.enricher_changelog),
        Right("group", names.enricher_group, "Read"),
        *_topics("Read", *(join.topic for join in pipeline.enricher.joins)),
    )


def _sink(store: str) -> Callable[[Pipeline], tuple[Right, ...]]:
    def rights(pipeline: Pipeline) -> tuple[Right, ...]:
        names = pipeline.names
        return (
            *_topics("Read", names.enriched_clicks, names.sessions),
            *_topics("Write", names.dead_letters),
            Right("group", names.sink_group(store), "Read"),
        )

    return rights


def _dead_letters(pipeline: Pipeline) -> tuple[Right, ...]:
    names = pipeline.names
    return (
        *_topics("Read", names.dead_letters),
        *_topics("Write", names.raw_clicks, names.enriched_clicks, names.sessions),
    )


def _replay(pipeline: Pipeline) -> tuple[Right, ...]:
    names = pipeline.names
    return (
        *_topics("Read", names.raw_clicks, names.enricher_changelog),
        *_topics("Read Write", names.sessions),
        *_topics("Write", names.enriched_clicks),
        *_topics("Read", *(join.topic for join in pipeline.enricher.joins)),
    )


PROCESSES: Final[dict[str, Callable[[Pipeline], tuple[Right, ...]]]] = {
    "setup": _setup,
    "drop": _drop,
    "tracking-api": _tracking_api,
    "enricher": _enricher,
    "sink-elasticsearch": _sink("elasticsearch"),
    "sink-postgres": _sink("postgres"),
    "dead-letters": _dead_letters,
    "replay": _replay,
}
