"""What goes wrong in a cluster, and what the operator makes of it: on a real API server, with the chart's rights."""

from __future__ import annotations

import base64
import json

import pytest

from e2e.pipelines.surroundings import RESYNC_SECONDS, Surroundings, pipeline, secret
from e2e.pipelines.webhook import NAME, Mirror, serving

READER = {"datasources": {"postgres": {"connectionSecretRef": {"name": "reader"}}}}


def sources(cluster: Surroundings, web: str) -> list[dict]:
    data = cluster.get("secret", "shop-grafana-datasources", web)["data"]
    return json.loads(base64.b64decode(next(iter(data.values()))))["datasources"]


def test_a_readers_password_may_have_any_characters_and_one_that_is_no_use_stops_nothing_else(cluster, web):
    cluster.apply(secret("reader", web, {"uri": "postgresql://reader:Tr0ub4dor#[3@pg-0:5432,pg-1:5432/clicks"}))
    cluster.apply(pipeline(namespace=web, dashboards=READER))
    cluster.until_ready("shop", web)
    (postgres,) = [each for each in sources(cluster, web) if each["type"] == "postgres"]
    assert (postgres["url"], postgres["secureJsonData"]["password"]) == ("pg-0:5432", "Tr0ub4dor#[3")

    good = cluster.get("secret", "shop-grafana-datasources", web)["data"]
    cluster.apply(secret("reader", web, {"uri": "postgresql://reader:hush@pg:Tr0ub4dor/clicks"}))
    told = cluster.until_reason("DatasourceInvalid", "shop", web)
    assert "Secret reader, key uri: Grafana cannot use this connection string: its port is no number" in told["message"]
    cluster.delete("deployment", "shop-enricher", web)
    cluster.until("what else is wrong is mended", lambda: cluster.get("deployment", "shop-enricher", web))
    assert cluster.get("secret", "shop-grafana-datasources", web)["data"] == good, "what was good stays"
    for text in (cluster.log(), cluster.kubectl("get", "csp,events", "-n", web, "-o", "yaml")):
        assert "Tr0ub4dor" not in text
        assert "hush" not in text
    cluster.apply(secret("reader", web, {"uri": "host=pg user=reader password='it\\'s' sslmode=disable"}))
    cluster.until_ready("shop", web)


def test_what_people_have_labelled_like_the_pipeline_is_theirs(cluster, web):
    """As the documentation's `get all -l clickstream.dev/pipeline=shop` invites them to."""
    cluster.apply(pipeline(namespace=web, deletionPolicy="Delete"))
    cluster.until_ready("shop", web)
    labels = cluster.get("service", "shop-tracking-api", web)["metadata"]["labels"]
    mine = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "mine", "namespace": web, "labels": labels},
        "spec": {"type": "LoadBalancer", "selector": {"a": "b"}, "ports": [{"port": 80}]},
    }
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine", "namespace": web, "labels": labels}}
    cluster.apply(mine, config)
    passes = cluster.passes(web)
    cluster.until("three more passes", lambda: cluster.passes(web) >= passes + 3, 20 * RESYNC_SECONDS)
    cluster.delete("csp", "shop", web)
    cluster.until("the pipeline is gone with its data", lambda: cluster.get("csp", "shop", web) is None, 60)
    for kind in ("service", "configmap"):
        assert cluster.get(kind, "mine", web)["metadata"].get("deletionTimestamp") is None


def test_what_a_webhook_rewrites_is_left_alone_and_a_job_follows_it_to_another_mirror(cluster, web, tmp_path):
    mirror = Mirror()
    with serving(mirror, web, tmp_path) as configuration:
        cluster.apply(configuration)
        try:
            cluster.apply(pipeline(namespace=web))
            cluster.until_ready("shop", web)
            for kind in ("deployment", "job"):
                for each in cluster.all(kind, namespace=web):
                    assert each["spec"]["template"]["spec"]["containers"][0]["image"].startswith("mirror.example/")
            cluster.until(
                "the autoscaler has brought the tracking API to its minimum, and the status tells it",
                lambda: "2 of 2" in cluster.condition("shop", web, "TrackingReady").get("message", ""),
            )
            begin, passes = len(cluster.writes()), cluster.passes(web)
            cluster.until("five passes at rest", lambda: cluster.passes(web) >= passes + 5, 20 * RESYNC_SECONDS)
            written = [each for each in cluster.writes()[begin:] if "clickstreampipelines" not in each]
            assert written == [], "the status may still settle, children may not be written"

            jobs = {each["metadata"]["name"]: each["metadata"]["uid"] for each in cluster.all("job", namespace=web)}
            name, first = next(iter(jobs.items()))
            assert cluster.stop_operator() == 0
            mirror.prefix = "moved.example/"
            cluster.start_operator()  # it does not know any more what came back, and applies each once

            def again() -> bool:
                there = cluster.get("job", name, web)
                return there is not None and there["metadata"]["uid"] != first

            cluster.until("the Job whose template cannot follow is made again", again)
            made = cluster.get("job", name, web)["spec"]["template"]["spec"]["containers"][0]
            assert made["image"].startswith("moved.example/")
            cluster.until_ready("shop", web)
        finally:
            cluster.delete("mutatingwebhookconfiguration", NAME, web)


def test_a_webhook_that_fails_now_and_then_is_nothing_to_tell(cluster, web, tmp_path):
    mirror = Mirror()
    with serving(mirror, web, tmp_path) as configuration:
        cluster.apply(configuration)
        try:
            cluster.apply(pipeline(namespace=web))
            cluster.until_ready("shop", web)
            since = cluster.condition("shop", web)["lastTransitionTime"]
            mirror.busy = 2
            cluster.delete("deployment", "shop-enricher", web)
            cluster.until("the Deployment is back", lambda: cluster.get("deployment", "shop-enricher", web))
            assert mirror.busy == 0
            mirror.busy = 10**6
            cluster.delete("deployment", "shop-enricher", web)
            told = cluster.until_reason("ApiServerBusy", "shop", web, "EnricherReady")
            assert "is asked again" in told["message"]
            assert cluster.condition("shop", web, "TrackingReady")["status"] == "True"
            events = json.loads(cluster.kubectl("get", "events", "-n", web, "-o", "json"))["items"]
            ours = [each for each in events if each["involvedObject"]["kind"] == "ClickstreamPipeline"]
            assert {each["type"] for each in ours} == {"Normal"}, "no warning"
            mirror.busy = 0
            cluster.until_ready("shop", web)
            assert since
        finally:
            cluster.delete("mutatingwebhookconfiguration", NAME, web)


@pytest.mark.parametrize(
    ("scheduling", "told"),
    [
        ({"tolerations": [{"key": "a", "operator": "Exists", "stray": 1}]}, "stray"),
        ({"tolerations": [{"operator": "Sometimes"}]}, "Sometimes"),
        ({"nodeSelector": {"not a label": "x"}}, "not a label"),
    ],
)
def test_what_the_api_server_refuses_of_a_child_wants_a_person(cluster, web, scheduling, told):
    cluster.apply(pipeline(namespace=web, scheduling=scheduling))
    found = cluster.until_reason("ApplyFailed", "shop", web)
    assert told in found["message"]
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
