"""What users say of pods, of the Service and of routes, and a pipeline that is paused, on a real API server."""

from __future__ import annotations

import pytest
import yaml

from e2e.pipelines.surroundings import RESYNC_SECONDS, Json, Surroundings, kafka, pipeline
from support.golden import FOLDER
from support.objects import until_established

ROUTES = "httproutes.gateway.networking.k8s.io"
DEFINITION: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": ROUTES,
        "annotations": {"api-approved.kubernetes.io": "unapproved, for a test of the operator"},
    },
    "spec": {
        "group": "gateway.networking.k8s.io",
        "scope": "Namespaced",
        "names": {"kind": "HTTPRoute", "plural": "httproutes", "singular": "httproute"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            }
        ],
    },
}
"""Stands in for the Gateway API's own, whose schema is not looked at here."""
ROUTE = {"httpRoute": {"parentRefs": [{"name": "public"}], "hostnames": ["clicks.example.com"]}}


def golden() -> Json:
    """The spec of tests/golden/pods, with what its surroundings are here."""
    spec: Json = yaml.safe_load((FOLDER / "pods" / "pipeline.yaml").read_text())["spec"]
    spec["trackingApi"] = {name: value for name, value in spec["trackingApi"].items() if name != "httpRoute"}
    spec["sources"] = pipeline()["spec"]["sources"]
    spec["sinks"]["postgres"]["connectionSecretRef"] = {"name": "postgres"}
    spec["telemetry"] = {"logLevel": "WARNING"}
    return spec | {"kafka": kafka()}


def written(cluster: Surroundings, web: str) -> list[str]:
    """What the operator writes in ten passes."""
    begin, passes = len(cluster.writes()), cluster.passes(web)
    cluster.until("ten passes at rest", lambda: cluster.passes(web) >= passes + 10, 20 * RESYNC_SECONDS)
    return cluster.writes()[begin:]


def test_all_that_users_may_say_is_taken_by_the_api_server_and_rests(cluster, web):
    for name in ("shared", "edge", "batch"):
        cluster.kubectl("create", "priorityclass", name, "--value=1")
    try:
        cluster.apply(pipeline(namespace=web, **golden()))
        cluster.until_ready("shop", web)
        cluster.until_at_rest(web)
        for each in cluster.all("deployment", "clickstream.dev/pipeline=shop", namespace=web):
            assert each["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "of-the-pipeline"}]
        service = cluster.get("service", "shop-tracking-api", web)["spec"]
        assert (service["type"], service["ports"][0]["nodePort"]) == ("LoadBalancer", 30080)
        cluster.apply(pipeline(namespace=web, **golden() | {"trackingApi": {}}))
        cluster.until(
            "the Service is of the cluster again",
            lambda: cluster.get("service", "shop-tracking-api", web)["spec"]["type"] == "ClusterIP",
        )
        cluster.until_ready("shop", web)
        cluster.until_at_rest(web)
    finally:
        cluster.kubectl("delete", "priorityclass", "shared", "edge", "batch")


@pytest.fixture
def gateway_api(control_plane: Surroundings):
    """Installs the Gateway API's resource when it is called."""

    def install() -> None:
        control_plane.apply(DEFINITION)
        until_established(control_plane.kubectl, ROUTES)

    yield install
    control_plane.kubectl("delete", "crd", ROUTES, "--ignore-not-found")


def test_a_route_waits_for_its_kind_and_goes_when_it_is_no_longer_wanted(cluster, web, gateway_api):
    cluster.apply(pipeline(namespace=web, trackingApi=ROUTE))
    cluster.until(
        "it says what is missing",
        lambda: cluster.condition("shop", web, "TrackingReady").get("reason") == "GatewayApiMissing",
    )
    cluster.until("the rest works", lambda: cluster.condition("shop", web, "SinksReady").get("status") == "True")
    gateway_api()
    cluster.until_ready("shop", web)
    route = cluster.get("httproute", "shop-tracking-api", web)
    assert route["spec"]["hostnames"] == ["clicks.example.com"]
    assert cluster.get("csp", "shop", web)["status"]["trackingUrl"] == "https://clicks.example.com"
    cluster.until_at_rest(web)
    cluster.apply(pipeline(namespace=web))
    cluster.until("it is gone", lambda: cluster.get("httproute", "shop-tracking-api", web) is None)
    cluster.until_ready("shop", web)


def test_a_paused_pipeline_is_looked_at_and_left_alone(cluster, web):
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    cluster.kubectl("annotate", "csp", "shop", "-n", web, "clickstream.dev/paused=true")
    cluster.until("it says so", lambda: cluster.condition("shop", web, "Ready").get("reason") == "Paused")
    assert cluster.condition("shop", web, "Ready")["status"] == "True"
    cluster.delete("service", "shop-tracking-api", web)
    cluster.apply(pipeline(namespace=web, suspend=True, deletionPolicy="Delete"))
    cluster.until(
        "it says what it would do",
        lambda: (
            "Service shop-tracking-api is missing" in cluster.condition("shop", web, "TrackingReady").get("message", "")
            and "Deployment shop-enricher is not as it should be"
            in cluster.condition("shop", web, "EnricherReady").get("message", "")
        ),
    )
    # Half a minute later the autoscaler says that there is no metrics-server, and the status tells it.
    cluster.until(
        "the autoscaler has no metrics",
        lambda: cluster.condition("shop", web, "AutoscalingReady").get("reason") == "FailedGetResourceMetric",
        180,
    )
    cluster.until_at_rest(web)
    assert written(cluster, web) == []
    assert cluster.get("service", "shop-tracking-api", web) is None
    assert "finalizers" not in cluster.get("csp", "shop", web)["metadata"]
    cluster.kubectl("annotate", "csp", "shop", "-n", web, "clickstream.dev/paused-")
    cluster.until("it goes on", lambda: cluster.get("service", "shop-tracking-api", web) is not None)
    cluster.until("and suspends", lambda: cluster.condition("shop", web, "EnricherReady").get("reason") == "Suspended")
