"""The alerts speak of series that the processes really expose, and each has a page that says what to do."""

from __future__ import annotations

import re

import pytest

from clickstream.enricher.metrics import REPLACED
from clickstream.runtime import telemetry
from clickstream.sinks.metrics import RETRIES
from clickstream.tracking_api.metrics import LIMITED, OVER_BUDGET, REQUESTS, UNAVAILABLE
from clickstream_operator.metrics import Metrics
from clickstream_operator.status import READY, Condition, Figures, Report
from generate import ROOT
from support.resources import one_of_kind

RUNBOOKS = ROOT / "docs" / "runbooks"


@pytest.fixture(scope="module")
def alerts(render):
    values = {"metrics": {"rules": {"enabled": True, "runbookUrl": "https://wiki.example/r/"}}}
    (group,) = one_of_kind(render(values), "PrometheusRule")["spec"]["groups"]
    return group["rules"]


def exposed() -> str:
    """/metrics of a process that uses every name that an alert may speak of."""
    process = telemetry.Telemetry("test", {}, None)
    counters = (telemetry.ACCEPTED, telemetry.DEAD_LETTERS, telemetry.SKIPPED, UNAVAILABLE, RETRIES, REPLACED)
    for name in (*counters, LIMITED, OVER_BUDGET):
        process.counter(name, "a counter").add(1)
    for name in (telemetry.GEOIP_FAILED_LOADS, telemetry.GEOIP_FAILED_LOOKUPS):
        process.observed_counter(name, "a counter", lambda: [(1.0, {})])
    process.gauge(telemetry.PARKED, "a gauge", lambda: [(1.0, {})])
    operator = Metrics(process)
    by_component = {"enricher": 1}
    figures = Figures(by_component, {"enricher": True}, {"enricher": 1.0}, {"enricher": 1.0})
    down = Condition(READY, False, "Starting", "not yet")
    operator.found(("web", "shop"), Report(down, (), figures=figures), failed=False)
    operator.reconciled("failed", 1.0)
    for name in (telemetry.CLICK_TO_STORE, REQUESTS):
        process.histogram(name, "a histogram").record(1.0)
    for name in (telemetry.LAG_SECONDS, telemetry.JOIN_STALENESS):
        process.gauge(name, "a gauge", lambda: [(1.0, {})], unit="s")
    return process.prometheus_text().decode()


def test_each_series_exists(alerts):
    series = set(re.findall(r"^(\w+)[ {]", exposed(), re.MULTILINE))
    named = {name for alert in alerts for name in re.findall(r"clickstream_\w+", alert["expr"])}
    assert named
    assert named <= series


def test_each_alert_has_a_page_and_each_page_an_alert(alerts):
    names = {alert["alert"] for alert in alerts}
    assert names == {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    for alert in alerts:
        assert alert["annotations"]["runbook"] == f"docs/runbooks/{alert['alert']}.md"
        assert alert["annotations"]["runbook_url"] == f"https://wiki.example/r/{alert['alert']}"
        assert alert["labels"]["severity"] in {"critical", "warning"}


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("Clickstream*.md")), ids=lambda page: page.stem)
def test_a_page_says_what_it_means_and_what_to_do(page):
    text = page.read_text()
    for heading in (f"# {page.stem}", "## What it means", "## Look", "## Do"):
        assert f"{heading}\n" in text
