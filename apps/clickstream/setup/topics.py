"""Creates, repairs and deletes a pipeline's topics through Kafka's Admin API.

No process creates a topic, and changelogs must exist with their partitions before the enricher starts. `clickstream
setup topics` does it where no Strimzi Topic Operator does; repeating it, or running it twice at once, changes nothing
that is up to date. The number of partitions is deliberately never changed, which would send a user's clicks to another
partition; replicas are not moved: a difference is an error, after everything else is put right. The caller waits for
brokers.
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

from clickstream.contracts.kafka_rights import Right
from clickstream.contracts.pipeline import Kafka
from clickstream.contracts.topics import Topic
from clickstream.runtime.kafka import COORDINATOR_SECONDS, client_config
from clickstream.runtime.kafka_rights import DENIED, lacks, missing

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
"""Temporary errors: brokers that are unreachable, starting, or still fewer than replicas; a group with members."""


class TopicError(Exception):
    """The brokers rejected a request for a reason that waiting does not change; the message names the topic."""


class PartitionsError(TopicError):
    """A topic exists with another number of partitions. Nothing was changed."""


class ReplicasError(TopicError):
    """A topic has another number of replicas. Everything else is put right."""


class LaterError(TopicError):
    """Temporarily not possible: the brokers are unreachable, or a precondition is not met yet."""


class TopicAdmin:
    """Talks to the brokers of a pipeline document. Raises SettingsError; methods raise TopicError."""

    def __init__(self, kafka: Kafka, progress: Progress = lambda _: None, timeout: float = 15.0) -> None:
        """`timeout`: seconds for each request. Nothing is sent yet."""
        self._servers = kafka.bootstrap_servers
        self._config = client_config(kafka, "clickstream-setup")
        self._progress = progress
        self._timeout = timeout
        self._trouble: str | None = None
        # Its own log would report every attempt to connect; the last error is in the exception's message.
        quiet = {"log_level": 0, "error_cb": self._on_error}
        try:
            self._admin = AdminClient(self._config | quiet)
        except KafkaException as error:
            msg = f"kafka: {error.args[0].str()}"
            raise TopicError(msg) from error

    def create(self, topics: Iterable[Topic]) -> list[str]:
        """Create what is missing, repair the settings of the rest, wait for leaders; the created topics' names.

        Raises PartitionsError before anything is done, ReplicasError after all of it.
        """
        wanted = {topic.name: topic for topic in topics}
        there = self._metadata()
        _refuse_other_partitions(there, wanted)
        created = self._create([topic for name, topic in wanted.items() if name not in there.topics])
        self._await_leaders(wanted)
        copies = {name: _copies(there, name) for name in wanted if name in there.topics}
        self._repair([topic for name, topic in wanted.items() if name not in created], copies)
        _refuse_other_replicas(copies, wanted)
        return created

    def compare(self, topics: Iterable[Topic]) -> None:
        """Change nothing. Raises PartitionsError for topics that are there with another number of partitions."""
        _refuse_other_partitions(self._metadata(), {topic.name: topic for topic in topics})

    def drop(self, topics: Iterable[Topic], groups: Iterable[str]) -> None:
        """Delete the consumer groups, then the topics with all their records. A group with members is a LaterError."""
        # Groups first: while a process still consumes, nothing is deleted under it.
        for group, answer in self._admin.delete_consumer_groups(
            list(groups), request_timeout=COORDINATOR_SECONDS
        ).items():
            if self._settle(Right("group", group, "Delete"), answer, tolerated=KafkaError.GROUP_ID_NOT_FOUND):
                self._progress(f"consumer group {group} is gone")
        there = self._metadata().topics
        wanted = [topic.name for topic in topics]
        absent = (Right("topic", name, "Describe") for name in wanted if name not in there)
        if hidden := missing(self._config, absent)[0]:  # brokers do not list what the user may not see
            msg = f"topic {hidden[0].name} cannot be seen; {lacks(Right('topic', hidden[0].name, 'Delete'))}"
            raise TopicError(msg)
        names = [name for name in wanted if name in there]  # where Strimzi has been, none is left
        answers = self._admin.delete_topics(names, request_timeout=self._timeout) if names else {}
        for name, answer in answers.items():
            if self._settle(Right("topic", name, "Delete"), answer, tolerated=KafkaError.UNKNOWN_TOPIC_OR_PART):
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
            needed = Right("topic", topic.name, "Create")
            if self._settle(needed, answers[topic.name], tolerated=KafkaError.TOPIC_ALREADY_EXISTS):
                created.append(topic.name)
                self._progress(f"topic {topic.name} is created, {topic.partitions} partitions")
        return created

    def _await_leaders(self, wanted: Mapping[str, Topic]) -> None:
        """Wait until the brokers know what the controller has created, so that a client may start at once."""

        def late(there: ClusterMetadata) -> list[str]:
            _refuse_other_partitions(there, wanted)  # another process may have been faster
            return [name for name in wanted if not _has_leaders(there, name)]

        self._until(late, "without a leader")

    def _repair(self, topics: list[Topic], copies: Mapping[str, int]) -> None:
        """`copies`: how many replicas the topics have that were there before."""
        if not topics:
            return
        resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
        answers = self._admin.describe_configs(resources, request_timeout=self._timeout)
        there = {
            resource.name: self._result(Right("topic", resource.name, "DescribeConfigs"), answer)
            for resource, answer in answers.items()
        }
        for topic in topics:
            wrong = {key: value for key, value in topic.config.items() if there[topic.name][key].value != value}
            if copies.get(topic.name, topic.replicas) != topic.replicas:
                wrong.pop("min.insync.replicas", None)  # with more than there are replicas, brokers refuse every click
            if not wrong:
                self._progress(f"topic {topic.name} is up to date")
                continue
            entries = [
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in wrong.items()
            ]
            resource = ConfigResource(ResourceType.TOPIC, topic.name, incremental_configs=entries)
            (answer,) = self._admin.incremental_alter_configs([resource], request_timeout=self._timeout).values()
            self._settle(Right("topic", topic.name, "AlterConfigs"), answer)
            changes = ", ".join(f"{key} {there[topic.name][key].value} → {value}" for key, value in wrong.items())
            self._progress(f"topic {topic.name} is put right: {changes}")

    def _metadata(self) -> ClusterMetadata:
        try:
            return self._admin.list_topics(timeout=self._timeout)
        except KafkaException as error:
            self._admin.poll(0)  # runs `_on_error`
            msg = f"no answer from {self._servers}: {self._trouble or error.args[0].str()}"
            raise LaterError(msg) from error

    def _until(self, late: Callable[[ClusterMetadata], list[str]], what: str) -> None:
        deadline = time.monotonic() + self._timeout
        while names := late(self._metadata()):
            if time.monotonic() > deadline:
                hidden, _ = missing(self._config, (Right("topic", name, "Describe") for name in names))
                why = "".join(f"; {lacks(right)}" for right in hidden[:1])
                msg = f"{what} after {self._timeout:.0f} s: {', '.join(names)}{why}"
                raise LaterError(msg)
            time.sleep(_POLL_SECONDS)

    def _settle(self, needed: Right, answer: Future[Any], tolerated: int | None = None) -> bool:
        """Wait for one answer; False if it was the tolerated error. `needed`: the right that the request needs."""
        try:
            self._result(needed, answer)
        except TopicError as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and cause.args[0].code() == tolerated:
                return False
            raise
        return True

    def _result(self, needed: Right, answer: Future[Any]) -> Any:
        what = f"consumer group {needed.name}" if needed.kind == "group" else f"topic {needed.name}"
        try:
            return answer.result(self._timeout + 5)
        except TimeoutError as error:
            msg = f"{what}: no answer from {self._servers}"
            raise LaterError(msg) from error
        except KafkaException as error:
            reason = error.args[0]
            msg = f"{what}: {reason.str()}" + (f"; {lacks(needed)}" if reason.code() in DENIED else "")
            raise (LaterError if reason.code() in _LATER else TopicError)(msg) from error

    def _on_error(self, error: KafkaError) -> None:
        """The reason is reported here; the request itself only times out."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - says less than the request's own error
            self._trouble = error.str()


