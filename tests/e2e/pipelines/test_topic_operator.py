"""What Strimzi's Topic Operator does to KafkaTopics, on a real API server and a real broker.

The operator's stories rely on a stand-in for it, and this holds the stand-in to the real one's ways. `TOPIC_OPERATOR`
names the command of another one to try, such as the real one: `java -cp … io.strimzi.operator.topic.Main`.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions

from cluster import ApiServer
from devstack import Stack
from devstack.errors import StartError
from devstack.settings import Settings
from e2e.dependencies import topic_operator_stand_in
from e2e.dependencies.strimzi import definitions
from support.objects import until_established
from support.waiting import until

SPACE = "kafka"
ACCOUNT = "topic-operator"
FINALIZER = "strimzi.io/topic-operator"
FULL_SECONDS = 5
STAND_IN = f"{sys.executable} {topic_operator_stand_in.__file__}"

Json = dict[str, Any]


@dataclass
class Topics:
    """KafkaTopics, the topics of the broker, and the process that makes the ones out of the others."""

    api: ApiServer
    stack: Stack
    properties: dict[str, str]
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes]

    def __post_init__(self) -> None:
        self.admin = AdminClient({"bootstrap.servers": self.stack.kafka.bootstrap_servers})

    def apply(self, name: str, **spec: Any) -> None:
        self.api.kubectl("apply", "-f", "-", text=json.dumps(resource(name, **spec)))

    def get(self, name: str) -> Json | None:
        try:
            return json.loads(self.api.kubectl("get", "kafkatopic", name, "-n", SPACE, "-o", "json"))  # type: ignore[no-any-return]
        except StartError as error:
            if "NotFound" in str(error):
                return None
            raise

    def annotate(self, name: str, annotation: str) -> None:
        self.api.kubectl("annotate", "kafkatopic", name, "-n", SPACE, annotation)

    def delete(self, name: str) -> None:
        self.api.kubectl("delete", "kafkatopic", name, "-n", SPACE, "--wait=false")

    def condition(self, name: str) -> Json:
        """The condition as it stands for the current generation, empty until it is there."""
        found = self.get(name)
        if found is None or found.get("status", {}).get("observedGeneration") != found["metadata"]["generation"]:
            return {}
        (condition,) = found["status"]["conditions"]
        return condition  # type: ignore[no-any-return]

    def until_condition(self, name: str, kind: str, reason: str | None = None, status: str = "True") -> Json:
        def there() -> Json | None:
            found = self.condition(name)
            said = (found.get("type"), found.get("reason"), found.get("status"))
            return found if said == (kind, reason, status) else None

        def explain() -> str:
            return json.dumps(self.get(name), indent=1)

        return until(there, f"{name} says {kind} {reason}", 120, explain=explain)  # type: ignore[no-any-return]

    def partitions(self, name: str) -> int | None:
        """None: there is no such topic."""
        found = self.admin.list_topics(timeout=10).topics
        return len(found[name].partitions) if name in found else None

    def config(self, name: str, key: str) -> str:
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        return str(self.admin.describe_configs([resource])[resource].result(10)[key].value)


def resource(name: str, **spec: Any) -> Json:
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": name, "namespace": SPACE, "labels": {"strimzi.io/cluster": "my-cluster"}},
        "spec": {"partitions": 3} | spec,
    }


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topics]:
    folder: Path = tmp_path_factory.mktemp("topic-operator")
    properties: dict[str, str] = {}
    settings = replace(Settings.from_environment(home=folder / "servers"), kafka_properties=properties)
    with ApiServer.start(folder) as api, Stack.up(settings=settings, services=["kafka"]) as stack:
        api.kubectl("apply", "--server-side", "-f", definitions() / "kafkatopics.json")
        until_established(api.kubectl, "kafkatopics.kafka.strimzi.io")
        api.kubectl("create", "namespace", SPACE)
        api.kubectl("create", "serviceaccount", ACCOUNT, "-n", SPACE)
        may = ("--clusterrole=cluster-admin", f"--serviceaccount={SPACE}:{ACCOUNT}")
        api.kubectl("create", "clusterrolebinding", ACCOUNT, *may)
        environment = os.environ | {
            "KUBECONFIG": str(api.service_account_kubeconfig(SPACE, ACCOUNT)),
            "STRIMZI_NAMESPACE": SPACE,
            "STRIMZI_RESOURCE_LABELS": "strimzi.io/cluster=my-cluster",
            "STRIMZI_KAFKA_BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
            "STRIMZI_FULL_RECONCILIATION_INTERVAL_MS": str(FULL_SECONDS * 1_000),
        }

        def start() -> subprocess.Popen[bytes]:
            command = shlex.split(os.environ.get("TOPIC_OPERATOR", STAND_IN))
            with (folder / "topic-operator.log").open("ab") as log:
                return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

        found = Topics(api, stack, properties, start, start())
        try:
            yield found
        finally:
            found.process.kill()
            found.process.wait()
            print((folder / "topic-operator.log").read_text(errors="replace")[-6_000:])


def test_a_resource_becomes_a_topic_and_is_held_by_a_finalizer(topics):
    topics.apply("ducks", config={"retention.ms": 86_400_000})
    topics.until_condition("ducks", "Ready")
    found = topics.get("ducks")
    assert found["metadata"]["finalizers"] == [FINALIZER]
    described = topics.admin.describe_topics(TopicCollection(["ducks"]))["ducks"].result(10)
    topic_id = str(described.topic_id).translate(str.maketrans("+/", "-_"))
    assert {key: found["status"][key] for key in ("topicName", "topicId")} == {
        "topicName": "ducks",
        "topicId": topic_id,
    }
    assert topics.partitions("ducks") == 3
    topics.apply("ducks", partitions=4)
    until(lambda: topics.partitions("ducks") == 4, "partitions are added without a question", 30)
    until(lambda: topics.config("ducks", "retention.ms") == "604800000", "a setting that is gone is taken back", 30)


def test_what_is_refused_keeps_nothing_else_from_being_applied(topics):
    topics.apply("geese")
    topics.until_condition("geese", "Ready")
    more = {"min.insync.replicas": 2}
    topics.apply("geese", replicas=3, config=more)
    told = topics.until_condition("geese", "Ready", "NotSupported", "False")
    assert told["message"] == "Replication factor change not supported, but required for partitions [0, 1, 2]"
    assert topics.config("geese", "min.insync.replicas") == "2", "applied all the same"
    topics.apply("geese", partitions=2, config={"retention.ms": 86_400_000})
    until(lambda: topics.condition("geese").get("message") == "Decreasing partitions not supported", "it is told", 30)
    assert topics.config("geese", "retention.ms") == "86400000"
    assert topics.get("geese")["status"]["topicId"]


def test_what_kafka_refuses_is_told_with_the_class_of_its_error(topics):
    topics.apply("swans", replicas=3)
    told = topics.until_condition("swans", "Ready", "KafkaError", "False")
    assert told["message"].startswith("org.apache.kafka.common.errors.InvalidReplicationFactorException: ")
    topics.delete("swans")
    until(lambda: topics.get("swans") is None, "a resource without a topic goes", 30)


def test_an_unmanaged_or_paused_resource_has_no_ready_condition_and_changes_nothing(topics):
    topics.apply("teals")
    topics.until_condition("teals", "Ready")
    topics.annotate("teals", "strimzi.io/pause-reconciliation=true")
    topics.until_condition("teals", "ReconciliationPaused")
    topics.apply("teals", partitions=5)
    topics.until_condition("teals", "ReconciliationPaused")
    status = topics.get("teals")["status"]
    assert (status.get("topicName"), status.get("topicId")) == ("teals", None)
    topics.annotate("teals", "strimzi.io/managed=false")
    topics.until_condition("teals", "Unmanaged")
    status = topics.get("teals")["status"]
    assert (status.get("topicName"), status.get("topicId")) == (None, None)
    assert topics.partitions("teals") == 3
    topics.delete("teals")
    until(lambda: topics.get("teals") is None, "its finalizer is taken off", 30)
    assert topics.partitions("teals") == 3, "and the topic stays"


def test_two_resources_for_one_topic_are_a_conflict(topics):
    topics.apply("eider")
    topics.until_condition("eider", "Ready")
    topics.apply("eider-again", topicName="eider", partitions=9)
    told = topics.until_condition("eider-again", "Ready", "ResourceConflict", "False")
    assert told["message"] == "Managed by Ref{namespace='kafka', name='eider'}"
    assert topics.partitions("eider") == 3


def test_what_is_changed_in_kafka_is_put_back_at_the_full_pass(topics):
    topics.apply("scoter")
    topics.until_condition("scoter", "Ready")
    entry = ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ConfigResource.Type.TOPIC, "scoter", incremental_configs=[entry])
    topics.admin.incremental_alter_configs([change])[change].result(10)
    topics.admin.create_partitions([NewPartitions("scoter", 4)])["scoter"].result(10)
    told = topics.until_condition("scoter", "Ready", "NotSupported", "False")
    assert told["message"] == "Decreasing partitions not supported"
    until(lambda: topics.config("scoter", "retention.ms") == "604800000", "the setting is back", 30)


def test_a_deleted_topic_waits_for_the_topic_operator_and_can_be_saved_until_then(topics):
    for name in ("shoveler", "pintail"):
        topics.apply(name)
        topics.until_condition(name, "Ready")
    topics.process.kill()
    topics.process.wait()
    topics.delete("shoveler")
    topics.delete("pintail")
    topics.annotate("pintail", "strimzi.io/managed=false")
    assert "deletionTimestamp" in topics.get("shoveler")["metadata"]
    topics.process = topics.start()
    until(lambda: topics.get("shoveler") is None and topics.get("pintail") is None, "both are gone", 60)
    until(lambda: topics.partitions("shoveler") is None, "one with its topic", 30)
    assert topics.partitions("pintail") == 3, "the other without"


def test_brokers_that_are_away_are_told_of_every_topic_that_is_looked_at(topics):
    topics.apply("wigeon")
    topics.until_condition("wigeon", "Ready")
    topics.stack.kafka.stop()
    try:
        told = topics.until_condition("wigeon", "Ready", "KafkaError", "False")
        assert told["message"].startswith("org.apache.kafka.common.errors.TimeoutException")
    finally:
        topics.stack.kafka.start()
    topics.until_condition("wigeon", "Ready")


def test_a_topic_that_kafka_does_not_delete_keeps_its_resource_and_says_why(topics):
    topics.apply("gadwall")
    topics.until_condition("gadwall", "Ready")
    topics.stack.kafka.stop()
    topics.properties["delete.topic.enable"] = "false"
    topics.stack.kafka.start()
    topics.delete("gadwall")
    told = topics.until_condition("gadwall", "Ready", "KafkaError", "False")
    assert told["message"].startswith(
        "org.apache.kafka.common.errors.TopicDeletionDisabledException: Topic deletion is d"
    )
