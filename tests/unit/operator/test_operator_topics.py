"""What is applied of a KafkaTopic that is there already, and how KafkaTopics are told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream_operator.desired.child_object import ChildObject
from clickstream_operator.topics import (
    deletion_trouble,
    reconcile_with_live,
    topic_health,
    topic_health_of,
    topics_ready,
)

CLICKS, CHANGELOG, SESSIONS = "web.shop.raw-clicks", "web.shop.enricher-sessions-changelog", "web.shop.sessions"
TOGETHER = frozenset({CLICKS, CHANGELOG})
Json = dict[str, Any]


def wanted(name: str, partitions: int = 12, replicas: int | None = None) -> ChildObject:
    config = {"retention.ms": "1"} | ({"min.insync.replicas": "2"} if (replicas or 0) >= 3 else {})
    spec: Json = {"partitions": partitions, "config": config} | ({} if replicas is None else {"replicas": replicas})
    return ChildObject({"kind": "KafkaTopic", "metadata": {"name": name, "namespace": "kafka"}, "spec": spec}, "topics")


def there(name: str, condition: Json | None = None, **spec: Any) -> Json:
    ready = {"type": "Ready", "status": "True"} if condition is None else condition
    return {
        "kind": "KafkaTopic",
        "metadata": {"name": name, "namespace": "kafka", "generation": 2},
        "spec": {"partitions": 12} | spec,
        "status": {"observedGeneration": 2, "conditions": [ready]},
    }


def refused(message: str) -> Json:
    return {"type": "Ready", "status": "False", "reason": "NotSupported", "message": message}


def comparison(state: str | None) -> tuple[ChildObject, Json]:
    job = ChildObject({"kind": "Job", "metadata": {"name": "compare", "namespace": "web"}}, "topics")
    return job, {"status": {"conditions": [] if state is None else [{"type": state, "status": "True"}]}}


def applied(*pairs: tuple[ChildObject, Json | None]) -> tuple[ChildObject, ...]:
    live = {child.key: topic for child, topic in pairs if topic is not None}
    return reconcile_with_live([child for child, _ in pairs], live, TOGETHER)


counts = st.none() | st.integers(1, 4)


@given(counts, counts, counts, st.integers(1, 4))
def test_no_topic_that_is_there_is_ever_asked_for_another_number_of_partitions(clicks, changelog, sessions, says):
    found = {CLICKS: clicks, CHANGELOG: changelog, SESSIONS: sessions}
    pairs = [(wanted(name, says), None if n is None else there(name, partitions=n)) for name, n in found.items()]
    result = {child.key.name: child for child in applied(*pairs)}
    for name, child in result.items():
        group = TOGETHER if name in TOGETHER else {name}
        held = any(found[other] not in {None, says} for other in group)
        assert (child.blocked is not None) is held
    differing = any(number not in {None, says} for number in found.values())
    if differing:
        live = {child.key: topic for child, topic in pairs if topic is not None}
        assert not topics_ready(result.values(), live), "no process starts on them"


@pytest.mark.parametrize("state", [None, "Failed", "Complete"])
def test_a_resource_is_made_only_after_a_job_has_looked_whether_kafka_has_the_topic(state):
    _, new, known = applied(comparison(state), (wanted(SESSIONS), None), (wanted(CLICKS), there(CLICKS)))
    assert (new.blocked is None) is (state == "Complete")
    assert known.blocked is None


@pytest.mark.parametrize("replicas", [None, 1, 3])
@pytest.mark.parametrize(
    "condition",
    [
        None,
        refused("Replication factor change not supported, but required for partitions [0]"),
        {"type": "ReconciliationPaused", "status": "True"},
        {"type": "Unmanaged", "status": "True"},
    ],
)
def test_two_in_sync_replicas_are_demanded_once_strimzi_has_confirmed_three(replicas, condition):
    spec = {} if replicas is None else {"replicas": replicas}
    (child,) = applied((wanted(SESSIONS, replicas=3), there(SESSIONS, condition, **spec)))
    confirmed = condition is None and replicas == 3
    assert child.manifest["spec"]["config"].get("min.insync.replicas") == ("2" if confirmed else None)
    assert child.manifest["spec"]["replicas"] == 3


def test_what_is_demanded_already_stays_while_strimzi_or_kafka_is_away():
    config = {"min.insync.replicas": "2"}
    live = there(SESSIONS, refused("no broker answers"), replicas=3, config=config)
    (child,) = applied((wanted(SESSIONS, replicas=3), live))
    assert child.manifest["spec"]["config"]["min.insync.replicas"] == "2"
    (child,) = applied((wanted(SESSIONS, replicas=1), live))
    assert "min.insync.replicas" not in child.manifest["spec"]["config"]


def test_a_move_of_replicas_that_is_under_way_is_not_confirmed():
    live = there(SESSIONS, replicas=3)
    live["status"]["replicasChange"] = {"state": "ongoing", "targetReplicas": 3}
    (child,) = applied((wanted(SESSIONS, replicas=3), live))
    assert "min.insync.replicas" not in child.manifest["spec"]["config"]


def test_a_topic_that_strimzi_leaves_alone_is_told_after_one_that_is_not_ready():
    paused = there("a", {"type": "ReconciliationPaused", "status": "True"})
    told, count = topic_health([("a", paused), ("b", there("b"))])
    assert (told.status, told.reason, count) == (True, "ReconciliationPaused", "2/2")
    told, count = topic_health([("a", paused), ("b", there("b", refused("no")))])
    assert (told.status, told.reason, count) == (False, "TopicNotReady", "1/2")


def test_a_topic_that_is_being_deleted_is_told_with_the_way_to_save_it():
    live = there("a")
    live["metadata"]["deletionTimestamp"] = "now"
    told = topic_health_of("a", live)
    assert (told.status, told.reason, told.severe) == (False, "TopicDeleting", True)
    assert "kubectl -n kafka annotate kafkatopic a strimzi.io/managed=false" in told.message


def test_only_what_strimzi_says_of_the_deletion_itself_is_told_of_it():
    live = there("a", refused("Topic deletion is disabled."))
    assert deletion_trouble(live) == "topic a: Topic deletion is disabled."
    live["metadata"]["generation"] = 3
    assert deletion_trouble(live) is None
