"""A stand-in for Strimzi's Topic Operator, for the end-to-end tests only: KafkaTopics become topics, with a status.

The Topic Operator is published in an image only, which cannot be pulled everywhere. This one does what a pipeline can
notice of it, in the real one's words: it creates topics, adds partitions, alters configurations, also where it refuses
the rest, deletes (with Strimzi's finalizer), leaves unmanaged and paused topics alone, tells of two resources for one
topic, and repairs what was changed in Kafka at its full pass. It reads the real one's environment variables.

Deliberately absent: changes of replicas by Cruise Control, batching, and deleting the topic of a resource that was
deleted without having had the finalizer. tests/e2e/pipelines/test_topic_operator.py holds it to the real one's ways.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
)
from kubernetes import client, config

API = ("kafka.strimzi.io", "v1")
FINALIZER = "strimzi.io/topic-operator"
MANAGED = "strimzi.io/managed"
PAUSED = "strimzi.io/pause-reconciliation"
POLL_SECONDS = 0.5
TIMEOUT = 5.0


@dataclass(frozen=True)
class Topic:
    """A topic as the brokers have it. `replicas` of each partition; `config`: what was set for the topic."""

    id: str
    replicas: tuple[int, ...]
    config: dict[str, str]


class BrokerError(Exception):
    """The brokers refused, or did not answer; the text is what Strimzi says then."""


class Brokers(Protocol):
    """What the Topic Operator does to Kafka. Methods raise BrokerError; counts of -1 are the brokers' own defaults."""

    def topic(self, name: str) -> Topic | None: ...
    def create(self, name: str, partitions: int, replicas: int, config: dict[str, str]) -> None: ...
    def grow(self, name: str, partitions: int) -> None: ...
    def configure(self, name: str, changes: dict[str, str | None]) -> None: ...
    def delete(self, name: str) -> None: ...


