"""A stand-in for Strimzi's Topic Operator, for the end-to-end tests only: KafkaTopics become topics, with a status.

Why it exists: the Topic Operator is published in an image only, which cannot be pulled everywhere. This one does, of
what the real one does, what a pipeline meets: it creates topics, adds partitions, alters configurations, refuses what
Kafka cannot do, deletes (with Strimzi's finalizer), leaves unmanaged topics alone, and reports `Ready`, `topicId` and
`observedGeneration`. Deliberately absent: changes of replicas by Cruise Control, paused reconciliation, batching.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
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
POLL_SECONDS = 1.0
TIMEOUT = 20.0
AWAY = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT}  # the library's own names
"""No broker answers: that says nothing of the topic at hand."""


class NotSupportedError(Exception):
    """The resource asks for what Kafka cannot do; the text is what Strimzi says then."""


class TopicOperator:
    """Reconciles the KafkaTopics of one Strimzi cluster in one namespace."""

    def __init__(self, admin: AdminClient, resources: Any, namespace: str, cluster: str) -> None:
        self._admin = admin
        self._resources = resources
        self._namespace = namespace
        self._selector = f"strimzi.io/cluster={cluster}"

    def reconcile_all(self) -> None:
        """Look at every resource once. A fault of one shows in its status and keeps no other from its turn."""
        where = (*API, self._namespace, "kafkatopics")
        for resource in self._resources.list_namespaced_custom_object(*where, label_selector=self._selector)["items"]:
            annotations = resource["metadata"].get("annotations", {})
            managed = annotations.get(MANAGED) != "false"
            try:
                if "deletionTimestamp" in resource["metadata"]:
                    self._delete(resource, managed=managed)
                elif managed:
                    self._finalizer(resource, present=True)
                    self._report(resource, "Ready", topicName=_name(resource), topicId=self._apply(resource))
                else:
                    self._report(resource, "Unmanaged")
            except NotSupportedError as error:
                self._report(resource, "Ready", reason="NotSupported", message=str(error))
            except KafkaException as error:
                if error.args[0].code() in AWAY:
                    raise
                self._report(resource, "Ready", reason="KafkaError", message=error.args[0].str())
            except client.ApiException as error:
                if error.status not in {404, 409}:  # changed or gone under our hands: the next round sees it
                    raise

    def _apply(self, resource: dict[str, Any]) -> str:
        """Make the topic what the resource says, and return its id."""
        name, spec = _name(resource), resource["spec"]
        wanted = {key: _text(value) for key, value in (spec.get("config") or {}).items()}
        if name not in self._admin.list_topics(timeout=TIMEOUT).topics:
            new = NewTopic(name, spec.get("partitions", -1), spec.get("replicas", -1), config=wanted)
            self._admin.create_topics([new], request_timeout=TIMEOUT)[name].result()
        found = self._admin.describe_topics(TopicCollection([name]), request_timeout=TIMEOUT)[name].result()
        count = len(found.partitions)
        if spec.get("partitions", count) < count:
            message = "Decreasing partitions not supported"
            raise NotSupportedError(message)
        wrong = [each.id for each in found.partitions if len(each.replicas) != spec.get("replicas", len(each.replicas))]
        if wrong:
            message = f"Replication factor change not supported, but required for partitions {wrong}"
            raise NotSupportedError(message)
        if spec.get("partitions", count) > count:
            self._admin.create_partitions([NewPartitions(name, spec["partitions"])])[name].result()
        self._configure(name, wanted)
        return str(found.topic_id).translate(str.maketrans("+/", "-_"))  # as Kafka's own tools write it

    def _configure(self, name: str, wanted: dict[str, str]) -> None:
        """Set what is wanted, and take back what was set for the topic and is wanted no longer."""
        topic = ConfigResource(ConfigResource.Type.TOPIC, name)
        entries = self._admin.describe_configs([topic])[topic].result()
        own = {
            key: each.value for key, each in entries.items() if each.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        }
        changes: list[tuple[str, str | None, AlterConfigOpType]]
        changes = [(key, value, AlterConfigOpType.SET) for key, value in wanted.items() if own.get(key) != value]
        changes += [(key, None, AlterConfigOpType.DELETE) for key in own if key not in wanted]
        if changes:
            what = [ConfigEntry(key, value, incremental_operation=operation) for key, value, operation in changes]
            topic = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=what)
            self._admin.incremental_alter_configs([topic])[topic].result()

    def _delete(self, resource: dict[str, Any], *, managed: bool) -> None:
        if FINALIZER not in resource["metadata"].get("finalizers", []):
            return
        name = _name(resource)
        if managed and name in self._admin.list_topics(timeout=TIMEOUT).topics:
            self._admin.delete_topics([name], request_timeout=TIMEOUT)[name].result()
        self._finalizer(resource, present=False)

    def _finalizer(self, resource: dict[str, Any], *, present: bool) -> None:
        found = resource["metadata"].get("finalizers", [])
        wanted = [*(each for each in found if each != FINALIZER), *([FINALIZER] if present else [])]
        if set(wanted) != set(found):
            # With the version, so that nobody else's finalizer is lost.
            metadata = {"finalizers": wanted, "resourceVersion": resource["metadata"]["resourceVersion"]}
            changed = self._resources.patch_namespaced_custom_object(*self._where(resource), {"metadata": metadata})
            resource["metadata"] = changed["metadata"]

    def _report(
        self, resource: dict[str, Any], kind: str, *, reason: str | None = None, message: str | None = None, **more: str
    ) -> None:
        """Write the status if it says anything new; the transition's time moves only with the condition's status."""
        old = resource.get("status", {})
        condition: dict[str, Any] = {"type": kind, "status": "False" if reason else "True"}
        condition |= {key: value for key, value in (("reason", reason), ("message", message)) if value}
        before: dict[str, Any] = next((each for each in old.get("conditions", []) if each["type"] == kind), {})
        same = before.get("status") == condition["status"]
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition["lastTransitionTime"] = before["lastTransitionTime"] if same else now
        status = {"conditions": [condition], "observedGeneration": resource["metadata"]["generation"], **more}
        kept = {key: old[key] for key in ("topicName", "topicId") if key in old and reason}
        if (status := kept | status) != old:
            absent = {key: None for key in old if key not in status}
            self._resources.patch_namespaced_custom_object_status(*self._where(resource), {"status": status | absent})

    def _where(self, resource: dict[str, Any]) -> tuple[str, ...]:
        return (*API, self._namespace, "kafkatopics", resource["metadata"]["name"])


def _name(resource: dict[str, Any]) -> str:
    return str(resource["spec"].get("topicName") or resource["metadata"]["name"])


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(_text, value)) if isinstance(value, list) else str(value)


def main() -> None:
    """Reconcile for ever; any other fault that is nobody's topic's ends the process, and its pod starts anew."""
    config.load_incluster_config()
    servers, namespace = os.environ["KAFKA_BOOTSTRAP_SERVERS"], os.environ["NAMESPACE"]
    while True:
        # A client of its own for each outage: one that was connected to a broker which was killed by force may stay without it.
        admin = AdminClient({"bootstrap.servers": servers})
        operator = TopicOperator(admin, client.CustomObjectsApi(), namespace, os.environ["STRIMZI_CLUSTER"])
        try:
            while True:
                operator.reconcile_all()
                time.sleep(POLL_SECONDS)
        except KafkaException as error:
            print(f"no broker answers: {error}", flush=True)
            time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
