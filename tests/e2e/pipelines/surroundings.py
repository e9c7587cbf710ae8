"""The operator as a process of its own with exactly the chart's rights, and short words for what stories do to a
cluster."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cluster import ApiServer
from devstack.child import Child
from e2e.pipelines.nodes import Nodes
from support.objects import Json, Objects, until_established

ROOT = Path(__file__).parents[3]
SYSTEM = "clickstream-system"
ACCOUNT = "clickstream-operator"
USER = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
KAFKA = "kafka"
"""The namespace of Strimzi's Kafka cluster, where the KafkaTopics are."""
RESYNC_SECONDS = 2
APPS_IMAGE = "clickstream-apps:test"


def kafka(namespace: str = KAFKA, **more: Any) -> Json:
    """The `kafka` member of a pipeline whose KafkaTopics are in this namespace."""
    strimzi = {"cluster": "my-cluster", "namespace": namespace}
    return {"bootstrapServers": f"my-cluster-kafka-bootstrap.{KAFKA}:9092", "strimzi": strimzi} | more


def pipeline(name: str = "shop", namespace: str = "web", **spec: Any) -> Json:
    """A small pipeline; keyword arguments replace members of its spec, None removes one."""
    whole: Json = {
        "kafka": kafka(),
        "sources": [{"name": "web", "writeKeySecretRef": {"name": "keys"}, "allowedOrigins": ["*"]}],
        "sinks": {
            "elasticsearch": {"url": "http://elasticsearch:9200"},
            "postgres": {"connectionSecretRef": {"name": "postgres"}},
        },
    } | spec
    return {
        "apiVersion": "clickstream.dev/v1alpha1",
        "kind": "ClickstreamPipeline",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {key: value for key, value in whole.items() if value is not None},
    }


@dataclass
class Surroundings(Objects):
    """A control plane with the CRDs in it, and the operator on it when it was started."""

    space = "web"
    api: ApiServer
    folder: Path
    nodes: Nodes
    process: Child | None = None
    starts: int = 0
    env: dict[str, str] = field(default_factory=dict)

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        return self.api.kubectl(*arguments, text=text)

    def explain(self) -> str:
        return f"{super().explain()}\n{self.log()[-6_000:]}"

    def topics(self, namespace: str = "web", where: str = KAFKA) -> list[Json]:
        """The KafkaTopics of the pipelines of a namespace."""
        return self.all("kafkatopic", f"clickstream.dev/namespace={namespace}", namespace=where)

    def start_operator(self, kubeconfig: Path | None = None, **env: str) -> None:
        """Start it, with the chart's rights unless another kubeconfig is given."""
        assert self.process is None
        self.starts += 1
        environment = {
            "KUBECONFIG": str(kubeconfig or self.api.service_account_kubeconfig(SYSTEM, ACCOUNT)),
            "OPERATOR_APPS_IMAGE": APPS_IMAGE,
            "PYTHONFAULTHANDLER": "1",
            "OPERATOR_OPS_HOST": "127.0.0.1",
            "OPERATOR_OPS_PORT": "0",
            "OPERATOR_RESYNC_SECONDS": str(RESYNC_SECONDS),
            **self.env,
            **env,
        }
        command, log = [sys.executable, "-m", "clickstream_operator.main"], self._log_file()
        self.process = Child("operator", command, log, log.with_suffix(".port"), environment)

    def stop_operator(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it with a signal; its exit status."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send(number)
        try:
            return process.popen.wait(20)
        finally:
            process.kill()

    def log(self) -> str:
        path = self._log_file()
        return path.read_text(errors="replace") if path.exists() else ""

    def writes(self, begin: int = 0) -> list[str]:
        """What the operator wrote, or tried to, from the given number of audit events on."""
        return [
            f"{event['verb']} {event['objectRef'].get('resource')}/{event['objectRef'].get('name', '')}"
            for event in list(self.api.writes(USER))[begin:]
            if event["objectRef"].get("resource") != "events"
        ]

    def until_at_rest(self, namespace: str, passes: int = 10) -> None:
        """Wait until the operator has made so many passes over the one pipeline of a namespace and written nothing.

        First its autoscalers say that there is no metrics-server, and its Deployments come to their minimum.
        """
        begin = len(self.writes()), self.passes(namespace)

        def rested() -> bool:
            nonlocal begin
            writes, made = len(self.writes()), self.passes(namespace)
            if writes != begin[0]:
                begin = writes, made
            return made >= begin[1] + passes

        self.until("the pipeline is at rest", rested, 180)

    def passes(self, namespace: str) -> int:
        """How often the operator has looked at the one pipeline of a namespace: each pass reads its Secret `keys`."""
        return sum(
            event["verb"] == "get"
            and event["user"]["username"] == USER
            and event.get("objectRef", {}).get("resource") == "secrets"
            and (event["objectRef"].get("namespace"), event["objectRef"].get("name")) == (namespace, "keys")
            for event in self.api.audited()
        )

    def namespace(self, name: str) -> None:
        """A namespace with the Secrets that `pipeline` refers to."""
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
            secret("keys", name, {"write-key": "a-write-key"}),
            secret("postgres", name, {"uri": "postgresql://clickstream:secret@postgres:5432/clickstream"}),
        )

    def _log_file(self) -> Path:
        return self.folder / f"operator-{self.starts}.log"


def secret(name: str, namespace: str, content: dict[str, str]) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": content,
    }


@contextmanager
def surroundings(folder: Path, definitions: Path, rights: list[Json]) -> Iterator[Surroundings]:
    """A fresh control plane: our CRD, Strimzi's, and the operator's account with `rights`."""
    with ApiServer.start(folder, audit=True) as api:
        api.kubectl("apply", "-f", ROOT / "manifests" / "crds")
        api.kubectl("apply", "--server-side", "-f", definitions / "kafkatopics.json")
        for space in (SYSTEM, KAFKA):
            api.kubectl("create", "namespace", space)
        api.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(rights))
        until_established(api.kubectl, "clickstreampipelines.clickstream.dev", "kafkatopics.kafka.strimzi.io")
        with Nodes(api.kubeconfig) as nodes:
            found = Surroundings(api, folder, nodes)
            try:
                yield found
            finally:
                found.stop_operator(signal.SIGKILL)