class Kafka:
    """Real brokers."""

    def __init__(self, servers: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": servers})

    def topic(self, name: str) -> Topic | None:
        there = self._answer(lambda: self._admin.list_topics(timeout=TIMEOUT)).topics
        if name not in there:
            return None
        asked = self._admin.describe_topics(TopicCollection([name]), request_timeout=TIMEOUT)[name]
        found = self._answer(asked.result)
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        entries = self._answer(self._admin.describe_configs([resource])[resource].result)
        own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        return Topic(
            str(found.topic_id).translate(str.maketrans("+/", "-_")),  # as Kafka's own tools write it
            tuple(len(each.replicas) for each in found.partitions),
            {key: each.value for key, each in entries.items() if each.source == own},
        )

    def create(self, name: str, partitions: int, replicas: int, config: dict[str, str]) -> None:
        new = NewTopic(name, partitions, replicas, config=config)
        self._answer(self._admin.create_topics([new], request_timeout=TIMEOUT)[name].result)

    def grow(self, name: str, partitions: int) -> None:
        self._answer(self._admin.create_partitions([NewPartitions(name, partitions)])[name].result)

    def configure(self, name: str, changes: dict[str, str | None]) -> None:
        what = [
            ConfigEntry(
                key,
                value,
                incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET,
            )
            for key, value in changes.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=what)
        self._answer(self._admin.incremental_alter_configs([resource])[resource].result)

    def delete(self, name: str) -> None:
        self._answer(self._admin.delete_topics([name], request_timeout=TIMEOUT)[name].result)

    def _answer(self, ask: Any) -> Any:
        try:
            return ask()
        except KafkaException as error:
            # The name of Kafka's own class: TOPIC_DELETION_DISABLED is a TopicDeletionDisabledException.
            code, said = error.args[0].name(), error.args[0].str().removeprefix("Broker: ")
            name = "Timeout" if code.startswith("_") else code.title().replace("_", "")
            msg = f"org.apache.kafka.common.errors.{name}Exception: {said}"
            raise BrokerError(msg) from error


class NotSupportedError(Exception):
    """A resource asks for what is not done; the text is Strimzi's."""


class ResourceConflictError(Exception):
    """Another resource manages the topic; the text is Strimzi's."""


class TopicOperator:
    """Reconciles the KafkaTopics with the labels `selector`, of one namespace (empty: of all)."""

    def __init__(
        self, brokers: Brokers, resources: Any, namespace: str, selector: str, full_seconds: float = 120.0
    ) -> None:
        self._brokers = brokers
        self._resources = resources
        self._namespace = namespace
        self._selector = selector
        self._full_seconds = full_seconds
        self._full_at = 0.0
        self._seen: dict[str, Any] = {}

    def reconcile_changed(self) -> None:
        """Look at every resource that has changed, and at all of them when a full pass is due."""
        full = time.monotonic() >= self._full_at
        if full:
            self._full_at = time.monotonic() + self._full_seconds
        found = self._list()
        for resource in found:
            meta = resource["metadata"]
            state = (meta["generation"], meta.get("annotations"), meta.get("deletionTimestamp"))
            if full or self._seen.get(meta["uid"]) != state:
                try:
                    self._reconcile(resource, found)
                except client.ApiException as error:
                    if error.status not in {404, 409}:  # changed or gone under our hands: the next round sees it
                        raise
                else:
                    self._seen[meta["uid"]] = state

    def _list(self) -> list[dict[str, Any]]:
        if self._namespace:
            found = self._resources.list_namespaced_custom_object(
                *API, self._namespace, "kafkatopics", label_selector=self._selector
            )
        else:
            found = self._resources.list_cluster_custom_object(*API, "kafkatopics", label_selector=self._selector)
        items: list[dict[str, Any]] = found["items"]
        return items

    def _reconcile(self, resource: dict[str, Any], others: list[dict[str, Any]]) -> None:
        found: list[Topic] = []
        try:
            if "deletionTimestamp" in resource["metadata"]:
                self._delete(resource)
            elif not _managed(resource):
                self._report(resource, "Unmanaged")
            else:
                _refuse_conflict(resource, others)
                if resource["metadata"].get("annotations", {}).get(PAUSED) == "true":
                    self._report(resource, "ReconciliationPaused", topicName=_name(resource))
                    return
                self._finalizer(resource, present=True)
                self._apply(resource, found)
                self._report(resource, "Ready", topicName=_name(resource), topicId=found[0].id)
        except NotSupportedError as error:
            self._refuse(resource, found, "NotSupported", str(error))
        except ResourceConflictError as error:
            self._refuse(resource, found, "ResourceConflict", str(error))
        except BrokerError as error:
            self._refuse(resource, found, "KafkaError", str(error))

    def _apply(self, resource: dict[str, Any], found: list[Topic]) -> None:
        """Make the topic what the resource says; `found` is filled with what there is, as soon as that is known."""
        name, spec = _name(resource), resource["spec"]
        wanted = {key: _text(value) for key, value in (spec.get("config") or {}).items()}
        there = self._brokers.topic(name)
        if there is None:
            self._brokers.create(name, spec.get("partitions", -1), spec.get("replicas", -1), wanted)
            made = self._brokers.topic(name)
            if made is None:  # the broker that was asked does not know yet
                raise BrokerError("org.apache.kafka.common.errors.UnknownTopicOrPartitionException")  # noqa: EM101
            found.append(made)
            return
        found.append(there)
        # Everything that can be done is done; the last refusal is the one that is told.
        changes: dict[str, str | None] = {key: value for key, value in wanted.items() if there.config.get(key) != value}
        changes |= {key: None for key in there.config if key not in wanted}
        if changes:
            self._brokers.configure(name, changes)
        count = len(there.replicas)
        if spec.get("partitions", count) > count:
            self._brokers.grow(name, spec["partitions"])
        wrong = [number for number, each in enumerate(there.replicas) if each != spec.get("replicas", each)]
        if wrong:
            message = f"Replication factor change not supported, but required for partitions {wrong}"
            raise NotSupportedError(message)
        if spec.get("partitions", count) < count:
            message = "Decreasing partitions not supported"
            raise NotSupportedError(message)

    def _delete(self, resource: dict[str, Any]) -> None:
        name = _name(resource)
        if _managed(resource) and self._brokers.topic(name) is not None:
            self._brokers.delete(name)
        self._finalizer(resource, present=False)

    def _finalizer(self, resource: dict[str, Any], *, present: bool) -> None:
        found = resource["metadata"].get("finalizers", [])
        wanted = [*(each for each in found if each != FINALIZER), *([FINALIZER] if present else [])]
        if set(wanted) != set(found):
            # With the version, so that nobody else's finalizer is lost.
            metadata = {"finalizers": wanted, "resourceVersion": resource["metadata"]["resourceVersion"]}
            changed = self._resources.patch_namespaced_custom_object(*_where(resource), {"metadata": metadata})
            resource["metadata"] = changed["metadata"]

    def _refuse(self, resource: dict[str, Any], found: list[Topic], reason: str, message: str) -> None:
        known = {"topicId": found[0].id} if found else {}
        self._report(resource, "Ready", reason=reason, message=message, topicName=_name(resource), **known)

    def _report(
        self, resource: dict[str, Any], kind: str, *, reason: str | None = None, message: str | None = None, **more: str
    ) -> None:
        """Write the status if it says anything new."""
        old = resource.get("status", {})
        condition: dict[str, Any] = {"type": kind, "status": "False" if reason else "True"}
        condition |= {key: value for key, value in (("reason", reason), ("message", message)) if value}
        before: dict[str, Any] = next((each for each in old.get("conditions", []) if each["type"] == kind), {})
        same = {**before, "lastTransitionTime": None} == {**condition, "lastTransitionTime": None}
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition["lastTransitionTime"] = before["lastTransitionTime"] if same else now
        status = {"conditions": [condition], "observedGeneration": resource["metadata"]["generation"], **more}
        if status != old:
            absent = {key: None for key in old if key not in status}
            self._resources.patch_namespaced_custom_object_status(*_where(resource), {"status": status | absent})


def _refuse_conflict(resource: dict[str, Any], others: list[dict[str, Any]]) -> None:
    """Of several resources for one topic the oldest manages it; of one second's, the one that does so already."""
    rivals = [each for each in others if _managed(each) and _name(each) == _name(resource)]
    oldest = min(rivals, key=_age)
    if oldest["metadata"]["uid"] != resource["metadata"]["uid"]:
        meta = oldest["metadata"]
        message = f"Managed by Ref{{namespace='{meta['namespace']}', name='{meta['name']}'}}"
        raise ResourceConflictError(message)


def _age(resource: dict[str, Any]) -> tuple[str, bool, str]:
    meta = resource["metadata"]
    return meta["creationTimestamp"], "topicId" not in resource.get("status", {}), meta["uid"]


def _managed(resource: dict[str, Any]) -> bool:
    return bool(resource["metadata"].get("annotations", {}).get(MANAGED) != "false")


def _where(resource: dict[str, Any]) -> tuple[str, ...]:
    return (*API, resource["metadata"]["namespace"], "kafkatopics", resource["metadata"]["name"])


def _name(resource: dict[str, Any]) -> str:
    return str(resource["spec"].get("topicName") or resource["metadata"]["name"])


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(_text, value)) if isinstance(value, list) else str(value)


def main() -> None:
    """Reconcile for ever; a fault of the API server ends the process, and its pod starts anew."""
    if "KUBECONFIG" in os.environ:
        config.load_kube_config(os.environ["KUBECONFIG"])
    else:
        config.load_incluster_config()
    operator = TopicOperator(
        Kafka(os.environ["STRIMZI_KAFKA_BOOTSTRAP_SERVERS"]),
        client.CustomObjectsApi(),
        os.environ["STRIMZI_NAMESPACE"],
        os.environ["STRIMZI_RESOURCE_LABELS"],
        int(os.environ.get("STRIMZI_FULL_RECONCILIATION_INTERVAL_MS", "120000")) / 1_000,
    )
    while True:
        operator.reconcile_changed()
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
