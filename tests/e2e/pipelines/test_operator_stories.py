"""The operator at work on a real API server, with exactly the rights that the chart gives it."""

from __future__ import annotations

import signal
import time

import pytest

from e2e.pipelines.conftest import rights
from e2e.pipelines.surroundings import KAFKA, RESYNC_SECONDS, SYSTEM, USER, Surroundings, pipeline, secret

CHILDREN = {
    "deployment": {"tracking-api", "enricher", "sink-elasticsearch", "sink-postgres"},
    "hpa": {"tracking-api", "enricher", "sink-elasticsearch", "sink-postgres"},
    "service": {"tracking-api"},
    "pdb": {"tracking-api"},
    "configmap": {"pipeline", *(f"dashboard-{kind}" for kind in ("audience", "funnels", "health", "live", "overview"))},
    "serviceaccount": {"clickstream"},
    "networkpolicy": {"tracking-api", "enricher", "sink-elasticsearch", "sink-postgres", "setup", "drop"},
}
TOPICS = {"raw-clicks", "enriched-clicks", "sessions", "dead-letters", "enricher-sessions-changelog"}


def names(cluster: Surroundings, kind: str, web: str, name: str = "shop") -> set[str]:
    """Names of the pipeline's children of a kind, without the pipeline's."""
    found = cluster.all(kind, f"clickstream.dev/pipeline={name}", namespace=web)
    return {each["metadata"]["name"].removeprefix(f"{name}-") for each in found}


def template(cluster: Surroundings, web: str, component: str) -> dict:
    return cluster.get("deployment", f"shop-{component}", web)["spec"]["template"]


def test_one_resource_makes_a_whole_pipeline(cluster, web):
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    for kind, wanted in CHILDREN.items():
        assert names(cluster, kind, web) == wanted, kind
    topics = {each["metadata"]["name"] for each in cluster.topics(web)}
    assert topics == {f"{web}.shop.{topic}" for topic in TOPICS}
    jobs = {name.rpartition("-")[0] for name in names(cluster, "job", web)}
    assert jobs == {"setup-elasticsearch", "setup-postgres", "setup-topics"}

    status = cluster.get("csp", "shop", web)["status"]
    parts = ("TopicsReady", "StoresReady", "TrackingReady", "EnricherReady", "SinksReady", "DashboardsReady", "Ready")
    conditions = {each["type"]: each["status"] for each in status["conditions"]}
    assert dict.fromkeys(parts, "True").items() <= conditions.items()
    told = cluster.kubectl("get", "csp", "-n", web).splitlines()
    assert told[0].split() == ["NAME", "READY", "REASON", "URL", "TOPICS", "AGE"]
    assert told[1].split()[:5] == ["shop", "True", "Ready", f"http://shop-tracking-api.{web}.svc", "5/5"]
    cluster.until(
        "an Event tells that it is ready",
        lambda: "Ready: every part of the pipeline works" in cluster.kubectl("get", "events", "-n", web),
    )


