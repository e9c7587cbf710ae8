"""KafkaTopics that are there: what of them may be changed, and how they stand. Pure.

A KafkaTopic outlives its pipeline, and people edit it, so it may disagree with the pipeline that is applied now.
Strimzi would add partitions without a question, and apply `min.insync.replicas` to a topic that lacks the replicas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from clickstream_operator import naming
from clickstream_operator.desired.child_object import Blocked, ChildKey, ChildObject, Manifest, is_going
from clickstream_operator.desired.kafka_topics import KIND
from clickstream_operator.health import job_state
from clickstream_operator.status import TOPICS, Condition

_MIN_IN_SYNC: Final = "min.insync.replicas"
_PARTITIONS: Final = "PartitionsDiffer"
_WHY: Final = "nothing is changed, since users' clicks would move to other partitions and their sessions be split"
_WAY_OUT: Final = (
    "create the pipeline with the topic's number, or under another name (operations.md, Changing a pipeline)"
)
_COMPARING: Final = Blocked(
    "ComparingTopics", "waiting for the Job that compares what is in Kafka with the pipeline", severe=False
)
_ANNOTATIONS: Final = {
    "Unmanaged": "Strimzi does not manage it (strimzi.io/managed=false)",
    "ReconciliationPaused": "Strimzi has paused it (strimzi.io/pause-reconciliation=true)",
}
"""Conditions that stand in the place of `Ready`, and what they mean."""


def reconcile_with_live(
    desired: Iterable[ChildObject], live: Mapping[ChildKey, Manifest], together: frozenset[str]
) -> tuple[ChildObject, ...]:
    """The children, where a KafkaTopic must not be applied as it stands: blocked, or with fewer settings.

    A topic may be there without its KafkaTopic, so that one is made only after a Job has looked. `together`: names of
    topics that must have the same number of partitions; one is not applied without the others.
    """
    children = tuple(desired)
    wrong = {child.key.name: told for child in children if (told := _other_partitions(child, live.get(child.key)))}
    compared = all(_is_there(each, live.get(each.key)) for each in children if _is_comparison(each))
    return tuple(
        child
        if child.key.kind != KIND or child.blocked is not None
        else _adjusted(child, live.get(child.key), wrong, together, compared=compared)
        for child in children
    )


def _adjusted(
    child: ChildObject,
    there: Manifest | None,
    wrong: Mapping[str, str],
    together: frozenset[str],
    *,
    compared: bool,
) -> ChildObject:
    name = child.key.name
    concerned = [told for other, told in wrong.items() if other == name or {other, name} <= together]
    if concerned:
        return replace(child, blocked=Blocked(_PARTITIONS, f"{', '.join(concerned)}: {_WHY}; {_WAY_OUT}"))
    if there is None:
        return child if compared else replace(child, blocked=_COMPARING)
    return child if _has_replicas(child, there) else _without_more_in_sync(child, there)


def _is_comparison(child: ChildObject) -> bool:
    return child.key.kind == "Job" and child.component == naming.TOPICS


def _other_partitions(child: ChildObject, there: Manifest | None) -> str | None:
    if child.key.kind != KIND or there is None:
        return None
    wanted, found = child.manifest["spec"]["partitions"], _spec(there).get("partitions")
    if found in {None, wanted}:
        return None
    return f"topic {child.key.name} has {found} partitions, and the pipeline says {wanted}"


def _has_replicas(child: ChildObject, there: Manifest) -> bool:
    """Whether Strimzi has confirmed that each partition has as many replicas as are wanted."""
    confirmed = topic_health_of(child.key.name, there).reason == "Ready" and not _status(there).get("replicasChange")
    return confirmed and _spec(there).get("replicas") == child.manifest["spec"].get("replicas")


def _without_more_in_sync(child: ChildObject, there: Manifest) -> ChildObject:
    """Until then `min.insync.replicas` stays what it is: with more than there are replicas, brokers refuse clicks."""
    spec = child.manifest["spec"]
    if _MIN_IN_SYNC not in spec["config"]:
        return child
    config = {name: value for name, value in spec["config"].items() if name != _MIN_IN_SYNC}
    found = (_spec(there).get("config") or {}).get(_MIN_IN_SYNC)
    if found is not None:
        config[_MIN_IN_SYNC] = found
    return replace(child, manifest=child.manifest | {"spec": spec | {"config": config}})


def topic_health(topics: Iterable[tuple[str, Manifest | None]]) -> tuple[Condition, str]:
    """The condition over all KafkaTopics by name, and how many are ready, `4/5`."""
    found = [topic_health_of(name, topic) for name, topic in topics]
    done = sum(each.status for each in found)
    order = [each for each in found if each.severe] + [each for each in found if not each.status]
    order += [each for each in found if each.reason != "Ready"]
    all_ready = Condition(TOPICS, True, "Ready", f"all {len(found)} topics are ready")
    return (order[0] if order else all_ready), f"{done}/{len(found)}"


def topics_ready(desired: Iterable[ChildObject], live: Mapping[ChildKey, Manifest]) -> bool:
    """Whether processes may start: no topic is held back or missing, by its KafkaTopic or the Job that makes it."""
    return all(
        child.blocked is None and _is_there(child, live.get(child.key))
        for child in desired
        if child.component == naming.TOPICS
    )


def _is_there(child: ChildObject, live: Manifest | None) -> bool:
    if child.key.kind == KIND:
        return topic_health_of(child.key.name, live).status
    return live is not None and job_state(live) == "Complete"


def topic_health_of(name: str, topic: Manifest | None) -> Condition:
    """How one KafkaTopic stands; True with another reason than `Ready` where Strimzi leaves the topic alone."""
    if topic is None:
        return Condition(TOPICS, False, "Creating", f"topic {name} is being created")
    where = topic["metadata"]["namespace"]
    if is_going(topic):
        message = (
            f"topic {name}: its KafkaTopic is being deleted, and the topic with it; both are made anew. As long as it "
            f"is there, kubectl -n {where} annotate kafkatopic {name} strimzi.io/managed=false keeps the records"
        )
        return Condition(TOPICS, False, "TopicDeleting", message, severe=True)
    conditions = _status(topic).get("conditions", []) if _is_observed(topic) else []
    told = next((each for each in conditions if each["type"] in {"Ready", *_ANNOTATIONS}), None)
    if told is None:
        message = f"topic {name}: waiting for Strimzi's Topic Operator; does it watch the namespace {where}?"
        return Condition(TOPICS, False, "WaitingForTopicOperator", message)
    if told["status"] != "True":
        return _not_ready(name, told)
    if told["type"] == "Ready":
        return Condition(TOPICS, True, "Ready", f"topic {name} is ready")
    message = f"topic {name}: {_ANNOTATIONS[told['type']]}: it is neither made nor changed, and counts as ready"
    return Condition(TOPICS, True, told["type"], message)


def deletion_trouble(topic: Manifest) -> str | None:
    """Why a KafkaTopic that is being deleted does not go, as Strimzi says."""
    for each in _status(topic).get("conditions", []):
        if each["type"] == "Ready" and each["status"] == "False" and _is_observed(topic):
            return f"topic {topic['metadata']['name']}: {_words(each)}"
    return None


def _not_ready(name: str, condition: Manifest) -> Condition:
    words = _words(condition)
    if "ecreasing partitions" in words:  # someone has added partitions in Kafka
        message = f"topic {name} has more partitions than the pipeline says ({words}): no partition is ever removed; "
        return Condition(TOPICS, False, _PARTITIONS, message + _WAY_OUT, severe=True)
    if "eplication factor change" in words:
        words += "; move the replicas by kafka-reassign-partitions, or set replicas back"
    return Condition(TOPICS, False, "TopicNotReady", f"topic {name}: {words}", severe=True)


def _words(condition: Manifest) -> str:
    return str(condition.get("message") or condition.get("reason", "")).removeprefix("org.apache.kafka.common.errors.")


def _is_observed(topic: Manifest) -> bool:
    return int(_status(topic).get("observedGeneration") or 0) >= int(topic["metadata"].get("generation") or 0)


def _status(topic: Manifest) -> Manifest:
    found: Manifest = topic.get("status") or {}
    return found


def _spec(topic: Manifest) -> Manifest:
    found: Manifest = topic.get("spec") or {}
    return found
