"""The topics: Strimzi's KafkaTopics, or, without Strimzi, a Job that creates them through Kafka's Admin API.

KafkaTopics have no owner: deleting the pipeline must not delete its data (deletionPolicy Retain).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clickstream.contracts.topics import topics_of
from clickstream_operator import naming
from clickstream_operator.desired.child_object import Blocked, ChildObject, Manifest
from clickstream_operator.desired.context import Context
from clickstream_operator.desired.jobs import comparison_job, setup_job

KIND: Final = "KafkaTopic"
_API: Final = "kafka.strimzi.io/v1"
_STRIMZI_MISSING: Final = Blocked(
    "StrimziMissing", f"this cluster serves no {_API} {KIND}: install Strimzi 1.0 or later"
)


def kafka_topics(context: Context) -> Iterator[ChildObject]:
    """One KafkaTopic a topic, changelogs included, in the Topic Operator's namespace, and a Job; or that Job alone."""
    strimzi = context.spec.kafka.strimzi
    if strimzi is None:
        yield setup_job(context, naming.TOPICS)
        return
    yield comparison_job(context)
    for topic in topics_of(context.parsed):
        spec: Manifest = {"partitions": topic.partitions, "config": dict(topic.config)}
        if topic.replicas is not None:
            spec["replicas"] = topic.replicas
        manifest = {
            "apiVersion": _API,
            "kind": KIND,
            "metadata": {
                "name": topic.name,
                "namespace": strimzi.namespace or context.pipeline.namespace,
                "labels": naming.unowned(context.labels(naming.TOPICS)) | {"strimzi.io/cluster": strimzi.cluster},
                "annotations": dict(naming.KEEP_ANNOTATIONS),
            },
            "spec": spec,
        }
        yield ChildObject(manifest, naming.TOPICS, None if context.inputs.strimzi else _STRIMZI_MISSING)
