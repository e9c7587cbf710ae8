"""A component's figures, out of the Prometheus texts of its pods. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from clickstream_operator import naming

_LAG_RECORDS: Final = "clickstream_consumer_lag_records"
_LAG_SECONDS: Final = "clickstream_consumer_lag_seconds"
_DEAD_LETTERS: Final = "clickstream_dead_letters_total"
_DONE: Final[dict[str, tuple[str, dict[str, str]]]] = {
    naming.TRACKING_API: ("clickstream_events_accepted_total", {}),
    naming.ENRICHER: ("clickstream_events_processed_total", {}),
}
COMPONENTS: Final = (naming.TRACKING_API, naming.ENRICHER, *map(naming.sink, naming.STORES))
"""Those that have figures, in the order of the flow."""
_STORED: Final = ("clickstream_events_stored_total", {"kind": "click"})


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one pod at one moment (s). Counters are since its start; `lag_*` None: it has no lag, or no partition.

    `partitions`: how many seconds it is behind in each partition of which it knows, by (topic, partition).
    """

    at: float
    done: float
    dead_letters: float
    lag_records: float | None
    lag_seconds: float | None
    partitions: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flow:
    """Of a component: lag summed over its pods (seconds: the largest), rates per second, None while not known."""

    rate: float | None
    dead_letters: float
    dead_letter_rate: float | None
    lag_records: float | None
    lag_seconds: float | None


def read_figures(component: str, text: str, at: float) -> Figures:
    """Raises ValueError for what is no Prometheus text."""
    if text and "# TYPE " not in text:
        msg = "this is no Prometheus text"
        raise ValueError(msg)
    name, labels = _DONE.get(component, _STORED)
    # The parser takes milliseconds for all that a process tells.
    wanted = (_LAG_RECORDS, _LAG_SECONDS, _DEAD_LETTERS, name)
    told = "\n".join(line for line in text.splitlines() if line.startswith(wanted))
    sums = dict.fromkeys((name, _DEAD_LETTERS), 0.0)
    records: list[float] = []
    seconds: list[float] = []
    partitions: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(f"{told}\n"):
        for sample in family.samples:
            if sample.name == _LAG_RECORDS:
                records.append(sample.value)
            elif sample.name == _LAG_SECONDS:
                seconds.append(sample.value)
                if not sample.labels.get("estimated"):
                    partitions[sample.labels.get("topic", ""), sample.labels.get("partition", "")] = sample.value
            elif sample.name == _DEAD_LETTERS or (sample.name == name and labels.items() <= sample.labels.items()):
                sums[sample.name] += sample.value
    return Figures(
        at,
        sums[name],
        sums[_DEAD_LETTERS],
        sum(records) if records else None,
        max(seconds, default=None),
        partitions,
    )


def has_figures(pod: Mapping[str, Any]) -> bool:
    """Whether it is a pod of a Deployment that runs: those of Jobs have no metrics."""
    meta = pod["metadata"]
    runs = (pod.get("status") or {}).get("phase") == "Running" and not meta.get("deletionTimestamp")
    return runs and naming.component_of(meta.get("labels")) in COMPONENTS


def flow_of(before: Iterable[Figures | None], now: Iterable[Figures]) -> Flow | None:
    """Figures of the same pods at two moments; None where a pod has none at the first one. None: no pod answered."""
    last = list(now)
    if not last:
        return None
    rates = [_rates(first, second) for first, second in zip(before, last, strict=True) if first is not None]
    known = [rate for rate in rates if rate is not None]
    records = [each.lag_records for each in last if each.lag_records is not None]
    seconds = [each.lag_seconds for each in last if each.lag_seconds is not None]
    return Flow(
        sum(rate for rate, _ in known) if known else None,
        sum(each.dead_letters for each in last),
        sum(rate for _, rate in known) if known else None,
        sum(records) if records else None,
        max(seconds) if seconds else None,
    )


def _rates(first: Figures, second: Figures) -> tuple[float, float] | None:
    span = second.at - first.at
    if span <= 0:
        return None
    # A process that started anew counts from 0.
    return tuple(  # type: ignore[return-value]
        max(0.0, later - earlier) / span
        for earlier, later in ((first.done, second.done), (first.dead_letters, second.dead_letters))
    )
