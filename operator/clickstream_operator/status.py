"""What the pipeline's status says, out of what was observed. Pure: `now` is handed in.

Conditions, not phases: each part says whether it works, with a reason for programs and a message that a person can act
on; `Ready` is all of them together. A transition time moves only when the status of its condition does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

TOPICS: Final = "TopicsReady"
STORES: Final = "StoresReady"
TRACKING: Final = "TrackingReady"
ENRICHER: Final = "EnricherReady"
SINKS: Final = "SinksReady"
DASHBOARDS: Final = "DashboardsReady"
AUTOSCALING: Final = "AutoscalingReady"
RETAINED: Final = "DataRetained"
READY: Final = "Ready"
BUSY: Final = "ApiServerBusy"
"""Reason of what the API server refused for now."""
SUSPENDED: Final = "Suspended"
"""Reason of what is stopped because the pipeline says so."""
PARTS: Final = (TOPICS, STORES, TRACKING, ENRICHER, SINKS, DASHBOARDS)

_MAX_MESSAGE: Final = 1_024


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. `severe`: it wants a person, not time."""

    type: str
    status: bool
    reason: str
    message: str
    severe: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """By component, what metrics tell of a pipeline.

    `available`: replicas, of components that are meant to run. `at_maximum`: whether the autoscaler wants more than it
    may have. `kept_until`: when Kafka may delete the oldest unprocessed record (seconds since 1970), and `retention`,
    for how long it keeps one (seconds).
    """

    available: Mapping[str, int] = field(default_factory=dict)
    at_maximum: Mapping[str, bool] = field(default_factory=dict)
    kept_until: Mapping[str, float] = field(default_factory=dict)
    retention: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What a pass found out. `parts` None: it could not look at them, and what the status says of them stays.

    `warnings` are conditions that `Ready` does not speak of; `fields` the status's other members (`topics`,
    `trackingUrl`, …); `errors` what kept parts from being worked out.
    """

    ready: Condition
    parts: tuple[Condition, ...] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    errors: tuple[Exception, ...] = ()
    warnings: tuple[Condition, ...] = ()
    figures: Figures | None = None

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (*(self.parts or ()), *self.warnings, self.ready)

    @property
    def at_rest(self) -> bool:
        """Whether what a pass finds will be the same until something is told to have changed."""
        return not self.errors and (self.ready.status or self.ready.reason == SUSPENDED)

    @property
    def in_progress(self) -> bool:
        """Whether time alone may change a part's condition. A busy API server is not asked more often for it."""
        found = (*(self.parts or ()), self.ready)
        waiting = {each.reason for each in found if not each.status and not each.severe}
        return bool(waiting - {SUSPENDED}) and BUSY not in waiting


def worst(kind: str, parts: Iterable[Condition]) -> Condition:
    """Several findings as one condition: the first severe one, else the first that is not true, else the last."""
    found = list(parts)
    for each in found:
        if not each.status and each.severe:
            return replace(each, type=kind)
    for each in found:
        if not each.status:
            return replace(each, type=kind)
    return replace(found[-1], type=kind)


def ready(parts: Iterable[Condition]) -> Condition:
    """The condition over all parts."""
    found = list(parts)
    bad = [each for each in found if not each.status]
    if not bad:
        return Condition(READY, True, "Ready", "every part of the pipeline works")
    first = next((each for each in bad if each.severe), bad[0])
    others = [each.type for each in bad if each is not first]
    more = f" (also not ready: {', '.join(others)})" if others else ""
    return Condition(
        READY, False, first.reason, f"{first.type.removesuffix('Ready')}: {first.message}{more}", first.severe
    )


def condition_before(before: Mapping[str, Any], kind: str) -> Condition | None:
    """A condition as it stands in a status; one that is False counts as severe."""
    for each in before.get("conditions", []):
        if each["type"] == kind:
            whole = each["status"] == "True"
            return Condition(kind, whole, each["reason"], each["message"], severe=not whole)
    return None


def ready_before(before: Mapping[str, Any]) -> Condition:
    """The condition over all parts as it stands in a status."""
    found = condition_before(before, READY)
    return Condition(READY, False, "Unknown", "") if found is None else replace(found, severe=False)


def next_status(before: Mapping[str, Any], report: Report, generation: int, now: str) -> dict[str, Any]:
    """The whole status. `before` is the one that stands; `now` RFC 3339."""
    known = {each["type"]: each for each in before.get("conditions", [])}
    written = [_written(each, known.get(each.type), generation, now) for each in report.conditions]
    fields = {"observedGeneration": generation} | dict(report.fields)
    if report.parts is None:
        others = [each for name, each in known.items() if name != READY]
        return dict(before) | fields | {"conditions": [*others, *written]}
    return fields | {"conditions": written}


def _written(each: Condition, old: Mapping[str, Any] | None, generation: int, now: str) -> dict[str, Any]:
    stays = old is not None and old["status"] == str(each.status)
    return {
        "type": each.type,
        "status": str(each.status),
        "observedGeneration": generation,
        "lastTransitionTime": old["lastTransitionTime"] if old is not None and stays else now,
        "reason": each.reason,
        "message": each.message[:_MAX_MESSAGE],
    }


def transitions(before: Mapping[str, Any], conditions: Iterable[Condition]) -> list[Condition]:
    """Conditions whose status or reason is not what it was."""
    known = {each["type"]: (each["status"], each["reason"]) for each in before.get("conditions", [])}
    return [each for each in conditions if known.get(each.type) != (str(each.status), each.reason)]
