"""Stands in for what a control plane without nodes lacks: kubelets that run pods, and Strimzi's Topic Operator.

It reports pods as ready, Jobs' pods as succeeded, and KafkaTopics as ready, as those would; everything else (controllers,
admission, access control, garbage collection) is the real API server's. The bare cluster's stories run real pods.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Self

import kubernetes

POLL_SECONDS = 0.2
NOW = "2026-01-01T00:00:00Z"


class Nodes:
    """Runs in a thread. `broken`: pods whose Deployment or Job has one of these names crash instead."""

    def __init__(self, kubeconfig: Path) -> None:
        client = kubernetes.config.new_client_from_config(str(kubeconfig))
        self._core = kubernetes.client.CoreV1Api(client)
        self._custom = kubernetes.client.CustomObjectsApi(client)
        self.broken: dict[str, str] = {}
        self.topics_work = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nodes", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                for pod in self._core.list_pod_for_all_namespaces(label_selector="clickstream.dev/pipeline").items:
                    self._serve(pod)
                if self.topics_work:
                    self._make_topics()
            except kubernetes.client.ApiException as error:
                if error.status not in {404, 409}:  # it has changed since it was listed
                    raise

    def _serve(self, pod: Any) -> None:
        if pod.metadata.deletion_timestamp is not None or pod.status.phase in {"Succeeded", "Failed"}:
            return
        container = pod.spec.containers[0].name
        told = next((told for name, told in self.broken.items() if pod.metadata.name.startswith(name)), None)
        is_job = "batch.kubernetes.io/job-name" in (pod.metadata.labels or {})
        if told is None and not is_job and pod.status.phase == "Running" and _is_ready(pod):
            return
        if told is not None:
            status = _crashed(container, told, is_job=is_job)
        elif is_job:
            status = _ended(container, 0, "", "Succeeded")
        else:
            status = _running(container)
        self._core.patch_namespaced_pod_status(pod.metadata.name, pod.metadata.namespace, {"status": status})

    def _make_topics(self) -> None:
        found = self._custom.list_cluster_custom_object("kafka.strimzi.io", "v1", "kafkatopics")
        for topic in found["items"]:
            meta = topic["metadata"]
            status = topic.get("status", {})
            if status.get("observedGeneration") == meta["generation"]:
                continue
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": NOW}
            self._custom.patch_namespaced_custom_object_status(
                "kafka.strimzi.io", "v1", meta["namespace"], "kafkatopics", meta["name"],
                {"status": {"observedGeneration": meta["generation"], "conditions": [ready]}},
            )  # fmt: skip


def _is_ready(pod: Any) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])


def _running(container: str) -> dict[str, Any]:
    return {
        "phase": "Running",
        "conditions": [{"type": each, "status": "True"} for each in ("PodScheduled", "ContainersReady", "Ready")],
        "containerStatuses": [_status(container, {"running": {"startedAt": NOW}}, ready=True)],
    }


def _crashed(container: str, told: str, *, is_job: bool) -> dict[str, Any]:
    if is_job:
        return _ended(container, 4, told, "Failed")
    ended = {"exitCode": 2, "message": told, "reason": "Error", "startedAt": NOW, "finishedAt": NOW}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
    return {
        "phase": "Running",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
        "containerStatuses": [_status(container, waiting, ready=False) | {"lastState": {"terminated": ended}}],
    }


def _ended(container: str, code: int, told: str, phase: str) -> dict[str, Any]:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    ended = {"exitCode": code, "message": told, "reason": "Error", "startedAt": moment, "finishedAt": moment}
    return {"phase": phase, "containerStatuses": [_status(container, {"terminated": ended}, ready=False)]}


def _status(container: str, state: dict[str, Any], *, ready: bool) -> dict[str, Any]:
    return {"name": container, "image": "x", "imageID": "x", "ready": ready, "restartCount": 0, "state": state}
