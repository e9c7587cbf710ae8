"""What the pipeline's status says, out of what was observed. Pure: `now` is handed in.

Conditions, not phases: each part says whether it works, with a reason for programs and a message that a person can act
on; `Ready` is all of them together. A transition time moves only when the status of its condition does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

TOPICS: Final = "TopicsReady"
STORES: Final = "StoresReady"
TRACKING: Final = "TrackingReady"
ENRICHER: Final = "EnricherReady"
SINKS: Final = "SinksReady"
DASHBOARDS: Final = "DashboardsReady"
READY: Final = "Ready"
PARTS: Final = (TOPICS, STORES, TRACKING, ENRICHER, SINKS, DASHBOARDS)

_MAX_MESSAGE: Final = 1_024


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. `status` None is Unknown. `severe`: it wants a person, not time."""

    type: str
    status: bool | None
    reason: str
    message: str
    severe: bool = False


def worst(kind: str, parts: Iterable[Condition]) -> Condition:
    """Several findings as one condition: the first severe one, else the first that is not true, else the last."""
    found = list(parts)
    for each in found:
        if each.status is not True and each.severe:
            return replace(each, type=kind)
    for each in found:
        if each.status is not True:
            return replace(each, type=kind)
    return replace(found[-1], type=kind)


def ready(parts: Iterable[Condition]) -> Condition:
    """The condition over all parts."""
    found = list(parts)
    bad = [each for each in found if each.status is not True]
    if not bad:
        return Condition(READY, True, "Ready", "every part of the pipeline works")
    first = next((each for each in bad if each.severe), bad[0])
    others = [each.type for each in bad if each is not first]
    more = f" (also not ready: {', '.join(others)})" if others else ""
    return Condition(
        READY, False, first.reason, f"{first.type.removesuffix('Ready')}: {first.message}{more}", first.severe
    )


def next_status(
    before: Mapping[str, Any],
    conditions: Iterable[Condition],
    generation: int,
    now: str,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole status. `before` is the one that stands; `now` RFC 3339; `facts` are its other members (`topics`, …)."""
    known = {each["type"]: each for each in before.get("conditions", [])}
    written = []
    for each in conditions:
        status = "Unknown" if each.status is None else str(each.status)
        old = known.get(each.type)
        moved = old is None or old["status"] != status
        written.append(
            {
                "type": each.type,
                "status": status,
                "observedGeneration": generation,
                "lastTransitionTime": now if old is None or moved else old["lastTransitionTime"],
                "reason": each.reason,
                "message": each.message[:_MAX_MESSAGE],
            }
        )
    return {"observedGeneration": generation, "conditions": written} | dict(facts)


def news(before: Mapping[str, Any], conditions: Iterable[Condition]) -> list[Condition]:
    """Conditions whose status or reason is not what it was: what is worth an Event."""
    known = {each["type"]: (each["status"], each["reason"]) for each in before.get("conditions", [])}
    found = []
    for each in conditions:
        status = "Unknown" if each.status is None else str(each.status)
        if known.get(each.type) != (status, each.reason):
            found.append(each)
    return found
