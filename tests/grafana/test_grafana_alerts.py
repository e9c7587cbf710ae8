"""The alerts as Prometheus itself understands them: promtool reads the rules and works them out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from generate import CHART
from generate.install import helm

SKIPPED = 'clickstream_skipped_records_total{namespace="n",pipeline="p",component="enricher",pod="a",partition="0"}'
REPLACED = SKIPPED.replace("skipped_records", "enricher_source_replaced")
PARKED = 'clickstream_parked_records{namespace="n",pipeline="p",component="sink-postgres",pod="a"}'
OF_ONE = '{namespace="n",pipeline="p"}'
FAILING = f"clickstream_operator_failing{OF_ONE}"
SINCE_LAST = f"clickstream_operator_since_last_reconciliation_seconds{OF_ONE}"
OF_SINK = '{namespace="n",pipeline="p",component="sink-postgres"}'
AVAILABLE = f"clickstream_operator_component_available{OF_SINK}"
AT_MAXIMUM = f"clickstream_operator_autoscaler_at_maximum{OF_SINK}"
TIME_LEFT = f"clickstream_operator_time_to_data_loss_seconds{OF_SINK}"
RETENTION = f"clickstream_operator_retention_seconds{OF_SINK}"


def condition(kind: str, reason: str) -> str:
    return f'clickstream_operator_condition{{namespace="n",pipeline="p",condition="{kind}",reason="{reason}"}}'


LIMITED = 'clickstream_http_limited_total{namespace="n",pipeline="p",source="web",limit="source",pod="a"}'
LIMITED_ADDRESS = LIMITED.replace('limit="source"', 'limit="address"')
OVER_BUDGET = (
    'clickstream_dead_letters_over_budget_total{namespace="n",pipeline="p",component="tracking-api",source="web"}'
)
LOADS = 'clickstream_geoip_failed_loads_total{namespace="n",pipeline="p",component="tracking-api",pod="a"}'


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    values = folder / "values.yaml"
    values.write_text(yaml.safe_dump({"metrics": {"rules": {"enabled": True}}}))
    text = helm("template", "clickstream", str(CHART), "--values", str(values))
    (spec,) = [one["spec"] for one in yaml.safe_load_all(text) if one and one["kind"] == "PrometheusRule"]
    (folder / "rules.yaml").write_text(yaml.safe_dump(spec))
    return folder / "rules.yaml"


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    assert program is not None, "the tests of alerts need promtool on the PATH (Debian: prometheus)"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("alert", "series", "firing", "silent"),
    [
        # A counter that begins with what was found at the start, as after a restart.
        ("ClickstreamRecordsSkipped", {SKIPPED: "_x10 5x120"}, [12, 65], [5, 75]),
        ("ClickstreamRecordsSkipped", {SKIPPED: "0x20 7x200"}, [23, 75], [15, 90]),
        # The same pod, its process started anew.
        ("ClickstreamRecordsSkipped", {SKIPPED: "9x90 4x200"}, [95], [80, 160]),
        ("ClickstreamRecordsSkipped", {SKIPPED: "0x200", REPLACED: "0x30 1x100"}, [33], [25]),
        ("ClickstreamRecordsParked", {PARKED: "0x10 3x10 0x10"}, [17], [5, 13, 25]),
        ("ClickstreamGeoipUnusable", {LOADS: "0x10 0+2x60"}, [40], [5, 15]),
        ("ClickstreamGeoipUnusable", {LOADS: "1x120"}, [], [60]),
        # Over the limit for half an hour; for some minutes; one address only, which is what its limit is for.
        ("ClickstreamSourceLimited", {LIMITED: "0x10 60+60x30 1860x40"}, [25, 40], [15, 60]),
        ("ClickstreamSourceLimited", {LIMITED: "0x10 60+60x3 240x40"}, [], [12, 20, 40]),
        ("ClickstreamSourceLimited", {LIMITED: "0x60", LIMITED_ADDRESS: "0+60x60"}, [], [30, 60]),
        ("ClickstreamDeadLettersOverBudget", {OVER_BUDGET: "0x20 7x200"}, [23, 75], [15, 90]),
        # Every pass fails, then one in four; then a short time away from the API server.
        ("ClickstreamReconciliationFailing", {FAILING: "0x10 1x20 1 0 0 0 1 0 0 0 1 0x60"}, [25, 40], [15, 60]),
        ("ClickstreamReconciliationFailing", {FAILING: "0x10 1x3 0x60"}, [], [12, 20, 40]),
        ("ClickstreamNotReconciled", {SINCE_LAST: "15x10 60+60x20"}, [24], [8, 15]),
        # Not ready for one reason after the other; suspended it is nobody's trouble, and so it may be for days.
        (
            "ClickstreamPipelineNotReady",
            {condition("Ready", "Starting"): "0x9 _x60", condition("Ready", "CrashLoopBackOff"): "_x9 0x60"},
            [17, 40],
            [10],
        ),
        (
            "ClickstreamPipelineNotReady",
            {condition("Ready", "Ready"): "1x9 _x90", condition("Ready", "Suspended"): "_x9 0x90"},
            [],
            [5, 30, 80],
        ),
        # All pods are down, and nothing but the operator is left to say so.
        ("ClickstreamComponentDown", {AVAILABLE: "2x10 0x20 1x20"}, [17, 30], [5, 13, 35]),
        # Suspended on purpose: the series is gone.
        ("ClickstreamComponentDown", {AVAILABLE: "2x10 _x60"}, [], [20, 40]),
        ("ClickstreamAtMaximum", {AT_MAXIMUM: "0x10 1x60 0x20"}, [45, 60], [30, 80]),
        ("ClickstreamAutoscalingBroken", {condition("AutoscalingReady", "RequestsMissing"): "0x40"}, [20], [10]),
        ("ClickstreamAutoscalingBroken", {condition("AutoscalingReady", "AtMaximum"): "1x40"}, [], [20, 40]),
        # Nothing is processed for 8 hours of a retention of 10.
        ("ClickstreamDataLossNear", {TIME_LEFT: "36000-60x480", RETENTION: "36000x480"}, [456, 480], [60, 440]),
        ("ClickstreamDataLossNear", {TIME_LEFT: "3500x60", RETENTION: "3600x60"}, [], [30, 60]),
    ],
)
def test_it_fires_when_it_should_and_then_only(
    alert: str, series: dict[str, str], firing: list[int], silent: list[int], rules: Path
) -> None:
    """`firing`, `silent`: minutes after the first sample."""
    groups = yaml.safe_load(rules.read_text())["groups"]
    (rule,) = [rule for rule in groups[0]["rules"] if rule["alert"] == alert]
    of_part = {
        name: next(iter(series)).partition(f'{name}="')[2].partition('"')[0]
        for name in ("namespace", "pipeline", "component", "source")
        if name in rule["expr"].partition(")")[0]
    }
    labels = of_part | {"severity": rule["labels"]["severity"]}
    told = dict(rule["annotations"])
    for label, value in of_part.items():
        told = {name: text.replace(f"{{{{ $labels.{label} }}}}", value) for name, text in told.items()}
    checks: list[dict[str, Any]] = [
        {
            "eval_time": f"{minute}m",
            "alertname": alert,
            "exp_alerts": [{"exp_labels": labels, "exp_annotations": told}] if minute in firing else [],
        }
        for minute in firing + silent
    ]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": checks,
    }
    file = rules.parent / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [rules.name], "evaluation_interval": "1m", "tests": [test]}))
    promtool("test", "rules", str(file))


def test_every_rule_is_one(rules: Path) -> None:
    promtool("check", "rules", str(rules))
