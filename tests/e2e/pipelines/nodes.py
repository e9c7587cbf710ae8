"""Stands in for what a control plane without nodes lacks: kubelets that run pods, and Strimzi's Topic Operator.

It reports pods as ready and Jobs' pods as succeeded; the stand-in of the Topic Operator works on topics in memory. All
else (controllers, admission, access control, garbage collection) is the real API server's. The bare cluster's stories
run real pods.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import kubernetes

from e2e.dependencies.topic_operator_stand_in import BrokerError, Topic, TopicOperator

POLL_SECONDS = 0.2
NOW = "2026-01-01T00:00:00Z"
_ERRORS = "org.apache.kafka.common.errors"


class Memory:
    """Three brokers as the Topic Operator sees them. `trouble`: what they answer to everything.

    `keep_deleted`: they have delete.topic.enable=false.
    """

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.brokers = 3
        self.trouble: str | None = None
        self.keep_deleted = False

    def topic(self, name: str) -> Topic | None:
        self._refuse()
        return self.topics.get(name)

    def create(self, name: str, partitions: int, replicas: int, config: dict[str, str]) -> None:
        self._refuse()
        if replicas > self.brokers:
            msg = f"{_ERRORS}.InvalidReplicationFactorException: Unable to replicate the partition {replicas} time(s)"
            raise BrokerError(msg)
        self.topics[name] = Topic(f"id-of-{name}", (max(replicas, 1),) * max(partitions, 1), config)

    def grow(self, name: str, partitions: int) -> None:
        self._refuse()
        there = self.topics[name]
        self.topics[name] = replace(there, replicas=(there.replicas[0],) * partitions)

    def configure(self, name: str, changes: dict[str, str | None]) -> None:
        self._refuse()
        there = self.topics[name]
        changed = there.config | changes
        self.topics[name] = replace(there, config={key: value for key, value in changed.items() if value is not None})

    def delete(self, name: str) -> None:
        self._refuse()
        if self.keep_deleted:
            msg = f"{_ERRORS}.TopicDeletionDisabledException: Topic deletion is disabled."
            raise BrokerError(msg)
        del self.topics[name]

    def _refuse(self) -> None:
        if self.trouble is not None:
            raise BrokerError(self.trouble)


class Nodes:
    """Runs in a thread. `broken`: pods whose Deployment or Job has one of these names crash instead.

    `running`: Jobs' pods with one of these names neither end nor fail. `topics_work` False: the Topic Operator is away.
    """

    def __init__(self, kubeconfig: Path) -> None:
        client = kubernetes.config.new_client_from_config(str(kubeconfig))
        self._core = kubernetes.client.CoreV1Api(client)
        self.kafka = Memory()
        custom = kubernetes.client.CustomObjectsApi(client)
        self._topics = TopicOperator(self.kafka, custom, "", "strimzi.io/cluster=my-cluster", full_seconds=1)
        self.broken: dict[str, str] = {}
        self.running: set[str] = set()
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
                    self._topics.reconcile_changed()
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
        elif is_job and pod.metadata.name.startswith(tuple(self.running)):
            status = _running(container)
        elif is_job:
            status = _ended(container, 0, "", "Succeeded")
        else:
            status = _running(container)
        self._core.patch_namespaced_pod_status(pod.metadata.name, pod.metadata.namespace, {"status": status})


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
