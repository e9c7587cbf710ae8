"""From nothing to numbers: helm install, kubectl apply, clicks, and every one of them in both stores."""

from __future__ import annotations

import json
import subprocess
import sys

import psycopg

from clickstream.contracts.pipeline import dump_pipeline
from clickstream.simulator.addresses import NETWORKS
from e2e.stories.platform import ROOT, SPACE


def test_helm_install_kubectl_apply_and_ten_thousand_clicks(world, ledger, tmp_path):
    world.ours("apply", "-f", str(ROOT / "manifests" / "examples" / "minimal.yaml"))
    world.until_ready("shop")
    with world.visitors("shop", events=10_000, rate=400, batch=50, time_scale=0.1) as visitors:
        counted = visitors.counted(ledger)
    assert counted["accepted"] >= 9_800
    verdict = world.balanced("shop", ledger, counted["accepted"])
    assert verdict.elasticsearch == verdict.postgres == counted["accepted"]
    assert verdict.sessions > 100

    document = tmp_path / "pipeline.json"
    with world.stores() as stores:
        shop = world.document("shop", stores)
        document.write_bytes(dump_pipeline(shop))
        with psycopg.connect(stores.postgres) as connection:
            found = connection.execute(f"SELECT DISTINCT country FROM {shop.names.schema}.clicks").fetchall()
        assert {country for (country,) in found} == {country for _, country, _ in NETWORKS}, "by the image's database"
        checked = subprocess.run(
            [sys.executable, "-m", "clickstream.cli", "check", "--pipeline", document, "--settle", "0"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr

    told = world.ours("get", "csp", "shop").splitlines()
    assert told[0].split() == ["NAME", "READY", "REASON", "URL", "TOPICS", "AGE"]
    assert told[1].split()[:5] == ["shop", "True", "Ready", f"http://shop-tracking-api.{SPACE}.svc", "5/5"]
    boards = world.all("configmap", "clickstream.dev/pipeline=shop,grafana_dashboard=1")
    assert len(boards) == 9
    assert all(json.loads(next(iter(each["data"].values())))["panels"] for each in boards)
