"""The health of a child, as a condition: from the status of Deployments, Jobs and pods. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from clickstream_operator.desired.child_object import Manifest
from clickstream_operator.status import DASHBOARDS, SUSPENDED, Condition

_WAITING: Final = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CrashLoopBackOff", "CreateContainerConfigError",
     "CreateContainerError", "RunContainerError"}
)  # fmt: skip


def deployment_health(
    kind: str, deployment: Manifest | None, pods: Iterable[Manifest], *, suspended: bool
) -> Condition:
    """Whether a Deployment is rolled out and available; its pods tell why not."""
    if deployment is None:
        return Condition(kind, False, "Creating", "its Deployment is being created")
    name = deployment["metadata"]["name"]
    status = deployment.get("status") or {}
    if suspended:
        left = int(status.get("replicas") or 0)
        return Condition(
            kind, False, SUSPENDED, "the pipeline is suspended" + (f"; {left} pods are terminating" if left else "")
        )
    wanted = int(deployment["spec"].get("replicas", 1))
    current = int(status.get("observedGeneration") or 0) >= int(deployment["metadata"].get("generation") or 0)
    available = int(status.get("availableReplicas") or 0)
    updated = int(status.get("updatedReplicas") or 0)
    rolled_out = current and updated == int(status.get("replicas") or 0)
    count = f"{name}: {min(available, updated)} of {wanted} replicas are up to date and available"
    if rolled_out and available >= wanted:
        return Condition(kind, True, "Available", f"{name}: {available} of {wanted} replicas are available")
    trouble = _replica_failure(status) or pod_trouble(pods)
    if rolled_out and available:  # it works, and is being scaled
        reason, message = ("Scaling", count) if trouble is None else (trouble[0], f"{count}; {trouble[1]}")
        return Condition(kind, True, reason, message)
    if trouble is not None:
        return Condition(kind, False, trouble[0], f"{name}: {trouble[1]}", severe=True)
    return Condition(kind, False, "RollingOut" if available else "Starting", count)


def _replica_failure(status: Manifest) -> tuple[str, str] | None:
    """Why no pod can be made at all: a quota, or a policy that refuses it."""
    for each in status.get("conditions", []):
        if each["type"] == "ReplicaFailure" and each["status"] == "True":
            return each.get("reason", "ReplicaFailure"), each.get("message", "")
    return None


def pod_trouble(pods: Iterable[Manifest]) -> tuple[str, str] | None:
    """(reason, message) of the first pod that cannot run; None while pods run or start."""
    for pod in pods:
        status = pod.get("status") or {}
        name = pod["metadata"]["name"]
        for each in status.get("conditions", []):
            if each["type"] == "PodScheduled" and each["status"] == "False" and each.get("reason") == "Unschedulable":
                return "Unschedulable", f"pod {name}: {each.get('message', '')}"
        for container in status.get("containerStatuses", []):
            waiting = (container.get("state") or {}).get("waiting") or {}
            ended = (container.get("lastState") or {}).get("terminated") or (container.get("state") or {}).get(
                "terminated"
            )
            if waiting.get("reason") in _WAITING:
                why = waiting.get("message", "")
                if ended and waiting["reason"] == "CrashLoopBackOff":
                    why = f"exit status {ended.get('exitCode')}: {_last_lines(ended.get('message'))}"
                return waiting["reason"], f"pod {name}: {why}"
    return None


def job_health(kind: str, what: str, job: Manifest | None, pods: Iterable[Manifest]) -> Condition:
    """Whether a set-up Job is complete; its pods tell why not."""
    if job is None:
        return Condition(kind, False, "Creating", f"{what}: its set-up Job is being created")
    name = job["metadata"]["name"]
    state = job_state(job)
    if state == "Complete":
        return Condition(kind, True, "SetUp", f"{what} is set up")
    failure = last_failure(pods)
    if state == "Failed":
        why = failure or next((c.get("message", "") for c in job["status"]["conditions"] if c["type"] == "Failed"), "")
        return Condition(
            kind,
            False,
            "SetupFailed",
            f"Job {name} failed and is retried within 10 minutes, at once if you delete it: {why}",
            severe=True,
        )
    trouble = pod_trouble(pods)
    if trouble is not None:
        return Condition(kind, False, trouble[0], f"{what}: {trouble[1]}", severe=True)
    if failure:
        return Condition(kind, False, "SetupRetrying", f"Job {name} is retrying: {failure}", severe=True)
    return Condition(kind, False, "SettingUp", f"{what} is being set up by Job {name}")


def failed_at(job: Manifest) -> datetime | None:
    """Since when a Job has been failed, aware; None where it does not say."""
    for each in (job.get("status") or {}).get("conditions", []):
        if each["type"] == "Failed" and each["status"] == "True":
            with contextlib.suppress(ValueError):
                since = datetime.fromisoformat(str(each.get("lastTransitionTime")))
                return since if since.tzinfo is not None else None
    return None


def job_state(job: Manifest) -> str | None:
    """`Complete`, `Failed`, or None while it runs."""
    for each in (job.get("status") or {}).get("conditions", []):
        if each["type"] in {"Complete", "Failed"} and each["status"] == "True":
            return str(each["type"])
    return None


def last_failure(pods: Iterable[Manifest]) -> str:
    """The end of the latest termination message of a Job's failed pods; empty when none has failed."""
    ended: list[tuple[str, str]] = []
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses", []):
            for state in (container.get("state") or {}, container.get("lastState") or {}):
                done = state.get("terminated")
                if done and done.get("exitCode"):
                    ended.append((done.get("finishedAt") or "", _last_lines(done.get("message"))))
    return max(ended)[1] if ended else ""


def dashboards_health(count: int, *, enabled: bool) -> Condition:
    """Dashboards are ready once they are written; whether Grafana has found them is not known here."""
    if not enabled:
        return Condition(DASHBOARDS, True, "Disabled", "dashboards are disabled")
    return Condition(DASHBOARDS, True, "Written", f"{count} dashboards are written")


def _last_lines(text: str | None, lines: int = 3) -> str:
    return " | ".join((text or "").strip().splitlines()[-lines:])[-600:]
