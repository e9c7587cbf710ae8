"""Strimzi KafkaTopics. They have no owner: deleting the pipeline must not delete its data (deletionPolicy Retain)."""

from __future__ import annotations

from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.topics import topics_of
from clickstream_operator import naming
from clickstream_operator.desired.child import Manifest
from clickstream_operator.spec import PipelineResource, Strimzi

STRIMZI_API = "kafka.strimzi.io/v1"
CLUSTER_LABEL = "strimzi.io/cluster"


def kafka_topics(pipeline: PipelineResource, document: Pipeline, strimzi: Strimzi) -> list[Manifest]:
    """One KafkaTopic a topic, changelogs included, in the Topic Operator's namespace."""
    found = []
    for topic in topics_of(document):
        spec: Manifest = {"partitions": topic.partitions, "config": dict(topic.config)}
        if topic.replicas is not None:
            spec["replicas"] = topic.replicas
        labels = naming.labels(pipeline.namespace, pipeline.name, naming.TOPICS)
        found.append(
            {
                "apiVersion": STRIMZI_API,
                "kind": "KafkaTopic",
                "metadata": {
                    "name": topic.name,
                    "namespace": strimzi.namespace or pipeline.namespace,
                    "labels": labels | {CLUSTER_LABEL: strimzi.cluster},
                },
                "spec": spec,
            }
        )
    return found
