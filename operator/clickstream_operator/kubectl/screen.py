"""A snapshot as text. Pure: `now` is handed in, and what others wrote cannot move the cursor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from clickstream_operator.kubectl.snapshot import Autoscaler, Component, Event, Part, Snapshot

_MESSAGE: Final = 160


def render(snapshot: Snapshot, now: datetime) -> str:
    """The whole screen. `now` is aware."""
    state = "suspended" if snapshot.suspended else "ready" if snapshot.ready else "NOT READY"
    head = f"{snapshot.namespace}/{snapshot.name}: {state}"
    details = [f"topics {snapshot.topics}" if snapshot.topics else "", snapshot.url]
    if snapshot.time_to_data_loss:
        details.append(f"oldest click kept for {snapshot.time_to_data_loss}")
    if not snapshot.current:
        details.append("the operator has not looked at this spec yet")
    sections = [
        "  ".join([head, *(_plain(each) for each in details if each)]),
        _table("PARTS", ("PART", "READY", "SINCE", "REASON", "MESSAGE"), (_part(each, now) for each in snapshot.parts)),
        _table(
            "FLOW",
            ("COMPONENT", "PODS", "RATE", "LAG", "BEHIND", "DEAD LETTERS", ""),
            map(_component, snapshot.components),
        ),
        _table("AUTOSCALERS", ("NAME", "REPLICAS", "BOUNDS", "METRICS", ""), map(_autoscaler, snapshot.autoscalers)),
        _table(
            "EVENTS", ("AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"), (_event(each, now) for each in snapshot.events)
        ),
        "\n".join(f"note: {_short(note)}" for note in snapshot.notes),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _part(part: Part, now: datetime) -> Sequence[str]:
    return part.type.removesuffix("Ready") or part.type, part.status, _age(part.since, now), part.reason, part.message


def _component(component: Component) -> Sequence[str]:
    flow = component.flow
    pods = f"{component.ready}/{component.wanted}"
    missing = component.pods - component.answered
    trouble = "" if not missing else f"{missing} of {component.pods} pods gave no figures: {component.trouble}"
    if flow is None:
        return component.name, pods, "-", "-", "-", "-", trouble
    dead = _count(flow.dead_letters) + ("" if not flow.dead_letter_rate else f" (+{_count(flow.dead_letter_rate)}/s)")
    behind = "-" if flow.lag_seconds is None else f"{flow.lag_seconds:.0f} s"
    rate = "-" if flow.rate is None else f"{_count(flow.rate)}/s"
    return component.name, pods, rate, _count(flow.lag_records), behind, dead, trouble


def _autoscaler(scaler: Autoscaler) -> Sequence[str]:
    bounds = f"{scaler.least}-{scaler.most}"
    return scaler.name, str(scaler.replicas), bounds, ", ".join(scaler.metrics) or "-", scaler.trouble or ""


def _event(event: Event, now: datetime) -> Sequence[str]:
    message = event.message if event.count <= 1 else f"{event.message} (x{event.count})"
    return _age(event.time, now), event.type, event.reason, event.object, message


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    found = [[_short(cell) for cell in row] for row in rows]
    if not found:
        return ""
    lines = [list(header), *found]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    body = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    return "\n".join([title, *(f"  {line}" for line in body)])


def _count(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def _age(time: str, now: datetime) -> str:
    try:
        seconds = (now - datetime.fromisoformat(time)).total_seconds()
    except (ValueError, TypeError):
        return "?"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _short(text: str) -> str:
    plain = _plain(text)
    return plain if len(plain) <= _MESSAGE else f"{plain[: _MESSAGE - 1]}…"


def utc_now() -> datetime:
    """The time of the screen."""
    return datetime.now(UTC)
