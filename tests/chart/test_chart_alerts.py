"""The alerts speak of series that the processes really expose, and each has a page that says what to do."""

from __future__ import annotations

import re

import pytest
from support.resources import one_of_kind

from clickstream.contracts import telemetry
from clickstream.sinks.meters import RETRIES
from clickstream.tracking_api.instruments import REQUESTS, UNAVAILABLE
from clickstream_operator.meters import Meters
from generate import ROOT

RUNBOOKS = ROOT / "docs" / "runbooks"


@pytest.fixture(scope="module")
def alerts(render):
    values = {"metrics": {"rules": {"enabled": True, "runbookUrl": "https://wiki.example/r/"}}}
    (group,) = one_of_kind(render(values), "PrometheusRule")["spec"]["groups"]
    return group["rules"]


def exposed() -> str:
    """/metrics of a process that uses every name that an alert may speak of."""
    process = telemetry.Telemetry("test", {}, None)
    for name in (telemetry.ACCEPTED, telemetry.DEAD_LETTERS, UNAVAILABLE, RETRIES):
        process.counter(name, "a counter").add(1)
    Meters(process).stands(("web", "shop"), ready=False)
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