def test_at_rest_nothing_is_written_and_what_is_touched_by_hand_comes_back(cluster, web):
    resources = {"requests": {"cpu": "1000m", "memory": "1024Mi"}}  # which the API server writes as 1 and 1Gi
    api = {"ingress": {"host": "clicks.example.com"}, "resources": resources}
    cluster.apply(pipeline(namespace=web, trackingApi=api))
    cluster.until_ready("shop", web)
    cluster.until_at_rest(web)

    for kind in (*CHILDREN, "ingress", "kafkatopic", "secret"):
        where = KAFKA if kind == "kafkatopic" else web
        ours = f"clickstream.dev/pipeline=shop,clickstream.dev/namespace={web}"
        for name in [each["metadata"]["name"] for each in cluster.all(kind, ours, namespace=where)]:
            first = cluster.get(kind, name, where)["metadata"]["uid"]
            cluster.delete(kind, name, where)

            def back(kind=kind, name=name, first=first, where=where):
                there = cluster.get(kind, name, where)
                return there and there["metadata"]["uid"] != first

            cluster.until(f"{kind} {name} is back", back, 30)
    cluster.until_ready("shop", web)

    edits = [
        ("deployment", "shop-enricher", {"spec": {"template": {"spec": {"serviceAccountName": "default"}}}}),
        ("hpa", "shop-enricher", {"spec": {"maxReplicas": 100}}),
        ("service", "shop-tracking-api", {"spec": {"selector": {"app.kubernetes.io/component": "enricher"}}}),
        ("configmap", "shop-pipeline", {"data": {"pipeline.json": "{}"}}),
        ("pdb", "shop-tracking-api", {"spec": {"maxUnavailable": 2}}),
        ("ingress", "shop-tracking-api", {"spec": {"rules": [{"host": "elsewhere.example.com"}]}}),
        ("networkpolicy", "shop-enricher", {"spec": {"policyTypes": ["Ingress"]}}),
        ("serviceaccount", "shop-clickstream", {"automountServiceAccountToken": True}),
        ("kafkatopic", f"{web}.shop.raw-clicks", {"spec": {"config": {"retention.ms": "1"}}}),
        ("kafkatopic", f"{web}.shop.sessions", {"metadata": {"labels": {"clickstream.dev/pipeline": None}}}),
        ("deployment", "shop-enricher", {"metadata": {"labels": {"clickstream.dev/pipeline": None}}}),
    ]
    for kind, name, edit in edits:
        where = KAFKA if kind == "kafkatopic" else web
        good = cluster.get(kind, name, where)
        edited = cluster.patch(kind, name, edit, where)  # what is read later may be mended already
        assert part(edited) != part(good), f"the edit of {kind} {name} does something"

        def mended(kind=kind, name=name, good=good, where=where):
            return part(cluster.get(kind, name, where)) == part(good)

        cluster.until(f"{kind} {name} is as it was", mended, 30)


def part(thing: dict) -> dict:
    """What people edit: labels and everything beside metadata and status."""
    rest = {name: value for name, value in thing.items() if name not in {"metadata", "status"}}
    return {"labels": thing["metadata"]["labels"], **rest}


def test_the_autoscalers_count_of_replicas_is_never_overwritten(cluster, web):
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    cluster.kubectl("scale", "deployment", "shop-enricher", "-n", web, "--replicas=4")
    cluster.apply(pipeline(namespace=web, enricher={"sessionGap": "20m"}))
    cluster.until(
        "the new gap is there",
        lambda: '"20m"' in cluster.get("configmap", "shop-pipeline", web)["data"]["pipeline.json"],
    )
    cluster.until_ready("shop", web)
    time.sleep(2 * RESYNC_SECONDS)
    assert cluster.get("deployment", "shop-enricher", web)["spec"]["replicas"] == 4
    owners = cluster.kubectl("get", "deployment", "shop-enricher", "-n", web, "-o", "json", "--show-managed-fields")
    ours = owners[owners.index("clickstream-operator") - 4_000 : owners.index("clickstream-operator")]
    assert '"f:replicas"' not in ours


def test_a_change_reaches_only_those_whom_it_concerns(cluster, web):
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    before = {each: template(cluster, web, each) for each in CHILDREN["deployment"]}
    jobs = names(cluster, "job", web)

    funnel = {"name": "checkout", "steps": [{"name": "Homepage", "page": "/"}, {"name": "Pay", "page": "/checkout"}]}
    cluster.apply(pipeline(namespace=web, funnels=[funnel]))
    for component in ("enricher", "tracking-api"):  # which foretells what the enricher does
        cluster.until(
            f"{component} is rolled",
            lambda component=component: template(cluster, web, component) != before[component],
        )
    cluster.until_ready("shop", web)
    before["tracking-api"] = template(cluster, web, "tracking-api")
    for component in ("sink-elasticsearch", "sink-postgres"):
        assert template(cluster, web, component) == before[component], component
    changed = {name.rpartition("-")[0] for name in names(cluster, "job", web) ^ jobs}
    assert changed == {"setup-postgres"}, "SQL is told of the funnel, and the old Job is pruned"

    cluster.apply(secret("keys", web, {"write-key": "another-one"}))
    cluster.until(
        "a new write key rolls the tracking API",
        lambda: template(cluster, web, "tracking-api") != before["tracking-api"],
    )
    assert template(cluster, web, "sink-postgres") == before["sink-postgres"]
    assert "another-one" not in cluster.kubectl("get", "deploy,cm,job", "-n", web, "-o", "yaml")


