"""Making the cluster agree with the desired children: apply what differs, prune what is no longer wanted.

What agrees is left alone, so that an idle pipeline causes no writes. A child that cannot be applied does not keep the
others from it: its component's condition says why.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Final

from clickstream_operator import naming
from clickstream_operator.cluster import Cluster, ClusterError
from clickstream_operator.desired.child_object import Blocked, ChildKey, ChildObject, Manifest, is_going
from clickstream_operator.desired.kafka_topics import KIND as KAFKA_TOPIC
from clickstream_operator.observe import Observed, obstacle
from clickstream_operator.rewrites import Rewrites
from clickstream_operator.spec import PipelineResource
from clickstream_operator.status import BUSY

PAUSED: Final = "Paused"
_UNCHANGEABLE: Final = 422
"""The API server's answer to a change of what cannot change, a Job's template above all."""


@dataclass(slots=True)
class Applied:
    """`live` are the children as they are now; `written` says whether anything was written.

    Of each component the first child that was not applied: in `failures` those that the API server refused or whose
    name is taken, in `blocked` those that were not tried.
    """

    live: dict[ChildKey, Manifest] = field(default_factory=dict)
    blocked: dict[str, Blocked] = field(default_factory=dict)
    failures: dict[str, Blocked] = field(default_factory=dict)
    written: bool = False


class Applier:
    """For one pass over the children of one pipeline."""

    def __init__(self, cluster: Cluster, pipeline: PipelineResource, rewrites: Rewrites) -> None:
        self._cluster = cluster
        self._pipeline = pipeline
        self._rewrites = rewrites
        # Its data may be removed all the same: that is asked for by deleting it.
        self._paused = pipeline.paused and not pipeline.deleting

    def apply(self, desired: Iterable[ChildObject], observed: Observed, *, topics_ready: bool) -> Applied:
        """Apply what differs, or tell it where the pipeline is paused.

        Raises ClusterError only when the API server is away.
        """
        applied = Applied()
        for child in desired:
            live = observed.objects.get(child.key)
            if live is not None:
                applied.live[child.key] = live
            blocker = child.blocker(topics_ready=topics_ready, exists=live is not None)
            if blocker is not None:
                applied.blocked.setdefault(child.component, blocker)
                continue
            try:
                self._apply(child, live, applied)
            except ClusterError as error:
                _record(error, child.component, applied)
        return applied

    def prune(
        self, desired: Iterable[ChildObject], observed: Observed, applied: Applied, kept: Container[ChildKey] = ()
    ) -> None:
        """Delete what is neither desired nor kept. Topics are data and stay. Raises as `apply` does."""
        wanted = {child.key for child in desired}
        for key, live in observed.objects.items():
            if key in wanted or key in kept or key.kind == KAFKA_TOPIC or is_going(live):
                continue
            if self._paused:
                applied.blocked.setdefault(naming.CONFIGURATION, _left(key, "is no longer wanted"))
                continue
            try:
                self._delete(key, live, applied)
            except ClusterError as error:
                _record(error, naming.CONFIGURATION, applied)

    def _apply(self, child: ChildObject, live: Manifest | None, applied: Applied) -> None:
        key, digest = child.key, naming.digest(child.manifest, 16)
        if live is None:
            taken = obstacle(self._cluster, self._pipeline, key)
            if taken is not None:
                (applied.failures if taken.severe else applied.blocked).setdefault(child.component, taken)
                return
        elif is_going(live) or (_applied_digest(live) == digest and self._rewrites.agrees(key, child.manifest, live)):
            return  # as it was applied; or made again once it is deleted
        if self._paused:
            what = "is missing" if live is None else "is not as it should be"
            applied.blocked.setdefault(child.component, _left(key, what))
            return
        annotations = {**child.manifest["metadata"].get("annotations", {}), naming.APPLIED_ANNOTATION: digest}
        manifest = child.manifest | {"metadata": child.manifest["metadata"] | {"annotations": annotations}}
        applied.written = True
        if child.hand_over is not None:
            self._hand_over(child.manifest, child.hand_over)
        try:
            answer = self._cluster.apply(manifest)
        except ClusterError as error:
            if live is None or key.kind != "Job" or error.status != _UNCHANGEABLE:
                raise
            self._delete(key, live, applied)
            return
        applied.live[key] = answer
        self._rewrites.remember(key, child.manifest, answer)

    def _hand_over(self, manifest: Manifest, replicas: int) -> None:
        """Another field manager takes a Deployment's `replicas` before our own lets go, so that they stay."""
        meta = {name: manifest["metadata"][name] for name in ("name", "namespace")}
        fields = {name: manifest[name] for name in ("apiVersion", "kind")}
        self._cluster.apply(fields | {"metadata": meta, "spec": {"replicas": replicas}}, naming.REPLICAS_MANAGER)

    def _delete(self, key: ChildKey, live: Manifest, applied: Applied) -> None:
        applied.written = True
        self._cluster.delete(*key, uid=live["metadata"]["uid"])
        applied.live.pop(key, None)


def _left(key: ChildKey, what: str) -> Blocked:
    """It wants a person: time does not end a pause."""
    return Blocked(PAUSED, f"{key.kind} {key.name} {what}, and is left so: the pipeline is paused")


def _record(error: ClusterError, component: str, applied: Applied) -> None:
    if error.status == 0:
        raise error
    if error.transient:
        message = f"the API server could not do it now, and is asked again: {error}"
        applied.failures.setdefault(component, Blocked(BUSY, message, severe=False))
        return
    reason = "Forbidden" if error.status == 403 else "ApplyFailed"
    applied.failures.setdefault(component, Blocked(reason, str(error)))


def _applied_digest(live: Manifest) -> str | None:
    found: str | None = (live["metadata"].get("annotations") or {}).get(naming.APPLIED_ANNOTATION)
    return found
