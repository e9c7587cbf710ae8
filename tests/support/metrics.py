"""A process's metrics in Prometheus' text format."""

from __future__ import annotations

from demo.metrics import parse_metrics, values


def total(text: str, name: str, **labels: str) -> float:
    """Sum of the series of a metric that have these labels."""
    return sum(values(parse_metrics(text), name, **labels))