def test_a_sink_that_is_no_longer_wanted_is_pruned_and_its_topics_stay(cluster, web):
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    only = {"elasticsearch": {"url": "http://elasticsearch:9200"}}
    cluster.apply(pipeline(namespace=web, sinks=only))
    cluster.until(
        "PostgreSQL's children are gone",
        lambda: (
            not any(
                "postgres" in name
                for kind in ("deployment", "hpa", "job", "networkpolicy")
                for name in names(cluster, kind, web)
            )
        ),
    )
    cluster.until_ready("shop", web)
    assert len(cluster.topics(web)) == len(TOPICS)


def test_suspend_stops_processing_and_never_collection(cluster, web):
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    cluster.apply(pipeline(namespace=web, suspend=True))
    cluster.until_reason("Suspended", "shop", web)

    def replicas(component: str) -> int:
        return cluster.get("deployment", f"shop-{component}", web)["spec"]["replicas"]

    assert [replicas(each) for each in ("enricher", "sink-elasticsearch", "sink-postgres")] == [0, 0, 0]
    assert replicas("tracking-api") > 0
    assert cluster.condition("shop", web, "TrackingReady")["status"] == "True"
    cluster.apply(pipeline(namespace=web))
    cluster.until("processing goes on", lambda: replicas("enricher") > 0 and replicas("sink-postgres") > 0)
    cluster.until_ready("shop", web)


def test_a_secret_that_appears_later_is_waited_for_and_named(cluster, web):
    cluster.delete("secret", "postgres", web)
    cluster.apply(pipeline(namespace=web))
    told = cluster.until_reason("SecretMissing", "shop", web)
    assert "postgres/uri" in told["message"]
    cluster.until(
        "what needs no such Secret is at work",
        lambda: cluster.condition("shop", web, "TrackingReady").get("status") == "True",
    )
    assert cluster.condition("shop", web, "SinksReady")["reason"] == "SecretMissing"
    assert names(cluster, "deployment", web) == CHILDREN["deployment"] - {"sink-postgres"}
    cluster.apply(secret("postgres", web, {"uri": "postgresql://clickstream@postgres/clickstream"}))
    cluster.until_ready("shop", web)


def test_an_invalid_pipeline_is_told_and_the_earlier_one_keeps_running(cluster, web):
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    before = {each: template(cluster, web, each) for each in CHILDREN["deployment"]}
    document = cluster.get("configmap", "shop-pipeline", web)["data"]
    # The schema cannot know which names two lists share; the processes would refuse this document.
    wrong = [{"name": "a", "page": "/x"}] * 2
    broken = pipeline(namespace=web, enricher={"sessionGap": "0s", "pageCategories": wrong})
    cluster.apply(broken)
    told = cluster.until_reason("InvalidSpec", "shop", web)
    assert "sessionGap" in told["message"]
    assert (
        cluster.condition("shop", web)["observedGeneration"]
        == cluster.get("csp", "shop", web)["metadata"]["generation"]
    )
    cluster.until("an Event warns", lambda: "InvalidSpec" in cluster.kubectl("get", "events", "-n", web))
    time.sleep(2 * RESYNC_SECONDS)
    assert {each: template(cluster, web, each) for each in CHILDREN["deployment"]} == before
    assert cluster.get("configmap", "shop-pipeline", web)["data"] == document
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)


def test_trouble_of_pods_and_jobs_is_told_in_their_own_words(cluster, web):
    cluster.nodes.broken["doomed-sink-postgres"] = "schema doomed belongs to pipeline other/doomed"
    cluster.nodes.broken["doomed-setup-elasticsearch"] = "HTTP 401 missing authentication credentials"
    try:
        cluster.apply(pipeline("doomed", web))
        sinks = cluster.until_reason("CrashLoopBackOff", "doomed", web, "SinksReady")
        assert "exit status 2: schema doomed belongs to pipeline other/doomed" in sinks["message"]
        stores = cluster.until_reason("SetupFailed", "doomed", web, "StoresReady")
        assert "HTTP 401 missing authentication credentials" in stores["message"]
        assert cluster.condition("doomed", web)["status"] == "False"
    finally:
        cluster.nodes.broken.clear()
        cluster.delete("csp", "doomed", web)


