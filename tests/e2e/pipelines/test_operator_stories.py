"""The operator at work on a real API server, with exactly the rights that the chart gives it."""

from __future__ import annotations

import time

from e2e.pipelines.children import CHILDREN, TOPICS, names
from e2e.pipelines.conftest import rights
from e2e.pipelines.surroundings import KAFKA, RESYNC_SECONDS, SYSTEM, USER, Surroundings, pipeline, secret


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
