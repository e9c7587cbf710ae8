"""How long Kafka keeps what the consumers have not processed yet: the time that is left until clicks are lost. Pure.

A record goes by its topic's retention, whether it was read or not. What counts is when the oldest unprocessed one came
in, and that does not change while its consumer stands still: so nobody needs to ask Kafka. It is written into the
status while a consumer is behind (one that does not run is, after a minute): later neither its pods nor the operator's
memory may be there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from clickstream_operator.backlog import BEHIND_SECONDS, Known
from clickstream_operator.components import Consumer
from clickstream_operator.status import RETAINED, Condition, condition_before

NEAR: Final = 0.25
"""The part of the retention that is left when it is told as a danger."""

_STEP_SECONDS: Final = 600.0
"""Progress of less is not written: the status would change with each answer."""
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60


@dataclass(frozen=True, slots=True)
class Standing:
    """`oldest`: by consumer, when its oldest unprocessed record came in (seconds since 1970), where that is known.

    `behind`: how many seconds it is behind. `fields` are the status's; `condition` None while nothing is known.
    """

    oldest: Mapping[str, float] = field(default_factory=dict)
    behind: Mapping[str, float] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    condition: Condition | None = None


def standing(
    consumers: Iterable[Consumer],
    known: Known,
    stopped: Mapping[str, str | None],
    before: Mapping[str, Any],
    now: datetime,
) -> Standing:
    """`stopped`: consumers without a pod that is ready, and since when (RFC 3339), where that is known.

    `before` is the status that stands. A stopped consumer of which nothing was ever known counts from when it stopped;
    for a minute it may only be starting.
    One that runs and was never heard is unknown: its pods tell Prometheus, and nobody is alarmed by a network policy.
    """
    moment = now.timestamp()
    written = _written(before)
    oldest: dict[str, float] = {}
    behind: dict[str, float] = {}
    backlogs: dict[str, float] = {}
    left: dict[str, tuple[float, Consumer]] = {}
    for consumer in consumers:
        name = consumer.component
        since = known.oldest.get(name)
        if since is None and (name in stopped or name not in known.silent):
            since = written.get(name)
        if since is None and name in stopped:
            since = _seconds(stopped[name])
            if since is not None and moment - since < BEHIND_SECONDS:
                continue
        if since is None:
            continue
        since = oldest[name] = min(since, moment)
        behind[name] = moment - since if name in stopped else known.behind.get(name, moment - since)
        if behind[name] >= BEHIND_SECONDS:
            backlogs[name] = _in_steps(since, written.get(name))
            left[name] = (max(0.0, since + consumer.retention_seconds - moment), consumer)
        else:
            left[name] = (consumer.retention_seconds, consumer)
    if not left and known.silent:
        return Standing()
    if not left:  # as before: a restart of the operator changes nothing
        fields = {name: before[name] for name in ("timeToDataLoss", "backlogs") if name in before}
        return Standing(fields=fields, condition=condition_before(before, RETAINED))
    name = min(left, key=lambda each: left[each][0])
    fields = {"timeToDataLoss": duration(left[name][0])}
    if backlogs:
        fields["backlogs"] = [
            {"component": each, "oldestUnprocessed": _text(since)} for each, since in backlogs.items()
        ]
    return Standing(oldest, behind, fields, _condition(left, backlogs))


def _condition(left: Mapping[str, tuple[float, Consumer]], backlogs: Mapping[str, float]) -> Condition:
    if not backlogs:
        return Condition(RETAINED, True, "UpToDate", "every consumer processes what comes in")
    name = min(backlogs, key=lambda each: left[each][0] / left[each][1].retention_seconds)
    seconds, consumer = left[name]
    kept = f"Kafka keeps its oldest unprocessed click, of {_text(backlogs[name])} or later, for {duration(seconds)}"
    message = f"{name} is behind or does not run: {kept}"
    if seconds >= NEAR * consumer.retention_seconds:
        return Condition(RETAINED, True, "Behind", message)
    if seconds <= 0:
        message = f"{name} is behind or does not run: Kafka may have deleted clicks that it has not processed"
    retention = duration(consumer.retention_seconds)
    return Condition(RETAINED, False, "DataLossNear", f"{message}; the retention is {retention}", severe=True)


def duration(seconds: float) -> str:
    """Rounded down, coarser the longer it is (so that the status changes seldom): `6d23h`, `5h10m`, `12m`, `0m`."""
    whole = max(0, int(seconds))
    if whole >= _DAY:
        days, hours = divmod(whole // _HOUR, 24)
        return f"{days}d" + (f"{hours}h" if hours else "")
    if whole >= _HOUR:
        tens = whole // (10 * _MINUTE)
        return f"{tens // 6}h" + (f"{tens % 6}0m" if tens % 6 else "")
    return f"{whole // _MINUTE}m"


def _in_steps(since: float, written: float | None) -> float:
    """What to write: what stands there, unless it has become false or the consumer has come a step further."""
    if written is not None and 0 <= since - written < _STEP_SECONDS:
        return written
    return math.floor(since / _MINUTE) * float(_MINUTE)


def _written(before: Mapping[str, Any]) -> dict[str, float]:
    found = before.get("backlogs")
    entries = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    times = {str(each.get("component")): _seconds(each.get("oldestUnprocessed")) for each in entries}
    return {name: since for name, since in times.items() if since is not None}


def _seconds(text: Any) -> float | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found.timestamp() if found.tzinfo is not None else None


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
