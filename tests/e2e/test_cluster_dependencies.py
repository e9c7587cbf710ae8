"""The dependencies in the cluster: under the restricted standard, found by their names, and back with their data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import elastic_transport
import psycopg
import pytest
from elasticsearch import Elasticsearch

from cluster import Node, images
from devstack.errors import StartError
from e2e.dependencies import image
from e2e.dependencies.installation import install
from support.waiting import until

# The stories need these servers, too; a cluster for them alone takes minutes.
pytestmark = pytest.mark.long

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
            print(state(node))
            raise
        yield node
    finally:
        node.down()


def kubectl(node: Node, *arguments: str, text: str | None = None) -> str:
    return node.kubectl("--namespace=clickstream", *arguments, text=text)


def state(node: Node) -> str:
    """What the pods and their logs say."""
    logs = kubectl(node, "logs", "--selector=app.kubernetes.io/name", "--prefix", "--tail=30")
    return kubectl(node, "describe", "pods") + logs


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


def pod(node: Node, server: str) -> dict[str, Any]:
    """The server's pod, {} while there is none."""
    found = kubectl(node, "get", "pod", f"{server}-0", "--ignore-not-found", "-o", "json")
    return json.loads(found) if found.strip() else {}


def is_another_and_ready(node: Node, server: str, before: set[str]) -> bool:
    found = pod(node, server)
    conditions = found.get("status", {}).get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and found["metadata"]["uid"] not in before


def served(ask: Callable[[], Any]) -> Any:
    """An answer, once the Service leads to the new pod."""

    def answer() -> Any:
        try:
            return ask()
        except (elastic_transport.ConnectionError, psycopg.OperationalError):
            return None

    return until(answer, "the Service leads to the pod")


def names(node: Node) -> list[Any]:
    with postgres(node) as connection:
        return connection.execute("SELECT name FROM ducks").fetchall()


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
    # The first write makes the index, beside whatever else the machine does.
    search = Elasticsearch(f"http://{address(node, 'elasticsearch')}:9200", request_timeout=60)
    search.index(index="ducks", id="1", document={"name": "Donald"}, refresh=True)
    with postgres(node) as connection:
        connection.execute("CREATE TABLE ducks AS SELECT 'Daisy' AS name")
    servers = ("kafka", "elasticsearch", "postgres")
    before = {pod(node, server)["metadata"]["uid"] for server in servers}
    kubectl(node, "delete", "pod", *(f"{server}-0" for server in servers), "--grace-period=0", "--force")
    for server in servers:
        until(
            lambda server=server: is_another_and_ready(node, server, before),
            f"{server} is back",
            300,
            explain=lambda: state(node),
        )
    assert served(lambda: search.get(index="ducks", id="1")["_source"]) == {"name": "Donald"}
    assert served(lambda: names(node)) == [("Daisy",)]
    assert run(node, COUNT.replace("PARTITIONS", "4")).strip() == "1000"


def test_a_deleted_kafka_topic_takes_its_topic_with_it(node: Node) -> None:
    kubectl(node, "delete", "kafkatopic", "ducks", "--timeout=60s")
    assert run(node, TOPICS).split() == []
