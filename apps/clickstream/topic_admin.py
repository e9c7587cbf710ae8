"""Creating, repairing and deleting a pipeline's topics through Kafka's Admin API.

Why it exists: no process creates a topic, and changelogs must exist with their partitions before the enricher starts.
`clickstream setup topics` does it where no Strimzi Topic Operator is asked to; doing it again, or twice at once, changes
nothing that is up to date. Deliberately absent: the list of topics (`contracts.topics`); changing a number of partitions,
which would send a user's clicks to another partition; moving replicas; and waiting for brokers, which is the caller's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from clickstream.contracts.kafka import client_config
from clickstream.contracts.pipeline import Kafka
from clickstream.contracts.topics import Topic

Progress = Callable[[str], None]

_POLL_SECONDS: Final = 0.1
_LATER: Final = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NON_EMPTY_GROUP,
        KafkaError.NOT_CONTROLLER,
        KafkaError.NOT_COORDINATOR,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - the library's own names
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
    }
)
"""What may pass by itself: brokers that are away, start, or are fewer than replicas yet; a process that still consumes."""


class TopicError(Exception):
    """The brokers refused, for a reason that waiting does not change; the message names the topic."""


class PartitionsError(TopicError):
    """A topic exists with another number of partitions. Nothing was changed."""


class LaterError(TopicError):
    """Not now: the brokers cannot be reached, or what was asked for is not possible yet."""


class TopicAdmin:
    """Talks to the brokers of a pipeline document. Raises SettingsError; methods raise TopicError."""

    def __init__(self, kafka: Kafka, progress: Progress = lambda _: None, timeout: float = 15.0) -> None:
        """`timeout`: seconds for each request. Nothing is sent yet."""
        self._servers = kafka.bootstrap_servers
        self._progress = progress
        self._timeout = timeout
        self._trouble: str | None = None
        # Its own log would tell of every attempt at a broker that is away; the last trouble is in our message.
        quiet = {"log_level": 0, "error_cb": self._on_error}
        try:
            self._admin = AdminClient(client_config(kafka, "clickstream-setup") | quiet)
        except KafkaException as error:
            msg = f"kafka: {error.args[0].str()}"
            raise TopicError(msg) from error

    def create(self, topics: Iterable[Topic]) -> list[str]:
        """Create what is missing, put right the settings of what is there, wait for leaders; the names of the created."""
        wanted = {topic.name: topic for topic in topics}
        there = self._metadata()
        _refuse_other_partitions(there, wanted)
        created = self._create([topic for name, topic in wanted.items() if name not in there.topics])
        self._await_leaders(wanted)
        self._repair([topic for name, topic in wanted.items() if name not in created])
        return created

    def drop(self, topics: Iterable[Topic], groups: Iterable[str]) -> None:
        """Delete the consumer groups, then the topics with all their records. A group with members is a LaterError."""
        # Groups first: while a process still consumes, nothing is deleted under it.
        for group, answer in self._admin.delete_consumer_groups(list(groups), request_timeout=self._timeout).items():
            if self._settle(f"consumer group {group}", answer, tolerated=KafkaError.GROUP_ID_NOT_FOUND):
                self._progress(f"consumer group {group} is gone")
        names = [topic.name for topic in topics]
        for name, answer in self._admin.delete_topics(names, request_timeout=self._timeout).items():
            if self._settle(f"topic {name}", answer, tolerated=KafkaError.UNKNOWN_TOPIC_OR_PART):
                self._progress(f"topic {name} is gone")
        self._until(lambda there: [name for name in names if name in there.topics], "still there")

    def _create(self, missing: list[Topic]) -> list[str]:
        if not missing:
            return []
        requests = [
            NewTopic(
                topic.name,
                topic.partitions,
                -1 if topic.replicas is None else topic.replicas,
                config=dict(topic.config),
            )
            for topic in missing
        ]
        answers = self._admin.create_topics(
            requests, operation_timeout=self._timeout, request_timeout=self._timeout + 1
        )
        created = []
        for topic in missing:
            if self._settle(f"topic {topic.name}", answers[topic.name], tolerated=KafkaError.TOPIC_ALREADY_EXISTS):
                created.append(topic.name)
                self._progress(f"topic {topic.name} is created, {topic.partitions} partitions")
        return created

    def _await_leaders(self, wanted: Mapping[str, Topic]) -> None:
        """Until the brokers know what the controller has created, so that a client may begin at once."""

        def late(there: ClusterMetadata) -> list[str]:
            _refuse_other_partitions(there, wanted)  # somebody else may have been faster
            return [name for name in wanted if not _has_leaders(there, name)]

        self._until(late, "without a leader")

    def _repair(self, topics: list[Topic]) -> None:
        if not topics:
            return
        resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
        answers = self._admin.describe_configs(resources, request_timeout=self._timeout)
        there = {resource.name: self._result(f"topic {resource.name}", answer) for resource, answer in answers.items()}
        for topic in topics:
            wrong = {key: value for key, value in topic.config.items() if there[topic.name][key].value != value}
            if not wrong:
                self._progress(f"topic {topic.name} is up to date")
                continue
            entries = [
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in wrong.items()
            ]
            resource = ConfigResource(ResourceType.TOPIC, topic.name, incremental_configs=entries)
            (answer,) = self._admin.incremental_alter_configs([resource], request_timeout=self._timeout).values()
            self._settle(f"topic {topic.name}", answer)
            changes = ", ".join(f"{key} {there[topic.name][key].value} → {value}" for key, value in wrong.items())
            self._progress(f"topic {topic.name} is put right: {changes}")

    def _metadata(self) -> ClusterMetadata:
        try:
            return self._admin.list_topics(timeout=self._timeout)
        except KafkaException as error:
            self._admin.poll(0)  # hands over what `_on_error` is told
            msg = f"no answer from {self._servers}: {self._trouble or error.args[0].str()}"
            raise LaterError(msg) from error

    def _until(self, late: Callable[[ClusterMetadata], list[str]], what: str) -> None:
        deadline = time.monotonic() + self._timeout
        while names := late(self._metadata()):
            if time.monotonic() > deadline:
                msg = f"{what} after {self._timeout:.0f} s: {', '.join(names)}"
                raise LaterError(msg)
            time.sleep(_POLL_SECONDS)

    def _settle(self, what: str, answer: Future[Any], tolerated: int | None = None) -> bool:
        """Wait for one answer; False if it was the tolerated error."""
        try:
            self._result(what, answer)
        except TopicError as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and cause.args[0].code() == tolerated:
                return False
            raise
        return True

    def _result(self, what: str, answer: Future[Any]) -> Any:
        try:
            return answer.result(self._timeout + 5)
        except KafkaException as error:
            reason = error.args[0]
            msg = f"{what}: {reason.str()}"
            raise (LaterError if reason.code() in _LATER else TopicError)(msg) from error

    def _on_error(self, error: KafkaError) -> None:
        """The reason is told here; the request itself only ends in time."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - says less than the request's own error
            self._trouble = error.str()


def _refuse_other_partitions(there: ClusterMetadata, wanted: Mapping[str, Topic]) -> None:
    wrong = [
        f"topic {name} has {len(there.topics[name].partitions)} partitions, and the pipeline says {topic.partitions}"
        for name, topic in wanted.items()
        if name in there.topics and len(there.topics[name].partitions) != topic.partitions
    ]
    if wrong:
        msg = "; ".join(wrong) + ": a number of partitions is never changed, since users would change partitions"
        raise PartitionsError(msg)


def _has_leaders(there: ClusterMetadata, name: str) -> bool:
    topic = there.topics.get(name)
    return topic is not None and all(partition.leader >= 0 for partition in topic.partitions.values())
