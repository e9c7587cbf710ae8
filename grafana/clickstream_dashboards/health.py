"""Pipeline health: what is accepted and refused, how far each stage is behind, how long a click takes, from Prometheus.

Series are chosen by the labels `namespace` and `pod` that Prometheus gives the pods it scrapes; replicas come from
kube-state-metrics. Lag and latency are the pipeline's promises, so they have thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import timeseries

from clickstream_dashboards import frame, health_exceptions, health_now, style
from clickstream_dashboards.queries import POD, Target, by_stage, prometheus

_COLOURS: Final = {
    "tracking-api": style.THIRD,
    "enricher": style.ACCENT,
    **{
        f"{before}{store}{after}": colour
        for before in ("", "sink-", "duplicate, sink-")
        for after in ("", " p95")
        for store, colour in (("elasticsearch", style.LIVE), ("postgres", style.SECOND))
    },
    "elasticsearch p50": style.LIVE_PALE,
    "postgres p50": style.SECOND_PALE,
    "duplicate, enricher": style.ACCENT,
    "late": style.THIRD,
}


def _curve(
    title: str,
    what: str,
    queries: Sequence[Target],
    *,
    unit: str = "short",
    names: Sequence[str] = (),
    stacked: bool = False,
    empty: str = style.NO_METRICS,
    width: int = 8,
    height: int = 8,
) -> timeseries.Panel:
    return style.curve(
        title,
        what,
        queries,
        unit=unit,
        colours={name: _COLOURS[name] for name in names},
        bars=stacked,
        stacked=stacked,
        empty=empty,
        width=width,
        height=height,
    )


def accepted() -> timeseries.Panel:
    query = prometheus(
        f"sum by (source) (rate(clickstream_events_accepted_total{{{POD}}}[$__rate_interval]))", "{{source}}"
    )
    return _curve(
        "Accepted by source", "Events per second that got a 2xx, by source.", [query], unit="cps", stacked=True
    )


def rejected() -> timeseries.Panel:
    query = prometheus(
        f"sum by (code) (rate(clickstream_events_rejected_total{{{POD}}}[$__rate_interval])) > 0", "{{code}}"
    )
    return _curve(
        "Rejected by code",
        "Refused events and requests per second, by code.",
        [query],
        unit="cps",
        stacked=True,
        empty="Nothing was refused in this time range.",
    )


def stored() -> timeseries.Panel:
    return _curve(
        "Through each stage",
        "Events per second: processed by the enricher, and new in each store.",
        [
            prometheus(f"sum(rate(clickstream_events_processed_total{{{POD}}}[$__rate_interval]))", "enricher"),
            prometheus(
                f'sum by (sink) (rate(clickstream_events_stored_total{{{POD},kind="click"}}[$__rate_interval]))',
                "{{sink}}",
                ref="B",
            ),
        ],
        unit="cps",
        names=("enricher", "elasticsearch", "postgres"),
    )


def lag_records() -> timeseries.Panel:
    series = by_stage(f"clickstream_consumer_lag_records{{{POD}}}")
    return _curve(
        "Lag in records",
        "Records that a stage has not processed yet. A growing one: add replicas, up to the number of partitions.",
        [prometheus(f"sum by (stage) ({series})", "{{stage}}")],
        names=("enricher", "sink-elasticsearch", "sink-postgres"),
    )


def lag_seconds() -> timeseries.Panel:
    series = by_stage(f"clickstream_consumer_lag_seconds{{{POD}}}")
    return _curve(
        "Lag in seconds",
        "Age of the oldest record that a stage has not processed yet.",
        [prometheus(f"max by (stage) ({series})", "{{stage}}")],
        names=("enricher", "sink-elasticsearch", "sink-postgres"),
        unit=style.SECONDS,
    )


def latency() -> timeseries.Panel:
    buckets = f"sum by (le, sink) (rate(clickstream_click_to_store_seconds_bucket{{{POD}}}[$__rate_interval]))"
    return _curve(
        "Click to store",
        "From the receipt of a click to the store's acknowledgement: half of the clicks, and all but 5 %.",
        [
            prometheus(f"histogram_quantile(0.5, {buckets})", "{{sink}} p50"),
            prometheus(f"histogram_quantile(0.95, {buckets})", "{{sink}} p95", ref="B"),
        ],
        unit=style.SECONDS,
        names=("elasticsearch p50", "postgres p50", "elasticsearch p95", "postgres p95"),
    )


def dead_letters() -> timeseries.Panel:
    """Dead letters by stage and code."""
    query = prometheus(
        f"sum by (stage, code) (rate(clickstream_dead_letters_total{{{POD}}}[$__rate_interval])) > 0",
        "{{stage}} {{code}}",
    )
    return _curve(
        "Dead letters by stage",
        "Records per second that were sent to dead-letters, by stage and code.",
        [query],
        unit="cps",
        stacked=True,
        empty="No dead letters in this time range.",
    )


def duplicates() -> timeseries.Panel:
    """Duplicates and late clicks."""
    rate = by_stage(f"rate(clickstream_events_duplicate_total{{{POD}}}[$__rate_interval])")
    return _curve(
        "Duplicates and late clicks",
        "Per second: records known already (dropped, which is what they are recognised for), and clicks stored as "
        "late.",
        [
            prometheus(f"sum by (stage) ({rate})", "duplicate, {{stage}}"),
            prometheus(f"sum(rate(clickstream_events_late_total{{{POD}}}[$__rate_interval]))", "late", ref="B"),
        ],
        unit="cps",
        names=("duplicate, enricher", "duplicate, sink-elasticsearch", "duplicate, sink-postgres", "late"),
    )


def batches() -> timeseries.Panel:
    """Time to store a batch."""
    buckets = f"sum by (le, sink) (rate(clickstream_batch_duration_seconds_bucket{{{POD}}}[$__rate_interval]))"
    return _curve(
        "Sink batches, p95",
        "Time to store one batch, waits included, 95th percentile.",
        [prometheus(f"histogram_quantile(0.95, {buckets})", "{{sink}}")],
        unit=style.SECONDS,
        names=("elasticsearch", "postgres"),
    )


def replicas() -> timeseries.Panel:
    labels = 'namespace="$namespace",horizontalpodautoscaler=~"$pipeline-(tracking-api|enricher|sink-.*)"'
    return _curve(
        "Replicas",
        "Replicas that each HorizontalPodAutoscaler has now (needs kube-state-metrics).",
        [
            prometheus(
                f"sum by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_status_current_replicas{{{labels}}})",
                "{{horizontalpodautoscaler}}",
            )
        ],
        empty="No autoscalers seen: Prometheus has no kube-state-metrics, or the pipeline runs outside Kubernetes.",
        width=24,
        height=5,
    )


def build() -> dict[str, Any]:
    board = frame.frame(
        "health",
        "Clickstream pipeline health",
        "What is accepted and refused, how far each stage is behind, and how long a click takes.",
        since="now-1h",
        refresh="10s",
        sources=("prometheus",),
    )
    board.annotation(
        frame.metric_annotation(
            "Rollouts",
            'changes(kube_deployment_status_observed_generation{namespace="$namespace",deployment=~"$pipeline-.*"}'
            "[1m]) > 0",
            "{{deployment}}",
        )
    )
    frame.laid_out(
        board,
        health_now.accepted_now(),
        health_now.rejected_now(),
        health_now.lag_now(),
        health_now.latency_now(),
        health_now.dead_now(),
        health_now.unavailable_now(),
        accepted(),
        rejected(),
        stored(),
        lag_records(),
        lag_seconds(),
        latency(),
        dead_letters(),
        duplicates(),
        batches(),
        health_exceptions.skipped(),
        health_exceptions.parked(),
        health_exceptions.forgotten(),
        health_exceptions.replaced(),
        health_exceptions.geoip_age(),
        health_exceptions.geoip_failures(),
        replicas(),
    )
    return frame.finished(board)
