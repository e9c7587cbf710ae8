"""The operator and KafkaTopics: what outlives a pipeline, what is refused of it, and what a deletion takes along."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from clickstream_operator.naming import FINALIZER
from devstack.errors import StartError
from e2e.pipelines.surroundings import KAFKA, Surroundings, kafka, pipeline

OWN = "clickstream.dev/pipeline=shop"
MADE_TO_DELETE = "job,pod,sa,cm,netpol"


def sized(partitions: int, **raw: object) -> dict:
    return kafka(topics={"rawClicks": {"partitions": partitions} | raw})


def spec_of(cluster: Surroundings, topic: str, where: str = KAFKA) -> dict:
    return cluster.get("kafkatopic", topic, where)["spec"]


def gone(cluster: Surroundings, web: str) -> bool:
    return cluster.get("csp", "shop", web) is None


def deleted(cluster: Surroundings, web: str) -> None:
    cluster.delete("csp", "shop", web)
    cluster.until("the pipeline is gone", lambda: gone(cluster, web))
    # The garbage collector learns of kinds that were installed a moment ago every half a minute only.
    cluster.until("and its children", lambda: not cluster.all("deployment,job,pod", OWN, namespace=web), 90)


def test_a_pipeline_made_again_with_more_partitions_changes_nothing_and_says_how_to_go_on(cluster, web):
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    deleted(cluster, web)
    before = dict(cluster.nodes.kafka.topics)
    cluster.apply(pipeline(namespace=web, kafka=sized(24, retention="1d")))
    told = cluster.until_reason("PartitionsDiffer", "shop", web, "TopicsReady")
    for topic in (f"{web}.shop.raw-clicks", f"{web}.shop.enricher-sessions-changelog"):
        assert f"topic {topic} has 12 partitions, and the pipeline says 24" in told["message"]
        assert spec_of(cluster, topic)["partitions"] == 12
    assert "create the pipeline with the topic's number, or under another name" in told["message"]
    assert cluster.condition("shop", web, "EnricherReady")["reason"] == "WaitingForTopics"
    cluster.until("an Event warns", lambda: "PartitionsDiffer" in cluster.kubectl("get", "events", "-n", web))
    assert cluster.all("deployment", namespace=web) == []
    assert cluster.nodes.kafka.topics == before
    deleted(cluster, web)
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)


def test_the_changelog_is_not_made_anew_beside_clicks_of_another_number(cluster, web):
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    deleted(cluster, web)
    changelog = f"{web}.shop.enricher-sessions-changelog"
    cluster.kubectl("delete", "kafkatopic", changelog, "-n", KAFKA)
    cluster.apply(pipeline(namespace=web, kafka=sized(24)))
    cluster.until_reason("PartitionsDiffer", "shop", web, "TopicsReady")
    assert cluster.get("kafkatopic", changelog, KAFKA) is None
    assert changelog not in cluster.nodes.kafka.topics


@pytest.mark.parametrize("how", ["in Kafka", "in the resource"])
def test_a_topic_that_was_grown_by_hand_is_told_and_the_documented_way_out_works(cluster, web, how):
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    clicks, changelog = f"{web}.shop.raw-clicks", f"{web}.shop.enricher-sessions-changelog"
    grown = {"spec": {"partitions": 13}}
    if how == "in Kafka":
        cluster.nodes.kafka.grow(clicks, 13)
    else:
        cluster.patch("kafkatopic", clicks, grown, KAFKA)
    told = cluster.until_reason("PartitionsDiffer", "shop", web, "TopicsReady")
    assert clicks in told["message"]
    assert cluster.condition("shop", web, "EnricherReady")["status"] == "True", "what runs goes on"

    cluster.patch("kafkatopic", clicks, grown, KAFKA)
    cluster.patch("kafkatopic", changelog, grown, KAFKA)
    deleted(cluster, web)
    cluster.apply(pipeline(namespace=web, kafka=sized(13)))
    cluster.until_ready("shop", web)
    assert [len(cluster.nodes.kafka.topics[topic].replicas) for topic in (clicks, changelog)] == [13, 13]


def test_replicas_that_a_topic_has_not_got_are_told_and_never_demanded_of_a_write(cluster, web):
    cluster.apply(pipeline(namespace=web, kafka=sized(12, replicas=1)))
    cluster.until_ready("shop", web)
    clicks = f"{web}.shop.raw-clicks"
    brokers = cluster.nodes.kafka

    cluster.apply(pipeline(namespace=web, kafka=sized(12, replicas=3, retention="1d")))
    told = cluster.until_reason("TopicNotReady", "shop", web, "TopicsReady")
    assert "Replication factor change not supported" in told["message"]
    assert "move the replicas by kafka-reassign-partitions, or set replicas back" in told["message"]
    cluster.until("the rest is applied", lambda: brokers.topics[clicks].config["retention.ms"] == "86400000")
    assert "min.insync.replicas" not in brokers.topics[clicks].config

    for topic in (clicks, f"{web}.shop.enricher-sessions-changelog"):
        brokers.topics[topic] = replace(brokers.topics[topic], replicas=(3,) * 12)
    cluster.until_ready("shop", web)
    cluster.until("with the replicas", lambda: brokers.topics[clicks].config.get("min.insync.replicas") == "2")

    brokers.trouble = "org.apache.kafka.common.errors.TimeoutException: no broker answers"
    try:
        told = cluster.until_reason("TopicNotReady", "shop", web, "TopicsReady")
        assert "TimeoutException: no broker answers" in told["message"]
        assert spec_of(cluster, clicks)["config"]["min.insync.replicas"] == "2", "an outage changes nothing"
    finally:
        brokers.trouble = None
    cluster.until_ready("shop", web)


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [("strimzi.io/managed=false", "Unmanaged"), ("strimzi.io/pause-reconciliation=true", "ReconciliationPaused")],
)
def test_a_topic_that_strimzi_leaves_alone_is_told_as_such_and_holds_nothing_back(cluster, web, annotation, reason):
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    deleted(cluster, web)
    cluster.kubectl("annotate", "kafkatopic", f"{web}.shop.raw-clicks", "-n", KAFKA, annotation)
    cluster.apply(pipeline(namespace=web))
    cluster.until_ready("shop", web)
    told = cluster.condition("shop", web, "TopicsReady")
    assert (told["status"], told["reason"]) == ("True", reason)
    assert f"topic {web}.shop.raw-clicks: " in told["message"]
    assert annotation in told["message"]


def running_drop(cluster: Surroundings, web: str) -> None:
    """A pipeline is being deleted with its data, and a Job removes its schema."""
    cluster.apply(pipeline(namespace=web, deletionPolicy="Delete"))
    cluster.until_ready("shop", web)
    cluster.nodes.running.add("shop-drop-postgres")
    cluster.delete("csp", "shop", web)
    drop = f"{OWN},app.kubernetes.io/component=drop"

    def runs() -> bool:
        return any(pod["status"].get("phase") == "Running" for pod in cluster.all("pod", drop, namespace=web))

    cluster.until("data are being removed", runs)
    assert cluster.all("sa,cm,netpol", OWN, namespace=web)


def nothing_left(cluster: Surroundings, web: str) -> bool:
    return not any(
        each["metadata"].get("deletionTimestamp") is None for each in cluster.all(MADE_TO_DELETE, OWN, namespace=web)
    )


@pytest.mark.parametrize("how", ["Retain", "by hand"])
def test_a_deletion_that_is_taken_back_stops_the_jobs_first_and_leaves_nothing_behind(cluster, web, how):
    running_drop(cluster, web)
    try:
        if how == "Retain":
            cluster.patch("csp", "shop", {"spec": {"deletionPolicy": "Retain"}}, web)
        else:
            assert cluster.get("csp", "shop", web)["metadata"]["finalizers"] == [FINALIZER]
            cluster.patch("csp", "shop", {"metadata": {"finalizers": None}}, web)
        cluster.until("the pipeline is gone", lambda: gone(cluster, web))
        if how == "Retain":
            assert cluster.all("job", OWN, namespace=web) == [], "no Job outlives the pipeline"
        cluster.until("nothing is left", lambda: nothing_left(cluster, web))
    finally:
        cluster.nodes.running.clear()
    assert len(cluster.topics(web)) == 5, "they had not been touched yet"
    if how == "by hand":
        assert "was removed by hand" in cluster.log()


def test_topics_that_strimzi_cannot_delete_say_why_and_are_saved_by_retain(cluster, web):
    cluster.apply(pipeline(namespace=web, deletionPolicy="Delete"))
    cluster.until_ready("shop", web)
    cluster.nodes.kafka.keep_deleted = True
    try:
        cluster.delete("csp", "shop", web)

        def told() -> bool:
            found = cluster.condition("shop", web)
            return found.get("reason") == "DeletingTopics" and "TopicDeletionDisabledException" in found["message"]

        cluster.until("Kafka's words are shown", told)
        assert f"remove 5 KafkaTopics in {KAFKA}" in cluster.condition("shop", web)["message"]
        cluster.patch("csp", "shop", {"spec": {"deletionPolicy": "Retain"}}, web)
        cluster.until("the pipeline is gone", lambda: gone(cluster, web))
        cluster.until("and the resources", lambda: not cluster.topics(web))
    finally:
        cluster.nodes.kafka.keep_deleted = False
    assert f"{web}.shop.raw-clicks" in cluster.nodes.kafka.topics

    told = f"topic {web}.shop.raw-clicks has 12 partitions, and the pipeline says 24"
    cluster.nodes.broken["shop-setup-topics"] = told
    try:
        cluster.apply(pipeline(namespace=web, kafka=sized(24)))
        condition = cluster.until_reason("SetupFailed", "shop", web, "TopicsReady")
        assert told in condition["message"]
        assert cluster.topics(web) == [], "what no resource knows of is not grown either"
        assert cluster.all("deployment", web) == []
    finally:
        cluster.nodes.broken.clear()


def test_delete_takes_groups_unmanaged_topics_and_those_of_a_former_namespace(cluster, control_plane, web):
    former = f"{web}-former"
    control_plane.namespace(former)
    cluster.apply(pipeline(namespace=web, deletionPolicy="Delete", kafka=kafka(former)))
    cluster.until_ready("shop", web)
    cluster.apply(pipeline(namespace=web, deletionPolicy="Delete"))
    cluster.until("they are in both", lambda: len(cluster.topics(web)) == len(cluster.topics(web, former)) == 5)
    begin = len(cluster.writes())
    cluster.delete("csp", "shop", web)
    cluster.until("the pipeline is gone", lambda: gone(cluster, web), 60)
    assert cluster.topics(web) == cluster.topics(web, former) == []
    done = cluster.writes(begin)
    (job,) = {each for each in done if each.startswith("patch jobs/shop-drop-topics-")}
    last = max(number for number, each in enumerate(done) if each.startswith("delete kafkatopics/"))
    assert done.index(job) > last, "what Strimzi manages is Strimzi's to delete"


def test_a_new_pipeline_must_say_where_strimzi_is_and_one_of_before_goes_on(cluster, web):
    unsaid = kafka()
    del unsaid["strimzi"]["namespace"]
    old = pipeline(namespace=web, kafka=unsaid)
    with pytest.raises(StartError, match=r"name the namespace that Strimzi's Topic Operator watches"):
        cluster.apply(old)

    crd = json.loads(cluster.kubectl("get", "crd", "clickstreampipelines.clickstream.dev", "-o", "json"))
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/kafka/properties/strimzi"
    rules = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["kafka"][
        "properties"
    ]["strimzi"]["x-kubernetes-validations"]

    def change(operation: dict) -> None:
        patch = json.dumps([operation | {"path": f"{path}/x-kubernetes-validations"}])
        cluster.kubectl("patch", "crd", "clickstreampipelines.clickstream.dev", "--type=json", "-p", patch)

    def admitted() -> bool:
        try:
            cluster.apply(old)
        except StartError:
            return False
        return True

    change({"op": "remove"})
    try:
        cluster.until("the release of before takes it", admitted)
    finally:
        change({"op": "add", "value": rules})
    cluster.until_ready("shop", web)
    assert len(cluster.topics(web, web)) == 5
    assert cluster.topics(web) == []

    def refused() -> bool:
        try:
            cluster.apply(pipeline("other", web, kafka=unsaid))
        except StartError:
            return True
        return False

    cluster.until("the rule is back", refused)
    cluster.apply(pipeline(namespace=web, kafka=unsaid, suspend=True))
    cluster.until_reason("Suspended", "shop", web)
    cluster.delete("csp", "other", web, "--ignore-not-found")


def test_topics_in_the_pipelines_own_namespace_work_and_are_warned_of(cluster, web):
    cluster.apply(pipeline(namespace=web, kafka=kafka(web)))
    cluster.until_ready("shop", web)
    told = cluster.condition("shop", web, "TopicsReady")
    assert told["reason"] == "DeletedWithNamespace"
    assert f"deleting the namespace {web} deletes the topics with their records" in told["message"]
    cluster.until("an Event warns", lambda: "DeletedWithNamespace" in cluster.kubectl("get", "events", "-n", web))
    assert cluster.condition("shop", web)["reason"] == "Ready"
    deleted(cluster, web)
    assert len(cluster.topics(web, web)) == 5, "Retain: they outlive the pipeline"
    cluster.apply(pipeline(namespace=web, kafka=kafka(web), deletionPolicy="Delete"))
    cluster.until_ready("shop", web)
    assert cluster.condition("shop", web, "TopicsReady")["reason"] == "Ready"
    deleted(cluster, web)
    assert cluster.topics(web, web) == []


@pytest.mark.parametrize("away", [False, True], ids=["with Strimzi", "without Strimzi"])
def test_the_own_namespace_takes_its_topics_along_as_the_docs_say(control_plane, web, away):
    control_plane.start_operator()
    control_plane.apply(pipeline(namespace=web, kafka=kafka(web)))
    control_plane.until_ready("shop", web)
    assert control_plane.stop_operator() == 0
    clicks = f"{web}.shop.raw-clicks"
    control_plane.nodes.topics_work = not away
    try:
        control_plane.kubectl("delete", "namespace", web, "--wait=false")
        if away:
            control_plane.until(
                "the namespace waits for the finalizers", lambda: waits_for_finalizers(control_plane, web)
            )
            for topic in control_plane.topics(web, web):
                patch = {"metadata": {"finalizers": None}}
                control_plane.patch("kafkatopic", topic["metadata"]["name"], patch, web)
        control_plane.until("the namespace is gone", lambda: control_plane.get("namespace", web) is None, 60)
    finally:
        control_plane.nodes.topics_work = True
    assert (clicks in control_plane.nodes.kafka.topics) is away


def waits_for_finalizers(cluster: Surroundings, web: str) -> bool:
    conditions = (cluster.get("namespace", web) or {}).get("status", {}).get("conditions", [])
    return any("strimzi.io/topic-operator" in each.get("message", "") for each in conditions)
