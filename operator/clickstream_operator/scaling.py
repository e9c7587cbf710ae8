"""What of Deployments and autoscalers depends on how they are now. Pure.

A Deployment's `replicas` is let go of without a jump. Kubernetes sets a field that its last owner lets go of to its
default, 1: so another field manager takes it over first, with the number that is to stay. After a suspension that is
the number of before, which the Deployment itself remembers.

A consumer that is behind keeps its replicas. A slow store makes a sink idle: by processor use it would be scaled down
while clicks pile up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from clickstream_operator import naming
from clickstream_operator.backlog import BEHIND_SECONDS, CAUGHT_UP_SECONDS
from clickstream_operator.desired.child_object import Blocked, ChildKey, ChildObject, Manifest

_DISABLED: Final = "Disabled"
_OTHER: Final = {"HorizontalPodAutoscaler": "ScaledObject", "ScaledObject": "HorizontalPodAutoscaler"}


def scale_with_live(
    desired: Iterable[ChildObject], live: Mapping[ChildKey, Manifest], behind: Mapping[str, float]
) -> tuple[ChildObject, ...]:
    """The children as they are to be applied now. `behind`: seconds that a consumer is behind, where that is known."""
    return tuple(_adjusted(child, live, behind) for child in desired)


def _adjusted(child: ChildObject, live: Mapping[ChildKey, Manifest], behind: Mapping[str, float]) -> ChildObject:
    there = live.get(child.key)
    if child.key.kind == "Deployment" and there is not None:
        return _deployment(child, there)
    if child.key.kind not in _OTHER:
        return child
    other = child.key._replace(kind=_OTHER[child.key.kind])
    if other in live and child.blocked is None:
        # KEDA refuses a Deployment that has an autoscaler, and two autoscalers would pull it to and fro.
        message = f"waiting for {other.kind} {other.name} to be deleted"
        child = replace(child, blocked=Blocked("WaitingForAutoscaler", message, severe=False))
    component = naming.component_of(child.manifest["metadata"]["labels"])
    if child.key.kind == "HorizontalPodAutoscaler" and component != naming.TRACKING_API:
        return _keeping_replicas(child, there, behind.get(component))
    return child


def _deployment(child: ChildObject, there: Manifest) -> ChildObject:
    wanted = child.manifest["spec"].get("replicas")
    before = _replicas_before(there)
    if wanted == 0:
        meta = child.manifest["metadata"]
        if before is None:
            return child
        annotations = {**meta.get("annotations", {}), naming.REPLICAS_ANNOTATION: str(before)}
        return replace(child, manifest=child.manifest | {"metadata": meta | {"annotations": annotations}})
    if wanted is None and _owns_replicas(there):
        return replace(child, hand_over=before)
    return child


def _replicas_before(there: Manifest) -> int | None:
    """The replicas that it has, or had when it was suspended; None where it has never had any."""
    remembered = (there["metadata"].get("annotations") or {}).get(naming.REPLICAS_ANNOTATION)
    with contextlib.suppress(ValueError):
        return max(1, min(int(str(remembered)), 1_000))
    return there["spec"].get("replicas", 1) or None


def _owns_replicas(there: Manifest) -> bool:
    """Whether the operator itself has applied the field."""
    return any(
        each.get("manager") == naming.FIELD_MANAGER
        and each.get("operation") == "Apply"
        and "f:replicas" in ((each.get("fieldsV1") or {}).get("f:spec") or {})
        for each in there["metadata"].get("managedFields") or []
    )


def _keeping_replicas(child: ChildObject, there: Manifest | None, behind: float | None) -> ChildObject:
    kept = _scale_down(there).get("selectPolicy") == _DISABLED
    if behind is not None and not CAUGHT_UP_SECONDS <= behind < BEHIND_SECONDS:
        kept = behind >= BEHIND_SECONDS
    if not kept:
        return child
    spec = child.manifest["spec"]
    down = _scale_down(child.manifest) | {"selectPolicy": _DISABLED}
    changed = spec | {"behavior": spec["behavior"] | {"scaleDown": down}}
    return replace(child, manifest=child.manifest | {"spec": changed})


def _scale_down(autoscaler: Manifest | None) -> Manifest:
    spec = (autoscaler or {}).get("spec") or {}
    found: Manifest = (spec.get("behavior") or {}).get("scaleDown") or {}
    return found
