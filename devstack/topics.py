"""Creating a pipeline's topics, as the operator does in a cluster.

Why it exists: no broker of ours creates topics by itself, and changelogs must exist with their partitions before the
enricher starts. Running it again is harmless. Deliberately absent: the list of topics, which belongs to the pipeline's
contract; deleting; and changing a partition count, which would send a user's clicks to another partition.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from devstack.errors import TopicError
from devstack.health import admin_client

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future

    from confluent_kafka.admin import AdminClient, ClusterMetadata

POLL_SECONDS = 0.05


class TopicSpec(Protocol):
    """What must be known about a topic; `config` holds Kafka's own names and values."""

    @property
    def name(self) -> str:
        """The full name."""

    @property
    def partitions(self) -> int:
        """How many partitions."""

    @property
    def replicas(self) -> int:
        """How many replicas are wanted; there are never more than brokers."""

    @property
    def config(self) -> Mapping[str, str]:
        """Topic settings that differ from the broker's defaults."""


def create_topics(bootstrap_servers: str, topics: Iterable[TopicSpec], *, timeout: float = 30.0) -> list[str]:
    """Create what is missing, update the settings of what is there, and return the names of the created ones.

    Replicas (and `min.insync.replicas`) are capped to the number of brokers. Raises TopicError, for instance for
    an existing topic with another partition count; then nothing has been changed. `timeout` in seconds, per request.
    """
    wanted = {topic.name: topic for topic in topics}
    admin = admin_client(bootstrap_servers, timeout)
    cluster = _metadata(admin, bootstrap_servers, timeout)
    _refuse_other_partitions(cluster, wanted)
    brokers = len(cluster.brokers)
    missing = [topic for name, topic in wanted.items() if name not in cluster.topics]
    created = _create(admin, missing, brokers, timeout)
    _await_leaders(admin, bootstrap_servers, wanted, timeout)
    _update(admin, [topic for name, topic in wanted.items() if name not in created], brokers, timeout)
    return sorted(created)


def capped_config(config: Mapping[str, str], brokers: int) -> dict[str, str]:
    """Return `config` with `min.insync.replicas` no higher than there can be replicas."""
    capped = {name: str(value) for name, value in config.items()}
    if (wanted := capped.get("min.insync.replicas")) is not None:
        capped["min.insync.replicas"] = str(min(int(wanted), brokers))
    return capped


def _metadata(admin: AdminClient, bootstrap_servers: str, timeout: float) -> ClusterMetadata:
    try:
        return admin.list_topics(timeout=timeout)
    except KafkaException as error:
        message = f"no metadata from {bootstrap_servers}: {error.args[0].str()}"
        raise TopicError(message) from error


def _refuse_other_partitions(cluster: ClusterMetadata, wanted: Mapping[str, TopicSpec]) -> None:
    wrong = [
        f"{name} has {len(cluster.topics[name].partitions)} partitions, not {topic.partitions}"
        for name, topic in wanted.items()
        if name in cluster.topics and len(cluster.topics[name].partitions) != topic.partitions
    ]
    if wrong:
        message = "; ".join(wrong) + "; a partition count is never changed: delete the topic or ask for its count"
        raise TopicError(message)


def _create(admin: AdminClient, topics: list[TopicSpec], brokers: int, timeout: float) -> set[str]:
    if not topics:
        return set()
    requests = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=min(topic.replicas, brokers),
            config=capped_config(topic.config, brokers),
        )
        for topic in topics
    ]
    created = set()
    for name, future in admin.create_topics(requests, operation_timeout=timeout, request_timeout=timeout).items():
        if _settle(name, future, timeout, tolerated=KafkaError.TOPIC_ALREADY_EXISTS):
            created.add(name)
    return created


def _await_leaders(admin: AdminClient, bootstrap_servers: str, wanted: Mapping[str, TopicSpec], timeout: float) -> None:
    """Wait until the brokers know what the controller has created, so that a client may begin at once."""
    deadline = time.monotonic() + timeout
    while True:
        cluster = _metadata(admin, bootstrap_servers, timeout)
        _refuse_other_partitions(cluster, wanted)
        if not (late := [name for name in wanted if not _has_leaders(cluster, name)]):
            return
        if time.monotonic() > deadline:
            message = f"no leader after {timeout:.0f} s for {', '.join(late)}"
            raise TopicError(message)
        time.sleep(POLL_SECONDS)


def _has_leaders(cluster: ClusterMetadata, name: str) -> bool:
    topic = cluster.topics.get(name)
    return topic is not None and all(partition.leader >= 0 for partition in topic.partitions.values())


def _update(admin: AdminClient, topics: list[TopicSpec], brokers: int, timeout: float) -> None:
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            topic.name,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in capped_config(topic.config, brokers).items()
            ],
        )
        for topic in topics
        if topic.config
    ]
    if resources:
        futures = admin.incremental_alter_configs(resources, request_timeout=timeout)
        for resource, future in futures.items():
            _settle(resource.name, future, timeout)


def _settle(name: str, future: Future[None], timeout: float, tolerated: int | None = None) -> bool:
    """Wait for one answer; False if it was the tolerated error. Raises TopicError for any other."""
    try:
        future.result(timeout)
    except KafkaException as error:
        if error.args[0].code() == tolerated:
            return False
        message = f"topic {name}: {error.args[0].str()}"
        raise TopicError(message) from error
    return True
