"""A stand-in for the operator's `Cluster`: objects in memory, without admission, defaults or controllers.

For whole passes in the thousands; stories on a real API server are in tests/e2e/pipelines.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from clickstream_operator import naming
from clickstream_operator.cluster import ClusterError, Secret, Snapshot
from support.golden import FOLDER

Json = dict[str, Any]


def key_of(manifest: Json) -> tuple[str, str, str]:
    return manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]


class MemoryCluster:
    """The part of `Cluster` that a pass needs; a pipeline goes with its last finalizer.

    `admit` may change what is applied, or raise, as admission does. `writes` lists every write.
    """

    def __init__(self, *objects: Json, admit: Callable[[Json], Json] = lambda manifest: manifest) -> None:
        self.objects = {key_of(each): each for each in objects}
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.admit = admit
        self.writes: list[str] = []

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def list(self, kind: str, namespace: str | None, labels: dict[str, str]) -> list[Json]:
        return [
            copy.deepcopy(each)
            for key, each in self.objects.items()
            if key[0] == kind
            and namespace in {None, key[1]}
            and labels.items() <= each["metadata"].get("labels", {}).items()
        ]

    def apply(self, manifest: Json) -> Json:
        key = key_of(manifest)
        self.writes.append(f"apply {key[0]}/{key[2]}")
        made = self.admit(copy.deepcopy(manifest))
        there = self.objects.get(key, {"metadata": {"uid": f"uid-{len(self.writes)}"}})
        identity = {name: there["metadata"].get(name, "") for name in ("uid", "resourceVersion")}
        after = there | made | {"metadata": identity | made["metadata"]}
        if after != there:
            after["metadata"]["resourceVersion"] = str(len(self.writes))
        self.objects[key] = after
        return copy.deepcopy(after)

    def delete(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        self.writes.append(f"delete {kind}/{name}")
        assert self.objects.pop((kind, namespace, name))["metadata"]["uid"] == uid

    def merge(self, kind: str, namespace: str, name: str, patch: Json, subresource: str = "") -> None:
        self.writes.append(f"patch {kind}/{subresource}")
        there = self.objects[kind, namespace, name]
        for part, fields in patch.items():
            was = there.get(part)
            merged = (was if isinstance(was, dict) else {}) | fields
            there[part] = {name: value for name, value in merged.items() if value is not None}
        if there["metadata"].get("deletionTimestamp") and not there["metadata"].get("finalizers"):
            del self.objects[kind, namespace, name]

    def version(self, kind: str, namespace: str, name: str) -> str | None:
        if kind == "Secret" and name in self.secrets:
            return "1"
        there = self.objects.get((kind, namespace, name))
        return None if there is None else there["metadata"]["resourceVersion"]

    def secret(self, namespace: str, name: str) -> Secret | None:
        content = self.secrets.get(name)
        return None if content is None else Secret(f"{namespace}-{name}", "1", content)

    def serves(self, kind: str) -> bool:
        return True


def small_pipeline(name: str = "shop") -> Json:
    """A pipeline as the API server stores it."""
    body: Json = yaml.safe_load((FOLDER / "minimal" / "pipeline.yaml").read_text())
    body["metadata"] |= {"name": name, "uid": f"uid-of-{name}", "generation": 1, "resourceVersion": "1"}
    return body


class WatchedCluster(MemoryCluster):
    """One that can be watched, with controllers that are done at once. `reads` lists every read.

    Deployments become available while `deployments_work`. Kinds in `absent` are not served, and watches on the kind
    `refuse` are refused.
    """

    def __init__(self, *pipelines: Json) -> None:
        super().__init__(*pipelines, admit=self._run)
        self.reads: list[str] = []
        self.deployments_work = True
        self.absent: set[str] = set()
        self.refuse: str | None = None
        self._changed = threading.Condition()
        self._history: list[tuple[str, Json]] = []
        self._oldest = 0
        self._closed = False

    def close(self) -> None:
        """End all watches."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def serves(self, kind: str) -> bool:
        return kind not in self.absent

    def condition(self, name: str, kind: str = "Ready") -> Json:
        conditions = self.objects[naming.KIND, "web", name]["status"]["conditions"]
        return next(each for each in conditions if each["type"] == kind)

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        self.reads.append(f"get {kind}/{name}")
        return super().get(kind, namespace, name)

    def list(self, kind: str, namespace: str | None, labels: dict[str, str]) -> list[Json]:
        self.reads.append(f"list {kind}")
        return super().list(kind, namespace, labels)

    def secret(self, namespace: str, name: str) -> Secret | None:
        self.reads.append(f"get Secret/{name}")
        content = self.secrets.get(name)
        return None if content is None else Secret(f"{namespace}-{name}", str(content), content)

    def version(self, kind: str, namespace: str, name: str) -> str | None:
        self.reads.append(f"get metadata {kind}/{name}")
        return str(self.secrets[name]) if name in self.secrets else super().version(kind, namespace, name)

    def apply(self, manifest: Json) -> Json:
        before = self.objects.get(key_of(manifest))
        made = super().apply(manifest)
        if made != before:
            self._tell("ADDED" if before is None else "MODIFIED", made)
        return made

    def delete(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        there = self.objects[kind, namespace, name]
        super().delete(kind, namespace, name, uid)
        self._tell("DELETED", there)

    def edit(self, key: tuple[str, str, str], change: Callable[[Json], object]) -> None:
        """As somebody else changes it."""
        there = copy.deepcopy(self.objects[key])
        change(there)
        self.objects[key] = there
        self._tell("MODIFIED", there)

    def remove(self, key: tuple[str, str, str], *, silently: bool = False) -> None:
        """As somebody else deletes it; `silently`: no watch tells."""
        there = self.objects.pop(key)
        if not silently:
            self._tell("DELETED", there)

    def run_deployments(self) -> None:
        """All of them become available from now on."""
        self.deployments_work = True
        for key in [key for key in self.objects if key[0] == "Deployment"]:
            self.objects[key] = self._run(copy.deepcopy(self.objects[key]))

    def forget_history(self) -> None:
        """Watches that begin earlier are told that they are too late."""
        with self._changed:
            self._oldest = len(self._history)

    def snapshot(self, kind: str, namespace: str | None, selector: str, *, whole: bool) -> Snapshot:
        with self._changed:
            self._refuse(kind)
            found = [each for key, each in self.objects.items() if key[0] == kind]
            return Snapshot(copy.deepcopy(found), str(len(self._history)))

    def watch(
        self, kind: str, namespace: str | None, selector: str, since: str, *, whole: bool
    ) -> Iterator[tuple[str, Json]]:
        with self._changed:
            self._refuse(kind)
            if int(since) < self._oldest:
                raise ClusterError(410, "too old resource version")
        return self._events(kind, int(since))

    def _events(self, kind: str, next_one: int) -> Iterator[tuple[str, Json]]:
        while True:
            with self._changed:
                while len(self._history) == next_one and not self._closed:
                    self._refuse(kind)
                    self._changed.wait(0.02)
                if self._closed:
                    return
                what, found = self._history[next_one]
            next_one += 1
            if found["kind"] == kind:
                told = copy.deepcopy(found)
                told["metadata"]["resourceVersion"] = str(next_one)
                yield what, told

    def _refuse(self, kind: str) -> None:
        if kind == self.refuse:
            raise ClusterError(403, f"cannot watch {kind}")

    def _tell(self, what: str, found: Json) -> None:
        with self._changed:
            self._history.append((what, copy.deepcopy(found)))
            self._changed.notify_all()

    def _run(self, manifest: Json) -> Json:
        """What controllers make of it."""
        if manifest["kind"] == "KafkaTopic":
            manifest["status"] = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}
        if manifest["kind"] == "Job":
            manifest["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        if manifest["kind"] == "Deployment":
            pods = int(manifest["spec"].get("replicas", 1))
            manifest["status"] = {
                "replicas": pods,
                "updatedReplicas": pods if self.deployments_work else 0,
                "availableReplicas": pods,
                "readyReplicas": pods,
            }
        return manifest
