"""Making the cluster agree with the desired children: apply what differs, prune what is no longer wanted.

What agrees is left alone, so that an idle pipeline causes no writes. A child that cannot be applied does not keep the
others from it; its component is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from clickstream_operator import naming
from clickstream_operator.cluster import Cluster, ClusterError
from clickstream_operator.desired.child import Child, Hold
from clickstream_operator.differences import differs
from clickstream_operator.health import job_state
from clickstream_operator.observation import ChildKey, Observed, conflict, is_ours
from clickstream_operator.spec import PipelineResource

FAILED_JOB_SECONDS: Final = 60.0
"""A failed Job is deleted, and so made again, when it has been failed for so long."""

Count = Callable[[str, str], None]
"""Told of each write: the verb and the kind."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a child could not be applied."""

    reason: str
    message: str


@dataclass(slots=True)
class Applied:
    """`live` are the children as they are now; `holds` and `failures` the first ones of each component."""

    live: dict[ChildKey, dict[str, Any]] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    writes: int = 0


class Application:
    """One pass over the children of one pipeline. `now`: aware datetime."""

    def __init__(self, cluster: Cluster, pipeline: PipelineResource, count: Count, now: datetime) -> None:
        self._cluster = cluster
        self._pipeline = pipeline
        self._count = count
        self._now = now

    def apply(self, children: Iterable[Child], observed: Observed) -> Applied:
        """Apply what differs. Raises ClusterError only when the API server is away."""
        done = Applied()
        for child in children:
            live = observed.objects.get(child.key)
            if live is not None:
                done.live[child.key] = live
            if child.hold is not None and not (child.hold.creation_only and live is not None):
                done.holds.setdefault(child.component, child.hold)
                continue
            try:
                self._apply(child, live, done)
            except ClusterError as error:
                if error.status == 0:
                    raise
                done.failures.setdefault(child.component, Failure(_reason(error), str(error)))
        return done

    def prune(self, children: Iterable[Child], observed: Observed, done: Applied) -> None:
        """Delete what belongs to the pipeline and is not among the children. Topics are data and stay."""
        wanted = {child.key for child in children}
        for key, live in observed.objects.items():
            if key in wanted or key[0] == "KafkaTopic" or not is_ours(live, self._pipeline) or _is_going(live):
                continue
            try:
                self._delete(key, live, done)
            except ClusterError as error:
                if error.status == 0:
                    raise
                done.failures.setdefault("configuration", Failure(_reason(error), str(error)))

    def _apply(self, child: Child, live: dict[str, Any] | None, done: Applied) -> None:
        digest = naming.digest(child.manifest, 16)
        if live is None:
            foreign = conflict(self._cluster, self._pipeline, child.key)
            if foreign is not None:
                done.failures.setdefault(child.component, Failure("NameConflict", foreign))
                return
        elif _is_going(live) or not is_ours(live, self._pipeline):
            # It is made again once it is gone; a child of an earlier pipeline of this name goes with that one.
            return
        elif self._has_failed_for_long(live):
            self._delete(child.key, live, done)
            return
        elif _annotation(live) == digest and differs(child.manifest, live) is None:
            return
        annotations = {**child.manifest["metadata"].get("annotations", {}), naming.APPLIED_ANNOTATION: digest}
        manifest = child.manifest | {"metadata": child.manifest["metadata"] | {"annotations": annotations}}
        done.live[child.key] = self._cluster.apply(manifest)
        done.writes += 1
        self._count("apply", child.key[0])

    def _delete(self, key: ChildKey, live: dict[str, Any], done: Applied) -> None:
        self._cluster.delete(*key, uid=live["metadata"]["uid"])
        done.live.pop(key, None)
        done.writes += 1
        self._count("delete", key[0])

    def _has_failed_for_long(self, live: dict[str, Any]) -> bool:
        if live.get("kind", "Job") != "Job" or job_state(live) != "Failed":
            return False
        since = next(each["lastTransitionTime"] for each in live["status"]["conditions"] if each["type"] == "Failed")
        return (self._now - datetime.fromisoformat(since)).total_seconds() > FAILED_JOB_SECONDS


def _annotation(live: dict[str, Any]) -> str | None:
    found: str | None = (live["metadata"].get("annotations") or {}).get(naming.APPLIED_ANNOTATION)
    return found


def _is_going(live: dict[str, Any]) -> bool:
    return live["metadata"].get("deletionTimestamp") is not None


def _reason(error: ClusterError) -> str:
    return "Forbidden" if error.status == 403 else "ApplyFailed"
