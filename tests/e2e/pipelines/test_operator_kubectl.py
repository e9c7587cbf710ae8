"""`kubectl clickstream status` on a real API server, by kubectl itself; its pods run nowhere, so none answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.build import binary
from e2e.pipelines.surroundings import Surroundings, pipeline

PLUGIN = Path(sys.executable).parent / "kubectl-clickstream"


def status(kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [PLUGIN, "status", *arguments, "--interval", "0"]
    env = os.environ | {"KUBECONFIG": str(kubeconfig)}
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, env=env)


def test_it_shows_a_pipeline_that_works(cluster: Surroundings, web: str) -> None:
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    cluster.until(
        "an Event tells that it is ready",
        lambda: "Ready: every part of the pipeline works" in cluster.kubectl("get", "events", "-n", web),
    )
    shown = status(cluster.api.kubeconfig, "shop", "-n", web)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].startswith(f"{web}/shop: ready  topics 5/5  http://shop-tracking-api.{web}.svc")
    assert {line.split()[0] for line in lines if line.startswith("  shop-")} == {
        f"shop-{each}" for each in ("tracking-api", "enricher", "sink-elasticsearch", "sink-postgres")
    }
    assert any("gave no figures" in line for line in lines), "no pod answers here"
    assert any(line.endswith("Ready: every part of the pipeline works") for line in lines)

    found = json.loads(status(cluster.api.kubeconfig, "shop", "-n", web, "-o", "json").stdout)
    told = {each["type"]: each["status"] for each in found["parts"]}
    assert told.pop("AutoscalingReady") in {"True", "False"}, "it is False once the autoscalers miss a metrics-server"
    assert list(told.values()) == ["True"] * 7
    assert [each["name"] for each in found["components"]] == [
        "tracking-api", "enricher", "sink-elasticsearch", "sink-postgres",
    ]  # fmt: skip
    assert found["notes"] == []

    # kubectl itself finds the plugin on the path.
    path = f"{PLUGIN.parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"KUBECONFIG": str(cluster.api.kubeconfig), "PATH": path}
    command = [binary("kubectl"), "clickstream", "status", "shop", "-n", web, "--interval", "0"]
    by_kubectl = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, env=env)
    assert by_kubectl.stdout.splitlines()[0] == lines[0]


def test_it_tells_what_does_not_work(cluster: Surroundings, web: str) -> None:
    cluster.apply(pipeline(namespace=web, sources=[{"name": "web", "writeKeySecretRef": {"name": "gone"}}]))
    cluster.until_reason("SecretMissing", "shop", web)
    shown = status(cluster.api.kubeconfig, "shop", "-n", web)
    assert shown.returncode == 1
    assert "NOT READY" in shown.stdout
    assert "gone" in shown.stdout

    shown = status(cluster.api.kubeconfig, "nobody", "-n", web)
    assert (shown.returncode, shown.stdout) == (3, "")
    assert '"nobody" not found' in shown.stderr


@pytest.mark.parametrize("role", ["view", None])
def test_it_needs_no_more_than_the_user_has_and_says_what_is_missing(
    role: str | None, cluster: Surroundings, web: str
) -> None:
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    cluster.kubectl("create", "serviceaccount", "someone", "-n", web)
    if role is not None:
        cluster.kubectl(
            "create", "rolebinding", "someone", "-n", web, f"--clusterrole={role}", f"--serviceaccount={web}:someone"
        )
    shown = status(cluster.api.service_account_kubeconfig(web, "someone"), "shop", "-n", web)
    if role is None:
        assert shown.returncode == 3
        assert "forbidden" in shown.stderr
        return
    assert shown.returncode == 0, shown.stderr
    assert "note: lag, rates and dead letters need the right to get pods/proxy" in shown.stdout
    assert "not allowed" in shown.stdout
    assert "AUTOSCALERS" in shown.stdout
