"""What the screen shows of a pipeline at one moment, out of the API's objects. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from clickstream_operator import naming
from clickstream_operator.autoscalers import at_maximum, trouble
from clickstream_operator.figures import Flow

Manifest = Mapping[str, Any]
EVENTS: Final = 8


@dataclass(frozen=True, slots=True)
class Part:
    """One condition."""

    type: str
    status: str
    reason: str
    message: str
    since: str


@dataclass(frozen=True, slots=True)
class Component:
    """One Deployment and what its pods tell. `trouble`: why some figures are missing."""

    name: str
    ready: int
    wanted: int
    pods: int
    answered: int
    flow: Flow | None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """`metrics`: such as `cpu 35%/70%`; `trouble`: the first condition that keeps it from scaling."""

    name: str
    replicas: int
    least: int
    most: int
    metrics: tuple[str, ...]
    trouble: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """One Event, the newest last."""

    time: str
    type: str
    reason: str
    object: str
    message: str
    count: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it. `notes`: what could not be read, and why. `current`: the status is of this spec."""

    namespace: str
    name: str
    ready: bool
    suspended: bool
    current: bool
    topics: str
    url: str
    parts: tuple[Part, ...]
    components: tuple[Component, ...] = ()
    autoscalers: tuple[Autoscaler, ...] = ()
    events: tuple[Event, ...] = ()
    notes: tuple[str, ...] = field(default=())
    time_to_data_loss: str = ""


def parts_of(pipeline: Manifest) -> tuple[Part, ...]:
    """Its conditions, in the order of the status."""
    found = (pipeline.get("status") or {}).get("conditions") or []
    keys = ("type", "status", "reason", "message", "lastTransitionTime")
    return tuple(Part(*(str(each.get(key, "")) for key in keys)) for each in found)


def component_of(deployment: Manifest, answers: Sequence[str | None], flow: Flow | None) -> Component:
    """`answers`: for each of its running pods None, or why it gave no figures."""
    status, meta = deployment.get("status") or {}, deployment["metadata"]
    troubles = [each for each in answers if each is not None]
    return Component(
        naming.component_of(meta.get("labels")) or meta["name"],
        int(status.get("readyReplicas") or 0),
        int((deployment.get("spec") or {}).get("replicas") or 0),
        len(answers),
        len(answers) - len(troubles),
        flow,
        troubles[0] if troubles else None,
    )


def autoscaler_of(scaler: Manifest) -> Autoscaler:
    """A HorizontalPodAutoscaler (autoscaling/v2)."""
    spec, status = scaler.get("spec") or {}, scaler.get("status") or {}
    current = {_metric(each): each for each in status.get("currentMetrics") or []}
    metrics = tuple(
        f"{_metric(each)} {_value(current.get(_metric(each)), 'current')}/{_value(each, 'target')}"
        for each in spec.get("metrics") or []
    )
    found = trouble(scaler) or at_maximum(scaler)
    return Autoscaler(
        scaler["metadata"]["name"],
        int(status.get("currentReplicas") or 0),
        int(spec.get("minReplicas") or 1),
        int(spec.get("maxReplicas") or 0),
        metrics,
        ": ".join(found) if found else None,
    )


def events_of(events: Iterable[Manifest], pipeline: str, children: Iterable[str]) -> tuple[Event, ...]:
    """The newest `EVENTS` of the pipeline and of its children, by their names."""
    ours = {(naming.KIND, pipeline)} | {("", child) for child in children}
    found = []
    for each in events:
        about = each.get("involvedObject") or {}
        kind, name = str(about.get("kind", "")), str(about.get("name", ""))
        if (kind, name) not in ours and (kind == naming.KIND or ("", name) not in ours):
            continue
        time = each.get("lastTimestamp") or each.get("eventTime") or each["metadata"].get("creationTimestamp") or ""
        sort, reason = (str(each.get(key) or "") for key in ("type", "reason"))
        count = int((each.get("series") or {}).get("count") or each.get("count") or 1)
        found.append(Event(str(time), sort, reason, f"{kind}/{name}", str(each.get("message") or ""), count))
    return tuple(sorted(found, key=lambda event: event.time)[-EVENTS:])


def _metric(metric: Manifest) -> str:
    kind = str(metric.get("type", ""))
    body = metric.get(kind[:1].lower() + kind[1:]) or {}
    return str(body.get("name") or (body.get("metric") or {}).get("name") or kind)


def _value(metric: Manifest | None, which: str) -> str:
    if metric is None:
        return "?"
    kind = str(metric.get("type", ""))
    found = (metric.get(kind[:1].lower() + kind[1:]) or {}).get(which) or {}
    share = found.get("averageUtilization")
    return f"{share}%" if share is not None else str(found.get("averageValue") or found.get("value") or "?")
