"""Whole passes over a cluster in memory: how often things are made, and pipelines that cannot be read."""

from __future__ import annotations

import copy
import re
from types import ModuleType
from typing import Any

import pytest
import yaml

from clickstream_operator import naming, reconcile, spec
from clickstream_operator.cluster import ClusterError
from clickstream_operator.desired import context
from clickstream_operator.inputs import Images
from clickstream_operator.reconcile import Reconciler
from support.golden import FOLDER
from support.memory_cluster import MemoryCluster, key_of

INVALID = {"no spec": {"kafka": {}}, "no document": {"enricher": {"sessionGap": "0s"}}}


def pipeline(*, deleting: bool = False, **changes: object) -> dict[str, Any]:
    body = yaml.safe_load((FOLDER / "minimal" / "pipeline.yaml").read_text())
    body["metadata"] |= {"finalizers": [naming.FINALIZER]} | ({"deletionTimestamp": "now"} if deleting else {})
    return body | {"spec": body["spec"] | {"deletionPolicy": "Delete"} | changes}


PAUSED = {naming.PAUSED_ANNOTATION: "true"}
DONE = {"KafkaTopic": "Ready", "Job": "Complete"}
LOOKED_FOR = (naming.HTTP_ROUTE, "web", "shop-tracking-api")


def working(**changes: object) -> MemoryCluster:
    """With all that the pipeline wants of its surroundings, after its first passes."""
    cluster = MemoryCluster(pipeline(**changes))
    cluster.secrets = {"shop-write-keys": {"write-key": b"k"}, "shop-postgres": {"uri": b"postgresql://p"}}
    for _ in range(4):
        run(cluster)
        for (kind, *_), child in cluster.objects.items():
            if kind in DONE:
                child["status"] = {"conditions": [{"type": DONE[kind], "status": "True"}]}
    run(cluster)
    assert ("Deployment", "web", "shop-enricher") in cluster.objects
    return cluster


def ready_of(cluster: MemoryCluster) -> dict[str, Any]:
    conditions = cluster.objects[naming.KIND, "web", "shop"]["status"]["conditions"]
    return {each["type"]: each for each in conditions}


def run(cluster: MemoryCluster) -> reconcile.Result:
    return Reconciler(cluster, Images("apps:1"), 15.0).reconcile("web", "shop")  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", INVALID.values(), ids=INVALID)
def test_a_pipeline_that_is_deleted_goes_although_it_cannot_be_read(changes):
    labels = naming.labels("web", "shop", naming.DROP)
    orphan = {"kind": "Job", "metadata": {"name": "shop-drop", "namespace": "web", "uid": "u", "labels": labels}}
    orphan["metadata"]["annotations"] = {naming.APPLIED_ANNOTATION: "as it was applied"}
    cluster = MemoryCluster(pipeline(deleting=True, **changes), orphan)
    assert run(cluster).body["metadata"]["name"] == "shop"
    assert [kind for kind, *_ in cluster.objects] == [naming.KIND], "the Job is stopped before the finalizer goes"
    result = run(cluster)
    assert cluster.objects == {}
    assert result.requeue_after is None
    (told,) = result.transitions
    assert (told.type, told.reason, told.severe) == ("Ready", "InvalidSpec", True)
    assert "without removing its data" in told.message


@pytest.mark.parametrize("changes", INVALID.values(), ids=INVALID)
def test_a_pipeline_that_cannot_be_read_changes_nothing_but_its_ready_condition(changes):
    cluster = MemoryCluster(pipeline())
    run(cluster)
    body = cluster.objects[naming.KIND, "web", "shop"]
    body["spec"] |= changes
    before = copy.deepcopy(cluster.objects)
    assert run(cluster).requeue_after == 15.0
    after = cluster.objects.pop(key_of(body))
    was = before.pop(key_of(body))
    assert cluster.objects == before
    assert after["metadata"] == was["metadata"]
    *parts, ready = after["status"]["conditions"]
    assert parts == was["status"]["conditions"][:-1]
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")


def test_a_pass_parses_the_spec_and_builds_once(monkeypatch):
    calls: list[str] = []

    def count(module: ModuleType, name: str) -> None:
        inner = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *arguments: calls.append(name) or inner(*arguments))

    count(spec, "parse_spec")
    count(context, "build_document")
    count(reconcile, "build_confined")
    run(MemoryCluster(pipeline()))
    assert sorted(calls) == ["build_confined", "build_document", "parse_spec"]


