"""What the operator's metrics tell of each pipeline, and that they forget it."""

from __future__ import annotations

import re

from clickstream.runtime.telemetry import Telemetry
from clickstream_operator.metrics import Metrics
from clickstream_operator.status import Condition, Figures, Report

SHOP, BLOG = ("web", "shop"), ("web", "blog")
FIGURES = Figures({"enricher": 0}, {"enricher": True}, {"enricher": 1_600.0}, {"enricher": 800.0})


class Told:
    """A Metrics with clocks at hand, and the series of its exposition."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._telemetry = Telemetry("operator", {}, None)
        self.metrics = Metrics(self._telemetry, lambda: self.now, lambda: self.now)

    def series(self, name: str) -> dict[str, float]:
        """By labels, without those of the instrument."""
        text = self._telemetry.prometheus_text().decode()
        found = re.findall(rf"^clickstream_operator_{name}\{{(.*)\}} (\S+)$", text, re.MULTILINE)
        rows = {re.sub(r'(?:^|,)otel_scope_\w+="[^"]*"', "", labels): float(value) for labels, value in found}
        return {",".join(sorted(filter(None, labels.split(",")))): value for labels, value in rows.items()}


def report(status: bool, reason: str = "Ready", *others: Condition) -> Report:
    return Report(Condition("Ready", status, reason, "m"), others, figures=FIGURES)


def test_every_series_names_its_pipeline_and_goes_with_it() -> None:
    told = Told()
    scaling = Condition("AutoscalingReady", False, "RequestsMissing", "m")
    told.metrics.found(SHOP, report(True, "Ready", scaling), failed=False)
    told.metrics.found(BLOG, report(False, "Suspended"), failed=False)
    of_shop = 'namespace="web",pipeline="shop"'
    assert told.series("condition") == {
        f'condition="Ready",{of_shop},reason="Ready"': 1.0,
        f'condition="AutoscalingReady",{of_shop},reason="RequestsMissing"': 0.0,
        'condition="Ready",namespace="web",pipeline="blog",reason="Suspended"': 0.0,
    }
    told.metrics.forget(BLOG)
    assert told.series("component_available") == {f'component="enricher",{of_shop}': 0.0}
    assert told.series("autoscaler_at_maximum") == {f'component="enricher",{of_shop}': 1.0}
    assert told.series("retention_seconds") == {f'component="enricher",{of_shop}': 800.0}
    assert told.series("failing") == {of_shop: 0.0}
    told.metrics.forget(SHOP)
    for name in ("condition", "component_available", "failing", "since_last_reconciliation_seconds"):
        assert told.series(name) == {}


def test_time_goes_on_when_no_pass_does() -> None:
    told = Told()
    told.metrics.found(SHOP, report(True), failed=False)
    assert set(told.series("time_to_data_loss_seconds").values()) == {600.0}
    told.now += 500
    assert set(told.series("time_to_data_loss_seconds").values()) == {100.0}
    assert set(told.series("since_last_reconciliation_seconds").values()) == {500.0}
    told.now += 500
    assert set(told.series("time_to_data_loss_seconds").values()) == {0.0}


def test_a_pass_that_fails_says_so_and_takes_nothing_back() -> None:
    told = Told()
    dashboards = Condition("DashboardsReady", True, "Written", "m")
    told.metrics.found(SHOP, report(True, "Ready", dashboards), failed=False)
    away = Report(Condition("Ready", False, "ApiServerBusy", "m"), errors=(OSError(),))
    told.metrics.found(SHOP, away, failed=True)
    of_shop = 'namespace="web",pipeline="shop"'
    assert told.series("condition") == {
        f'condition="DashboardsReady",{of_shop},reason="Written"': 1.0,
        f'condition="Ready",{of_shop},reason="ApiServerBusy"': 0.0,
    }
    assert told.series("failing") == {of_shop: 1.0}
    assert told.series("component_available") == {f'component="enricher",{of_shop}': 0.0}
    told.metrics.found(SHOP, None, failed=True)
    assert f'condition="Ready",{of_shop},reason="PassFailed"' in told.series("condition")
    told.metrics.found(SHOP, report(True), failed=False)
    assert told.series("condition") == {f'condition="Ready",{of_shop},reason="Ready"': 1.0}
    assert told.series("failing") == {of_shop: 0.0}
    assert told.series("pipelines") == {'ready="false"': 0.0, 'ready="true"': 1.0}
