"""From nothing to numbers: helm install, kubectl apply, clicks, and every one of them in both stores."""

from __future__ import annotations

import json
import subprocess
import sys

from clickstream.contracts.pipeline import dump_pipeline
from e2e.stories.conftest import modest
from e2e.stories.platform import ROOT, SPACE, SYSTEM


def test_helm_install_kubectl_apply_and_ten_thousand_clicks(world, ledger, tmp_path):
    world.ours("apply", "-f", str(ROOT / "manifests" / "examples" / "minimal.yaml"))
    world.until_ready("shop")
    with world.traffic("shop", ledger, events=10_000, rate=400, batch=50, time_scale=0.1) as visitors:
        counted = world.counted(visitors)
    assert counted["accepted"] >= 9_800
    verdict = world.balanced("shop", ledger, counted["accepted"])
    assert verdict.elasticsearch == verdict.postgres >= counted["accepted"]
    assert verdict.sessions > 100

    document = tmp_path / "pipeline.json"
    document.write_bytes(dump_pipeline(world.document("shop")))
    checked = subprocess.run(
        [sys.executable, "-m", "clickstream.cli", "check", "--pipeline", document, "--settle", "0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr

    told = world.ours("get", "csp", "shop").splitlines()
    assert told[0].split() == ["NAME", "READY", "REASON", "URL", "TOPICS", "AGE"]
    assert told[1].split()[:5] == ["shop", "True", "Ready", f"http://shop-tracking-api.{SPACE}.svc", "5/5"]
    boards = world.all("configmap", "clickstream.dev/pipeline=shop,grafana_dashboard=1")
    assert len(boards) == 5
    assert all(json.loads(next(iter(each["data"].values())))["panels"] for each in boards)
    print(json.dumps(counted), verdict)
    world.ours("delete", "csp", "shop", "--timeout=60s")


def test_every_kind_of_pod_is_killed_under_load_and_the_ledger_balances(world, ledger):
    world.apply(*modest("hardy"))
    world.until_ready("hardy")
    mine = "app.kubernetes.io/instance=hardy,app.kubernetes.io/component"
    with world.traffic("hardy", ledger, rate=200, batch=20, time_scale=0.1, seconds=150, give_up_after=120) as visitors:
        for labels in (
            f"{mine}=tracking-api",
            f"{mine}=enricher",
            f"{mine}=sink-elasticsearch",
            f"{mine}=sink-postgres",
            "app.kubernetes.io/name=elasticsearch",
            "app.kubernetes.io/name=postgres",
            "app.kubernetes.io/name=kafka",
        ):
            pod = world.all("pods", labels)[0]["metadata"]["name"]
            world.ours("delete", "pod", pod, "--grace-period=0", "--force")
            world.until(
                f"a pod of {labels} is ready again",
                lambda labels=labels, pod=pod: any(
                    each["metadata"]["name"] != pod or each["status"].get("startTime")
                    for each in world.all("pods", labels)
                    if all(s.get("ready") for s in each["status"].get("containerStatuses", [{}]))
                ),
            )
        world.kubectl("-n", SYSTEM, "delete", "pod", "--all", "--grace-period=0", "--force")
        counted = world.counted(visitors)
    world.until_ready("hardy")
    world.balanced("hardy", ledger, counted["accepted"])
    print(json.dumps(counted))
    world.ours("delete", "csp", "hardy", "--timeout=60s")
