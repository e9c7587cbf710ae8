"""The numbers on top of the health dashboard: the pipeline now. Lag and latency are promises, with thresholds."""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.builders import stat

from clickstream_dashboards import style
from clickstream_dashboards.queries import POD, prometheus

_LAG_LEVELS: Final = ((None, style.GOOD), (10.0, style.SECOND), (60.0, style.BAD))
_REFUSED_LEVELS: Final = ((None, style.GOOD), (0.001, style.SECOND))
_NONE_LEVELS: Final = ((None, style.GOOD), (0.001, style.BAD))


def _number(title: str, what: str, expr: str, **options: Any) -> stat.Panel:
    return style.number(title, what, prometheus(expr, title), **options)


def accepted_now() -> stat.Panel:
    """Events accepted per second."""
    return _number(
        "Accepted",
        "Events per second that got a 2xx: the brokers have them.",
        f"sum(rate(clickstream_events_accepted_total{{{POD}}}[$__rate_interval]))",
        unit="cps",
        decimals=1,
    )


def rejected_now() -> stat.Panel:
    """Events refused per second."""
    return _number(
        "Rejected",
        "Events and requests per second that were refused; by code below.",
        f"sum(rate(clickstream_events_rejected_total{{{POD}}}[$__rate_interval]))",
        unit="cps",
        decimals=2,
        levels=_REFUSED_LEVELS,
    )


def lag_now() -> stat.Panel:
    """The oldest record that is not processed yet."""
    return _number(
        "Lag",
        "Age of the oldest record that a stage has not processed yet; under 10 s is fine.",
        f"max(clickstream_consumer_lag_seconds{{{POD}}})",
        unit="s",
        decimals=1,
        levels=_LAG_LEVELS,
    )


def latency_now() -> stat.Panel:
    """Click to store, 95th percentile."""
    return _number(
        "Click to store, p95",
        "From the receipt of a click to the store's acknowledgement, the slower store, 95th percentile.",
        "max(histogram_quantile(0.95, sum by (le, sink) "
        f"(rate(clickstream_click_to_store_seconds_bucket{{{POD}}}[$__rate_interval]))))",
        unit="s",
        decimals=2,
        levels=_LAG_LEVELS,
    )


def dead_now() -> stat.Panel:
    """Dead letters in the range."""
    return _number(
        "Dead letters",
        "Records sent to dead-letters in the time range. They are not lost: read the reason in the topic's headers.",
        f"sum(increase(clickstream_dead_letters_total{{{POD}}}[$__range]))",
        decimals=0,
        levels=_NONE_LEVELS,
    )


def unavailable_now() -> stat.Panel:
    """503 answers in the range."""
    return _number(
        "Answers 503",
        "Requests in the time range that were told to come again: Kafka was away, or the queue was full.",
        f"sum(increase(clickstream_http_unavailable_total{{{POD}}}[$__range]))",
        decimals=0,
        levels=_NONE_LEVELS,
    )
