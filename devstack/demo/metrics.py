"""The processes' own figures, read from their /metrics.

Why it exists: the live view shows what the pipeline says about itself, through the endpoint that Prometheus reads.
Deliberately absent: histograms and help texts.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Sequence
from typing import NamedTuple

from devstack.ports import LOOPBACK

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Sample(NamedTuple):
    """One series and its value."""

    name: str
    labels: dict[str, str]
    value: float


def parse_metrics(text: str) -> list[Sample]:
    """The samples in a Prometheus text; histogram buckets are left out."""
    found = []
    for line in text.splitlines():
        match = None if line.startswith("#") or "_bucket{" in line else _SAMPLE.match(line)
        if match is not None:
            found.append(Sample(match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])))
    return found


def values(samples: Sequence[Sample], name: str, **labels: str) -> list[float]:
    """The values of a metric's series that have these labels."""
    return [each.value for each in samples if each.name == name and labels.items() <= each.labels.items()]


def scrape(port: int) -> list[Sample]:
    """The samples of the process whose HTTP server listens there; none when it does not answer."""
    try:
        with _OPENER.open(f"http://{LOOPBACK}:{port}/metrics", timeout=2) as response:
            return parse_metrics(response.read().decode())
    except (OSError, ValueError):
        return []
