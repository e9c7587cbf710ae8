"""The dependencies in the cluster: under the restricted standard, found by their names, and back with their data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from elasticsearch import Elasticsearch

from cluster import Node, images
from devstack.errors import StartError
from e2e.dependencies import image
from e2e.dependencies.installation import install
from support.waiting import until

NAMESPACE = """\
apiVersion: v1
kind: Namespace
metadata: {name: clickstream, labels: {pod-security.kubernetes.io/enforce: restricted}}
"""
TOPIC = {
    "apiVersion": "kafka.strimzi.io/v1",
    "kind": "KafkaTopic",
    "metadata": {"name": "ducks", "namespace": "clickstream", "labels": {"strimzi.io/cluster": "my-cluster"}},
    "spec": {"partitions": 2, "replicas": 1, "config": {"retention.ms": 3600000}},
}
PRODUCE = """
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": "my-cluster-kafka-bootstrap:9092", "acks": "all"})
[producer.produce("ducks", str(number)) for number in range(1000)]
assert producer.flush(30) == 0
"""
COUNT = """
from confluent_kafka import Consumer, TopicPartition
consumer = Consumer({"bootstrap.servers": "my-cluster-kafka-bootstrap:9092", "group.id": "count"})
print(sum(consumer.get_watermark_offsets(TopicPartition("ducks", p), timeout=30)[1] for p in range(PARTITIONS)))
"""

TOPICS = """
from confluent_kafka.admin import AdminClient
admin = AdminClient({"bootstrap.servers": "my-cluster-kafka-bootstrap:9092"})
print(*(name for name in admin.list_topics(timeout=30).topics if not name.startswith("__")))
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node.from_environment()
    node.down()
    try:
        node.up()
        node.load(images.save(image.build(), tmp_path_factory.mktemp("dependencies") / "image.tar"))
        node.kubectl("apply", "-f", "-", text=NAMESPACE)
        try:
            install(node.kubectl, "clickstream", "clickstream")
        except StartError:
            print(kubectl(node, "describe", "pods"))
            print(kubectl(node, "logs", "--selector=app.kubernetes.io/name", "--prefix", "--tail=30"))
            raise
        yield node
    finally:
        node.down()


def kubectl(node: Node, *arguments: str, text: str | None = None) -> str:
    return node.kubectl("--namespace=clickstream", *arguments, text=text)


def apply_topic(node: Node, **spec: Any) -> None:
    kubectl(node, "apply", "-f", "-", text=json.dumps(TOPIC | {"spec": TOPIC["spec"] | spec}))


def status(node: Node) -> dict[str, Any]:
    resource = json.loads(kubectl(node, "get", "kafkatopic", "ducks", "-o", "json"))
    found = resource.get("status", {})
    return found if found.get("observedGeneration") == resource["metadata"]["generation"] else {}


def ready(node: Node) -> str | None:
    return next((each["status"] for each in status(node).get("conditions", []) if each["type"] == "Ready"), None)


def run(node: Node, code: str) -> str:
    """Run Python in the topic operator's pod, which has a Kafka client."""
    return kubectl(node, "exec", "deployment/topic-operator-stand-in", "--", "python3", "-c", code)


def address(node: Node, service: str) -> str:
    return kubectl(node, "get", "service", service, "-o", "jsonpath={.spec.clusterIP}")


def postgres(node: Node) -> psycopg.Connection:
    return psycopg.connect(
        f"postgresql://clickstream:clickstream@{address(node, 'postgres')}/clickstream",
        autocommit=True,
        connect_timeout=5,
    )


def test_a_kafka_topic_becomes_a_topic_and_says_so(node: Node) -> None:
    apply_topic(node)
    until(lambda: ready(node) == "True", "the topic is ready")
    assert run(node, TOPICS).split() == ["ducks"]
    assert status(node)["topicName"] == "ducks"
    run(node, PRODUCE)
    assert run(node, COUNT.replace("PARTITIONS", "2")).strip() == "1000"


def test_partitions_can_be_added_and_not_removed(node: Node) -> None:
    apply_topic(node, partitions=4)
    until(lambda: ready(node) == "True", "the topic has its partitions")
    assert run(node, COUNT.replace("PARTITIONS", "4")).strip() == "1000"
    apply_topic(node, partitions=3)
    until(lambda: ready(node) == "False", "it is refused")
    condition = status(node)["conditions"][0]
    assert (condition["reason"], condition["message"]) == ("NotSupported", "Decreasing partitions not supported")
    apply_topic(node, partitions=4)
    until(lambda: ready(node) == "True", "the topic is ready again")


def test_every_server_comes_back_with_its_data_after_its_pod_was_deleted_by_force(node: Node) -> None:
    search = Elasticsearch(f"http://{address(node, 'elasticsearch')}:9200")
    search.index(index="ducks", id="1", document={"name": "Donald"}, refresh=True)
    with postgres(node) as connection:
        connection.execute("CREATE TABLE ducks AS SELECT 'Daisy' AS name")
    kubectl(node, "delete", "pod", "kafka-0", "elasticsearch-0", "postgres-0", "--grace-period=0", "--force")
    for server in ("kafka", "elasticsearch", "postgres"):
        kubectl(node, "rollout", "status", f"statefulset/{server}", "--timeout=120s")
    assert search.get(index="ducks", id="1")["_source"] == {"name": "Donald"}
    with postgres(node) as connection:
        assert connection.execute("SELECT name FROM ducks").fetchall() == [("Daisy",)]
    assert run(node, COUNT.replace("PARTITIONS", "4")).strip() == "1000"


def test_a_deleted_kafka_topic_takes_its_topic_with_it(node: Node) -> None:
    kubectl(node, "delete", "kafkatopic", "ducks", "--timeout=60s")
    assert run(node, TOPICS).split() == []
