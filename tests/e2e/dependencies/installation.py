"""Installing the dependencies into a namespace of any cluster that has the image of `image.build`.

Why it exists: stories begin with a cluster in which Kafka, Elasticsearch, PostgreSQL and KafkaTopics work.
Deliberately absent: removing them; they go with their namespace.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from e2e.dependencies.strimzi import definitions

MANIFESTS = Path(__file__).parent / "manifests"
SERVERS = ("kafka", "elasticsearch", "postgres")
TOPIC_OPERATOR = "topic-operator-stand-in"


def install(kubectl: Callable[..., str], namespace: str) -> None:
    """Apply all of them to `namespace`, which exists, and wait until they serve. Raises StartError with kubectl's words."""
    kubectl("apply", "--server-side", "-f", definitions())
    kubectl("apply", "--server-side", f"--namespace={namespace}", "-f", MANIFESTS)
    for server in SERVERS:
        kubectl("rollout", "status", f"statefulset/{server}", f"--namespace={namespace}", "--timeout=180s")
    kubectl("rollout", "status", f"deployment/{TOPIC_OPERATOR}", f"--namespace={namespace}", "--timeout=60s")
