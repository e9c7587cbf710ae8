"""The operator as a process of its own with exactly the chart's rights, and short words for what stories do to a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from devstack.errors import StartError
from e2e.cluster import ApiServer
from e2e.pipelines.nodes import Nodes

ROOT = Path(__file__).parents[3]
SYSTEM = "clickstream-system"
ACCOUNT = "clickstream-operator"
USER = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
RESYNC_SECONDS = 2
APPS_IMAGE = "clickstream-apps:test"

Json = dict[str, Any]


def pipeline(name: str = "shop", namespace: str = "web", **spec: Any) -> Json:
    """A small pipeline; keyword arguments replace members of its spec, None removes one."""
    whole: Json = {
        "kafka": {"bootstrapServers": "my-cluster-kafka-bootstrap:9092", "strimzi": {"cluster": "my-cluster"}},
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
class Surroundings:
    """A control plane with the CRDs in it, and the operator on it when it was started."""

    api: ApiServer
    folder: Path
    nodes: Nodes
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    env: dict[str, str] = field(default_factory=dict)

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        return self.api.kubectl(*arguments, text=text)

    def apply(self, *objects: Json) -> str:
        return self.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(objects))

    def get(self, kind: str, name: str, namespace: str = "web") -> Json | None:
        try:
            return json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))  # type: ignore[no-any-return]
        except StartError as error:
            if "NotFound" in str(error):
                return None
            raise

    def all(self, kind: str, namespace: str = "web", labels: str = "") -> list[Json]:
        arguments = ["get", kind, "-n", namespace, "-o", "json", *(["-l", labels] if labels else [])]
        return json.loads(self.kubectl(*arguments))["items"]  # type: ignore[no-any-return]

    def patch(self, kind: str, name: str, patch: Json, namespace: str = "web") -> str:
        return self.kubectl("patch", kind, name, "-n", namespace, "--type=merge", "-p", json.dumps(patch))

    def delete(self, kind: str, name: str, namespace: str = "web", *more: str) -> str:
        return self.kubectl("delete", kind, name, "-n", namespace, "--wait=false", *more)

    def condition(self, name: str = "shop", namespace: str = "web", kind: str = "Ready") -> Json:
        """The condition as it stands for the current generation, empty until it is there."""
        found = self.get("csp", name, namespace)
        if found is None or found.get("status", {}).get("observedGeneration") != found["metadata"]["generation"]:
            return {}
        return next((each for each in found["status"]["conditions"] if each["type"] == kind), {})

    def until(self, what: str, true: Callable[[], Any], seconds: float = 30) -> Any:
        """Wait until `true()` is; what it answered. Shows the operator's log when it does not come."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = true()
            if found:
                return found
            time.sleep(0.1)
        message = (
            f"not within {seconds} s: {what}\n{self.kubectl('get', 'csp', '-A', '-o', 'wide')}\n{self.log()[-6_000:]}"
        )
        raise AssertionError(message)

    def until_ready(self, name: str = "shop", namespace: str = "web", seconds: float = 60) -> Json:
        return self.until(  # type: ignore[no-any-return]
            f"{namespace}/{name} is ready", lambda: self.condition(name, namespace).get("status") == "True", seconds
        )

    def until_reason(self, reason: str, name: str = "shop", namespace: str = "web", kind: str = "Ready") -> Json:
        """Wait for a condition's reason; the condition."""

        def there() -> Json | None:
            found = self.condition(name, namespace, kind)
            return found if found.get("reason") == reason else None

        return self.until(f"{kind} of {namespace}/{name} says {reason}", there)  # type: ignore[no-any-return]

    def start_operator(self, kubeconfig: Path | None = None, **env: str) -> None:
        """Start it, with the chart's rights unless another kubeconfig is given."""
        assert self.process is None
        self.starts += 1
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig or self.api.service_account_kubeconfig(SYSTEM, ACCOUNT)),
            "OPERATOR_APPS_IMAGE": APPS_IMAGE,
            "PYTHONFAULTHANDLER": "1",
            "OPERATOR_OPS_HOST": "127.0.0.1",
            "OPERATOR_OPS_PORT": "0",
            "OPERATOR_RESYNC_SECONDS": str(RESYNC_SECONDS),
            **self.env,
            **env,
        }
        with self._log_file().open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "clickstream_operator.main"], env=environment, stdout=log, stderr=log
            )

    def stop_operator(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; its exit status."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

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

    def passes(self, namespace: str) -> int:
        """How often the operator has looked at the one pipeline of a namespace: each pass reads it once."""
        reads = (json.loads(line) for line in self.api.audit_log.read_text(encoding="utf-8").splitlines())
        return sum(
            event["verb"] == "get"
            and event["user"]["username"] == USER
            and event.get("objectRef", {}).get("resource") == "clickstreampipelines"
            and event["objectRef"].get("namespace") == namespace
            for event in reads
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
        api.kubectl("create", "namespace", SYSTEM)
        api.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(rights))
        for crd in ("clickstreampipelines.clickstream.dev", "kafkatopics.kafka.strimzi.io"):
            api.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{crd}")
        with Nodes(api.kubeconfig) as nodes:
            found = Surroundings(api, folder, nodes)
            try:
                yield found
            finally:
                found.stop_operator(signal.SIGKILL)
