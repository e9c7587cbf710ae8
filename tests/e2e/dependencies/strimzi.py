"""Strimzi's custom resource definitions, made by Strimzi's own generator from its Maven artifacts.

They are what a real Strimzi installs, and the operator must work with exactly them; no copy is kept in the project.
Strimzi's operators are published in images only.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from cluster.build import cache_folder, report, run
from devstack import cache, maven
from devstack import settings as devstack_settings
from devstack.jdk import find_jdk
from devstack.maven import Artifact

VERSION = "1.2.0"
ARTIFACTS = (Artifact("io.strimzi", "api", VERSION), Artifact("io.strimzi", "crd-generator", VERSION))
GENERATOR = (
    "io.strimzi.crdgenerator.CrdGenerator",
    "--label",
    "app:strimzi",
    "--target-kube",
    "1.30+",
    "--crd-api-version",
    "v1",
)
MODELS = {
    "kafkatopics": "io.strimzi.api.kafka.model.topic.KafkaTopic",
    "kafkausers": "io.strimzi.api.kafka.model.user.KafkaUser",
    "kafkas": "io.strimzi.api.kafka.model.kafka.Kafka",
    "kafkanodepools": "io.strimzi.api.kafka.model.nodepool.KafkaNodePool",
}


def definitions() -> Path:
    """Return a folder with a definition (`kafkatopics.json`, …) for `kubectl apply -f` each; made once, by a JDK
    21+."""

    def build(draft: Path) -> None:
        report(f"generating the definitions of Strimzi {VERSION} (once)")
        with tempfile.TemporaryDirectory() as libraries:
            where = devstack_settings.cache_folder()
            maven.copy_dependencies(
                ARTIFACTS, Path(libraries), cache=where, report=lambda _: None, cancelled=threading.Event()
            )
            targets = [f"{model}={draft / name}.json" for name, model in MODELS.items()]
            run([find_jdk().java, "-cp", f"{libraries}/*", *GENERATOR, *targets])

    key = cache.digest(maven.pom(ARTIFACTS), repr(GENERATOR), repr(MODELS))
    return cache.entry(cache_folder(), f"strimzi-{VERSION}-{key}", build)