def _refuse_other_partitions(there: ClusterMetadata, wanted: Mapping[str, Topic]) -> None:
    wrong = [
        f"topic {name} has {len(there.topics[name].partitions)} partitions, and the pipeline says {topic.partitions}"
        for name, topic in wanted.items()
        if name in there.topics and len(there.topics[name].partitions) != topic.partitions
    ]
    if wrong:
        msg = "; ".join(wrong) + (
            ": a number of partitions is never changed, since users would change partitions; create the pipeline with "
            "the topic's number, or under another name"
        )
        raise PartitionsError(msg)


def _refuse_other_replicas(copies: Mapping[str, int], wanted: Mapping[str, Topic]) -> None:
    wrong = [
        f"topic {name} has {found} replicas, and the pipeline says {wanted[name].replicas}"
        for name, found in copies.items()
        if wanted[name].replicas not in {None, found}
    ]
    if wrong:
        msg = (
            "; ".join(wrong) + ": they are not moved here; move them by kafka-reassign-partitions, or set replicas back"
        )
        raise ReplicasError(msg)


def _copies(there: ClusterMetadata, name: str) -> int:
    """The fewest replicas that a partition of the topic has."""
    return min(len(partition.replicas) for partition in there.topics[name].partitions.values())


def _has_leaders(there: ClusterMetadata, name: str) -> bool:
    topic = there.topics.get(name)
    return topic is not None and all(partition.leader >= 0 for partition in topic.partitions.values())
