"""How an autoscaler stands, as it says itself: a HorizontalPodAutoscaler or KEDA's ScaledObject. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from clickstream_operator.spec import Resources

Told = tuple[str, str]
"""Reason and message of one of its conditions."""

_WRONG: Final[dict[str, set[tuple[str, str]]]] = {
    "ScaledObject": {("Ready", "False"), ("Fallback", "True")},
    "HorizontalPodAutoscaler": {("ScalingActive", "False"), ("AbleToScale", "False")},
}
_NO_TROUBLE: Final = frozenset({"ScalingDisabled"})
"""Where nothing is to run there is nothing to scale."""


def trouble(scaler: Mapping[str, Any]) -> Told | None:
    """What keeps it from scaling; None while it works, or has not looked yet."""
    wrong = _WRONG[scaler.get("kind") or "HorizontalPodAutoscaler"]
    found = [each for each in _conditions(scaler) if (each.get("type"), each.get("status")) in wrong]
    return next((_told(each) for each in found if each.get("reason") not in _NO_TROUBLE), None)


def is_active(scaler: Mapping[str, Any]) -> bool:
    """Whether it says that it works."""
    return any((each.get("type"), each.get("status")) == ("ScalingActive", "True") for each in _conditions(scaler))


def at_maximum(scaler: Mapping[str, Any]) -> Told | None:
    """Whether it wants more replicas than it may have, in its own words."""
    limit = ("ScalingLimited", "True", "TooManyReplicas")
    keys = ("type", "status", "reason")
    found = [each for each in _conditions(scaler) if tuple(map(each.get, keys)) == limit]
    return _told(found[0]) if found else None


def lacks_requests(scaler: Mapping[str, Any], resources: Resources) -> bool:
    """Whether it goes by a share of requested processor, and the pods request none. A limit is a request, too."""
    metrics = [each.get("resource") or {} for each in (scaler.get("spec") or {}).get("metrics") or []]
    shares = [
        each
        for each in metrics
        if each.get("name") == "cpu" and (each.get("target") or {}).get("type") == "Utilization"
    ]
    return bool(shares) and "cpu" not in {*resources.requests, *resources.limits}


def _conditions(scaler: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return (scaler.get("status") or {}).get("conditions") or []


def _told(condition: Mapping[str, Any]) -> Told:
    return str(condition.get("reason") or "Unknown"), str(condition.get("message") or "")