def test_topics_that_strimzi_does_not_make_hold_the_processes_back_and_say_so(cluster, web):
    cluster.nodes.topics_work = False
    try:
        cluster.apply(pipeline(namespace=web))
        told = cluster.until_reason("WaitingForTopicOperator", "shop", web)
        assert f"does it watch the namespace {KAFKA}?" in told["message"]
        assert cluster.condition("shop", web, "TrackingReady")["reason"] == "WaitingForTopics"
        assert names(cluster, "deployment", web) == set()
    finally:
        cluster.nodes.topics_work = True
    cluster.until_ready("shop", web)


def test_without_strimzi_a_job_makes_the_topics(cluster, web):
    cluster.apply(pipeline(namespace=web, kafka={"bootstrapServers": "kafka:9092"}))
    cluster.until_ready("shop", web)
    assert {"setup-topics"} <= {name.rpartition("-")[0] for name in names(cluster, "job", web)}
    assert cluster.get("csp", "shop", web)["status"]["topics"] == "5/5"
    assert cluster.topics(web) == []


def test_equal_names_and_names_that_begin_others_never_meet(cluster, control_plane, web):
    other = f"{web}-other"
    control_plane.namespace(other)
    cluster.apply(pipeline("shop", web), pipeline("shop-sink", web), pipeline("shop", other))
    for name, namespace in (("shop", web), ("shop-sink", web), ("shop", other)):
        cluster.until_ready(name, namespace)
    alive = cluster.all("deployment", "clickstream.dev/pipeline=shop-sink", namespace=web) + cluster.all(
        "deployment", namespace=other
    )
    cluster.delete("csp", "shop", web)
    cluster.until(
        "the first one's children are gone",
        lambda: not cluster.all("deployment", "clickstream.dev/pipeline=shop", namespace=web),
    )
    time.sleep(2 * RESYNC_SECONDS)
    there = cluster.all("deployment", "clickstream.dev/pipeline=shop-sink", namespace=web) + cluster.all(
        "deployment", namespace=other
    )
    assert [each["metadata"]["uid"] for each in there] == [each["metadata"]["uid"] for each in alive]


def test_somebody_elses_service_of_the_same_name_is_left_alone(cluster, web):
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "shop-tracking-api", "namespace": web, "labels": {"team": "payments"}},
        "spec": {"selector": {"app": "payments"}, "ports": [{"port": 80}]},
    }
    cluster.apply(foreign)
    cluster.apply(pipeline(namespace=web))
    told = cluster.until_reason("NameConflict", "shop", web)
    assert f"Service {web}/shop-tracking-api exists and does not belong to this pipeline" in told["message"]
    assert cluster.get("service", "shop-tracking-api", web)["spec"]["selector"] == {"app": "payments"}
    cluster.delete("service", "shop-tracking-api", web)
    cluster.until_ready("shop", web)


def test_a_missing_right_shows_as_a_condition(cluster, web):
    rules = cluster.get("clusterrole", "clickstream-operator")["rules"]
    fewer = [each for each in rules if "horizontalpodautoscalers" not in each["resources"]]
    cluster.patch("clusterrole", "clickstream-operator", {"rules": fewer})
    try:
        cluster.apply(pipeline(namespace=web))
        told = cluster.until_reason("Forbidden", "shop", web)
        assert "horizontalpodautoscalers" in told["message"]
        assert USER in told["message"]
    finally:
        cluster.patch("clusterrole", "clickstream-operator", {"rules": rules})
    cluster.until_ready("shop", web)


def test_an_operator_for_one_namespace_needs_no_right_anywhere_else(control_plane, web):
    other = f"{web}-other"
    control_plane.namespace(other)
    given = rights(
        "--set",
        f"watchNamespaces={{{web}}}",
        "--set",
        f"kafkaNamespaces={{{KAFKA}}}",
        "--set",
        "nameOverride=narrow",
        "--set",
        "rbac.aggregate=false",
    )
    assert not any(each["kind"].startswith("Cluster") for each in given)
    control_plane.apply(*given)
    kubeconfig = control_plane.api.service_account_kubeconfig(SYSTEM, "narrow")
    control_plane.apply(pipeline(namespace=web), pipeline(namespace=other))
    control_plane.start_operator(kubeconfig, OPERATOR_NAMESPACES=web)
    try:
        control_plane.until_ready("shop", web)
        assert "status" not in control_plane.get("csp", "shop", other)
    finally:
        assert control_plane.stop_operator() == 0, control_plane.log()[-3_000:]
        control_plane.delete("csp", "shop", other)


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
