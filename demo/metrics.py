"""The processes' metrics, read from their /metrics."""

from __future__ import annotations

import urllib.request
from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from devstack.ports import LOOPBACK

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Sample(NamedTuple):
    """One series and its value."""

    name: str
    labels: dict[str, str]
    value: float


def parse_metrics(text: str) -> list[Sample]:
    """The samples in a Prometheus text; histogram buckets are left out. Raises ValueError."""
    return [
        Sample(each.name, each.labels, each.value)
        for family in text_string_to_metric_families(text)
        for each in family.samples
        if not each.name.endswith("_bucket")
    ]


def values(samples: Sequence[Sample], name: str, **labels: str) -> list[float]:
    """The values of a metric's series that have these labels."""
    return [each.value for each in samples if each.name == name and labels.items() <= each.labels.items()]


def scrape(port: int) -> list[Sample]:
    """The samples of the process whose metrics are on that port; empty when it does not answer."""
    try:
        with _OPENER.open(f"http://{LOOPBACK}:{port}/metrics", timeout=2) as response:
            return parse_metrics(response.read().decode())
    except (OSError, ValueError):
        return []
