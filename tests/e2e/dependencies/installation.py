"""Installing the dependencies into a namespace of any cluster that has the image of `image.build`.

Stories begin with a cluster in which Kafka, Elasticsearch, PostgreSQL and KafkaTopics work. They go with their
namespaces.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from e2e.dependencies.strimzi import definitions

MANIFESTS = Path(__file__).parent / "manifests"
TOPIC_OPERATOR = "topic-operator-stand-in"


def install(kubectl: Callable[..., str], stores: str, kafka: str) -> None:
    """Apply all of them to these namespaces, which exist, and wait until they serve.

    Raises StartError with kubectl's words.
    """
    kubectl("apply", "--server-side", "-f", definitions())
    places = {"kafka": kafka, TOPIC_OPERATOR: kafka, "elasticsearch": stores, "postgres": stores}
    for name, namespace in places.items():
        kubectl("apply", "--server-side", f"--namespace={namespace}", "-f", MANIFESTS / f"{name}.yaml")
    for name, namespace in places.items():
        what = f"deployment/{name}" if name == TOPIC_OPERATOR else f"statefulset/{name}"
        kubectl("rollout", "status", what, f"--namespace={namespace}", "--timeout=600s")