def test_a_paused_pipeline_has_only_its_status_written():
    cluster = working()
    body = cluster.objects[naming.KIND, "web", "shop"]
    body["metadata"] |= {"annotations": PAUSED, "finalizers": []}
    body["spec"] |= {"suspend": True}
    del cluster.objects["Service", "web", "shop-tracking-api"]
    extra = {"name": "shop-old", "namespace": "web", "uid": "x", "ownerReferences": [{"uid": body["metadata"]["uid"]}]}
    extra["labels"] = naming.labels("web", "shop", naming.ENRICHER)
    cluster.objects["Deployment", "web", "shop-old"] = {"kind": "Deployment", "metadata": extra}
    before, cluster.writes = copy.deepcopy(cluster.objects), []
    run(cluster)
    run(cluster)
    assert cluster.writes == [f"patch {naming.KIND}/status"], "once, and then it is as it should be"
    after, was = cluster.objects.pop(key_of(body)), before.pop(key_of(body))
    assert cluster.objects == before
    assert after["metadata"] == was["metadata"]
    cluster.objects[key_of(body)] = after
    told = ready_of(cluster)
    assert (told["Ready"]["status"], told["Ready"]["reason"]) == ("False", "Paused")
    assert told["Ready"]["message"].startswith("paused by the annotation clickstream.dev/paused, nothing is applied: ")
    assert (told["TrackingReady"]["status"], told["TrackingReady"]["reason"]) == ("False", "Paused")
    assert "Service shop-tracking-api is missing" in told["TrackingReady"]["message"]
    assert "Deployment shop-enricher is not as it should be" in told["EnricherReady"]["message"]
    del after["metadata"]["annotations"]
    run(cluster)
    assert ("Service", "web", "shop-tracking-api") in cluster.objects
    assert ("Deployment", "web", "shop-old") not in cluster.objects
    assert cluster.objects[key_of(body)]["metadata"]["finalizers"] == [naming.FINALIZER]
    assert ready_of(cluster)["Ready"]["reason"] != "Paused"


def test_a_paused_pipeline_without_a_difference_says_how_it_stands():
    cluster = working()
    before = ready_of(cluster)
    cluster.objects[naming.KIND, "web", "shop"]["metadata"]["annotations"] = PAUSED
    run(cluster)
    after = ready_of(cluster)
    assert after["Ready"]["reason"] == "Paused"
    assert after["Ready"]["status"] == before["Ready"]["status"]
    assert before["Ready"]["message"] in after["Ready"]["message"]
    assert {**after, "Ready": None} == {**before, "Ready": None}


def test_a_paused_pipeline_says_what_it_would_remove():
    cluster = working()
    body = cluster.objects[naming.KIND, "web", "shop"]
    body["metadata"]["annotations"] = PAUSED
    body["spec"]["dashboards"] = {"enabled": False}
    run(cluster)
    told = ready_of(cluster)["Ready"]
    assert (told["status"], told["reason"]) == ("False", "Paused")
    assert re.search(r"(ConfigMap|Secret) shop-\S+ is no longer wanted, and is left so", told["message"])
    assert ("ConfigMap", "web", "shop-dashboard-overview") in cluster.objects


@pytest.mark.parametrize("value", ["false", "True", "", "1"])
def test_only_the_word_true_pauses(value):
    body = pipeline()
    body["metadata"]["annotations"] = {naming.PAUSED_ANNOTATION: value}
    cluster = MemoryCluster(body)
    run(cluster)
    assert ("Service", "web", "shop-tracking-api") in cluster.objects


def test_a_paused_pipeline_is_deleted_with_its_data_all_the_same():
    cluster = working()
    body = cluster.objects[naming.KIND, "web", "shop"]
    body["metadata"] |= {"annotations": PAUSED, "deletionTimestamp": "now"}
    run(cluster)
    run(cluster)
    kinds = {(kind, name.rpartition("-")[0]) for kind, _, name in cluster.objects if kind in {"Deployment", "Job"}}
    assert kinds == {("Job", f"shop-drop-{store}") for store in naming.STORES}


ROUTE = {"httpRoute": {"parentRefs": [{"name": "public"}], "hostnames": ["clicks.shop.example"]}}


def test_an_http_route_comes_and_goes_with_its_field():
    cluster = MemoryCluster(pipeline(trackingApi=ROUTE))
    run(cluster)
    assert cluster.objects[LOOKED_FOR]["spec"]["hostnames"] == ["clicks.shop.example"]
    assert cluster.objects[naming.KIND, "web", "shop"]["status"]["trackingUrl"] == "https://clicks.shop.example"
    writes, cluster.writes = cluster.writes, []
    assert f"apply {naming.HTTP_ROUTE}/shop-tracking-api" in writes
    run(cluster)
    assert cluster.writes == []
    cluster.objects[naming.KIND, "web", "shop"]["spec"]["trackingApi"] = {}
    run(cluster)
    assert LOOKED_FOR not in cluster.objects


def test_without_the_gateway_api_the_rest_works_and_the_condition_says_what_to_do(monkeypatch):
    monkeypatch.setattr(MemoryCluster, "serves", lambda _, kind: kind != naming.HTTP_ROUTE)
    cluster = working(trackingApi=ROUTE)
    assert LOOKED_FOR not in cluster.objects
    assert ("Service", "web", "shop-tracking-api") in cluster.objects
    told = ready_of(cluster)["TrackingReady"]
    assert (told["status"], told["reason"]) == ("False", "GatewayApiMissing")
    assert "install the Gateway API's CRDs, or use trackingApi.ingress" in told["message"]


def test_who_grants_rights_by_hand_needs_none_for_routes_that_nobody_wants(monkeypatch):
    cluster = working()
    inner = cluster.get

    def get(kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        if kind == naming.HTTP_ROUTE:
            raise ClusterError(403, "httproutes is forbidden")
        return inner(kind, namespace, name)

    monkeypatch.setattr(cluster, "get", get)
    assert run(cluster).errors == ()
    assert ready_of(cluster)["Ready"]["reason"] != "Forbidden"
    cluster.objects[naming.KIND, "web", "shop"]["spec"]["trackingApi"] = ROUTE
    assert run(cluster).errors == ()
    told = ready_of(cluster)["TrackingReady"]
    assert (told["status"], told["reason"]) == ("False", "Forbidden")
