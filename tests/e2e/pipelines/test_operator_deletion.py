"""The operator is killed, and pipelines are deleted, on a real API server: what is begun comes to its end."""

from __future__ import annotations

import signal
import time

import pytest

from e2e.pipelines.children import CHILDREN, TOPICS, names
from e2e.pipelines.surroundings import pipeline


@pytest.mark.long
def test_it_may_be_killed_at_any_point_and_converges(control_plane, web):
    """Twenty kills while the pipeline is made, changed and mended."""
    control_plane.apply(pipeline(namespace=web))
    for number in range(20):
        control_plane.start_operator()
        time.sleep(0.9 + 0.07 * number)  # it starts in a second; from then on it is killed later and later
        if number % 5 == 4:
            control_plane.apply(pipeline(namespace=web, enricher={"sessionGap": f"{number}m"}))
        if number % 7 == 6:
            control_plane.kubectl("delete", "deployment", "--all", "-n", web, "--wait=false")
        control_plane.stop_operator(signal.SIGKILL)
    control_plane.start_operator()
    try:
        control_plane.until_ready("shop", web)
        for kind, wanted in CHILDREN.items():
            assert names(control_plane, kind, web) == wanted, kind
        assert len(names(control_plane, "job", web)) == 3
        assert '"19m"' in control_plane.get("configmap", "shop-pipeline", web)["data"]["pipeline.json"]
    finally:
        assert control_plane.stop_operator() == 0


@pytest.mark.parametrize("policy", ["background", "foreground"])
def test_delete_removes_the_data_also_when_it_was_asked_for_while_the_operator_was_down(control_plane, web, policy):
    control_plane.start_operator()
    control_plane.apply(pipeline(namespace=web, deletionPolicy="Delete"))
    control_plane.until_ready("shop", web)
    assert control_plane.get("csp", "shop", web)["metadata"]["finalizers"] == ["clickstream.dev/delete-data"]
    control_plane.stop_operator(signal.SIGKILL)
    control_plane.delete("csp", "shop", web, f"--cascade={policy}")
    time.sleep(1)
    assert control_plane.get("csp", "shop", web) is not None
    begin = len(control_plane.writes())
    control_plane.start_operator()
    try:
        control_plane.until("the pipeline is gone", lambda: control_plane.get("csp", "shop", web) is None, 60)
        done = control_plane.writes(begin)
        for store in ("elasticsearch", "postgres"):
            assert any(each.startswith(f"patch jobs/shop-drop-{store}-") for each in done), done
        assert control_plane.topics(web) == []
        control_plane.until(
            "nothing is left",
            lambda: (
                control_plane.all("deploy,hpa,job,cm,svc,pdb,netpol,sa", "clickstream.dev/pipeline=shop", namespace=web)
                == []
            ),
        )
    finally:
        assert control_plane.stop_operator() == 0


def test_deleted_before_the_operator_had_seen_that_its_data_are_to_go_it_keeps_them_and_that_is_told(cluster, web):
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    cluster.process.send(signal.SIGSTOP)
    try:
        cluster.patch("csp", "shop", {"spec": {"deletionPolicy": "Delete"}}, web)
        cluster.delete("csp", "shop", web)
        assert cluster.get("csp", "shop", web) is None
    finally:
        cluster.process.send(signal.SIGCONT)

    def told() -> bool:
        return any(each["reason"] == "DataKept" for each in cluster.all("events", namespace=web))

    cluster.until("an Event tells it", told)
    assert "its topics, indices and tables are kept" in cluster.log()
    assert cluster.topics(web) != []


def test_delete_can_be_taken_back_and_never_outlives_its_word(cluster, web):
    cluster.apply(pipeline(namespace=web, deletionPolicy="Delete"))
    cluster.until_ready("shop", web)
    cluster.apply(pipeline(namespace=web))
    cluster.until("the finalizer is gone", lambda: "finalizers" not in cluster.get("csp", "shop", web)["metadata"])
    cluster.delete("csp", "shop", web)
    cluster.until("the pipeline is gone", lambda: cluster.get("csp", "shop", web) is None)
    assert len(cluster.topics(web)) == len(TOPICS), "Retain: topics stay"
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)


def test_deleted_and_made_again_at_once_it_gets_children_of_its_own(cluster, web):
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    old = {each["metadata"]["uid"] for each in cluster.all("deployment", namespace=web)}
    cluster.delete("csp", "shop", web)
    cluster.apply(pipeline(namespace=web))
    owner = cluster.get("csp", "shop", web)["metadata"]["uid"]

    def renewed() -> bool:
        metas = [each["metadata"] for each in cluster.all("deployment", namespace=web)]
        return len(metas) == 4 and all(m["uid"] not in old and m["ownerReferences"][0]["uid"] == owner for m in metas)

    cluster.until("all Deployments are the new pipeline's", renewed, 60)
    cluster.until_ready("shop", web)


def test_a_retained_pipeline_blocks_nothing_once_the_operator_is_gone(control_plane, web):
    control_plane.start_operator()
    control_plane.apply(pipeline(namespace=web))
    control_plane.until_ready("shop", web)
    assert control_plane.stop_operator() == 0
    for kind in ("csp", "deployment", "configmap", "job"):
        for each in control_plane.all(kind, "clickstream.dev/pipeline=shop" if kind != "csp" else "", namespace=web):
            ours = [name for name in each["metadata"].get("finalizers", []) if "clickstream" in name]
            assert ours == [], f"{kind} {each['metadata']['name']}"
    began = time.monotonic()
    control_plane.kubectl("delete", "namespace", web, "--timeout=120s")
    assert time.monotonic() - began < 120
    assert len(control_plane.topics(web)) == len(TOPICS), "the topics are in Kafka's namespace and stay"
