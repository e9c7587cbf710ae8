"""The operator's small pure parts: defaults, drift, conditions, what pods and Jobs say, data sources, the queue."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from clickstream_operator.defaults import spec_schema, with_defaults
from clickstream_operator.desired.datasources import postgres_access
from clickstream_operator.differences import differs
from clickstream_operator.facts import hash_of
from clickstream_operator.health import deployment_health, job_health, pod_trouble, topic_health
from clickstream_operator.spec import InvalidSpecError, parse_spec
from clickstream_operator.status import Condition, news, next_status, ready, worst
from clickstream_operator.work_queue import WorkQueue

NOW = "2026-03-01T12:00:00Z"


def test_defaults_reach_into_lists_and_into_objects_that_are_defaults_themselves():
    spec = with_defaults(
        spec_schema(), {"sources": [{"name": "web", "writeKeySecretRef": {"name": "keys"}}], "kafka": {}}
    )
    assert spec["sources"][0]["writeKeySecretRef"] == {"name": "keys", "key": "write-key"}
    assert spec["kafka"]["topics"]["rawClicks"] == {"partitions": 12, "retention": "7d"}
    assert spec["enricher"]["autoscaling"]["scaleDownWindow"] == "10m"
    assert "elasticsearch" not in spec.get("sinks", {})


def test_a_spec_of_another_shape_names_the_field():
    with pytest.raises(InvalidSpecError, match=r"spec\.kafka: .*bootstrapServers"):
        parse_spec({"kafka": {}, "sources": [], "sinks": {}})


@pytest.mark.parametrize(
    ("wanted", "live", "where"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, None),
        ({"a": 1}, {"a": 2}, ".a"),
        ({"a": 1}, {}, ".a"),
        ({"a": {}, "b": [], "c": False, "d": ""}, {}, None),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, ".a.b.c"),
        ({"a": [1, 2]}, {"a": [1, 2]}, None),
        ({"a": [1, 2]}, {"a": [2, 1]}, ".a[0]"),
        ({"a": [1]}, {"a": [1, 2]}, ".a"),
        ({"a": [{"name": "x", "v": 1}]}, {"a": [{"name": "sidecar"}, {"name": "x", "v": 1, "w": 2}]}, None),
        ({"a": [{"name": "x", "v": 1}]}, {"a": [{"name": "x", "v": 2}]}, ".a[x].v"),
        ({"a": [{"name": "x"}]}, {"a": []}, ".a[x]"),
        ({"a": [{"port": 1}]}, {"a": [{"port": 2}]}, ".a[0].port"),
        ({"a": {"b": 1}}, {"a": "text"}, ".a"),
        ({"a": [1]}, {"a": {"0": 1}}, ".a"),
        ({"requests": {"cpu": "1000m", "memory": "1024Mi"}}, {"requests": {"cpu": "1", "memory": "1Gi"}}, None),
        ({"limits": {"memory": "1.5Gi", "cpu": "0.1"}}, {"limits": {"memory": "1536Mi", "cpu": "100m"}}, None),
        ({"limits": {"memory": "1e3"}}, {"limits": {"memory": "1k"}}, None),
        ({"limits": {"memory": "1G"}}, {"limits": {"memory": "1Gi"}}, ".limits.memory"),
        ({"limits": {"memory": "lots"}}, {"limits": {"memory": "1Gi"}}, ".limits.memory"),
        ({"other": {"cpu": "1000m"}}, {"other": {"cpu": "1"}}, ".other.cpu"),
    ],
)
def test_drift_is_a_field_of_ours_that_is_not_as_it_was_sent(wanted, live, where):
    assert differs(wanted, live) == where


def condition(kind: str, status: bool | None = True, reason: str = "Fine", *, severe: bool = False) -> Condition:
    return Condition(kind, status, reason, f"{kind} says {reason}", severe)


def test_ready_tells_of_the_severest_and_names_the_others():
    told = ready(
        [
            condition("TopicsReady"),
            condition("StoresReady", False, "SettingUp"),
            condition("SinksReady", False, "CrashLoopBackOff", severe=True),
        ]
    )
    assert (told.status, told.reason, told.severe) == (False, "CrashLoopBackOff", True)
    assert told.message == "Sinks: SinksReady says CrashLoopBackOff (also not ready: StoresReady)"
    assert ready([condition("TopicsReady")]).status is True


def test_of_several_findings_the_worst_counts():
    fine, slow, broken = condition("a"), condition("b", False, "Slow"), condition("c", False, "Broken", severe=True)
    assert worst("X", [fine, slow, broken]).reason == "Broken"
    assert worst("X", [fine, slow]) == Condition("X", False, "Slow", "b says Slow")
    assert worst("X", [fine]).status is True


def test_a_transition_time_moves_only_with_the_status():
    first = next_status({}, [condition("Ready", False, "Starting")], 1, "2026-03-01T10:00:00Z", {})
    second = next_status(first, [condition("Ready", False, "RollingOut")], 2, "2026-03-01T11:00:00Z", {})
    third = next_status(second, [condition("Ready")], 2, NOW, {"topics": "5/5"})
    times = [status["conditions"][0]["lastTransitionTime"] for status in (first, second, third)]
    assert times == ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z", NOW]
    assert third["observedGeneration"] == 2
    assert third["topics"] == "5/5"
    assert [each.reason for each in news(second, [condition("Ready")])] == ["Fine"]
    assert news(third, [condition("Ready")]) == []


def deployment(replicas: int = 2, generation: int = 4, **status: object) -> dict:
    return {
        "metadata": {"name": "shop-enricher", "generation": generation},
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": 4, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2} | status,
    }


CRASHING = {
    "metadata": {"name": "p"},
    "status": {
        "containerStatuses": [
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                "lastState": {"terminated": {"exitCode": 2, "message": "one\ntwo\nthree\nfour\n"}},
            }
        ]
    },
}
UNSCHEDULABLE = {
    "metadata": {"name": "p"},
    "status": {
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]
    },
}


@pytest.mark.parametrize(
    ("live", "pods", "status", "reason"),
    [
        (None, [], False, "Creating"),
        (deployment(), [], True, "Available"),
        (deployment(3), [], True, "Scaling"),
        (deployment(3), [UNSCHEDULABLE], True, "Unschedulable"),
        (deployment(availableReplicas=1), [], True, "Scaling"),
        (deployment(availableReplicas=0), [], False, "Starting"),
        (deployment(generation=5), [], False, "RollingOut"),
        (deployment(updatedReplicas=1, replicas=3), [], False, "RollingOut"),
        (deployment(updatedReplicas=1, replicas=3), [CRASHING], False, "CrashLoopBackOff"),
        (deployment(updatedReplicas=0, availableReplicas=0, replicas=0, conditions=[
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "forbidden: quota"}]), [], False, "FailedCreate"),
    ],
)  # fmt: skip
def test_a_deployment_is_ready_when_what_runs_is_what_is_wanted(live, pods, status, reason):
    told = deployment_health("EnricherReady", live, pods, suspended=False)
    assert (told.status, told.reason) == (status, reason)


def test_a_crash_is_told_with_the_last_lines():
    assert pod_trouble([CRASHING]) == ("CrashLoopBackOff", "pod p: exit status 2: two | three | four")


def test_a_job_that_goes_on_trying_tells_why():
    running = {"metadata": {"name": "shop-setup-postgres-x"}, "status": {}}
    failed = {"metadata": {"name": "p"}, "status": {"containerStatuses": [
        {"state": {"terminated": {"exitCode": 3, "message": "gave up after 60 s: connection refused", "finishedAt": NOW}}}]}}  # fmt: skip
    told = job_health("StoresReady", "postgres", running, [failed])
    assert (told.reason, told.severe) == ("SetupRetrying", True)
    assert "connection refused" in told.message
    assert job_health("StoresReady", "postgres", running, []).reason == "SettingUp"
    done = running | {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    assert job_health("StoresReady", "postgres", done, [failed]).status is True


def topic(ready_: str | None, generation: int = 1, observed: int = 1) -> dict:
    conditions = (
        []
        if ready_ is None
        else [{"type": "Ready", "status": ready_, "message": "replication factor: 3 larger than brokers: 1"}]
    )
    return {
        "metadata": {"generation": generation, "namespace": "kafka"},
        "status": {"observedGeneration": observed, "conditions": conditions},
    }


def test_topics_count_when_strimzi_has_seen_the_newest_generation():
    told, count = topic_health([("a", topic("True")), ("b", topic("True", 2, 1)), ("c", None)])
    assert (told.status, count) == (False, "1/3")
    told, count = topic_health([("a", topic(None)), ("b", topic("False"))])
    assert told.reason == "TopicNotReady"
    assert "larger than brokers" in told.message
    assert topic_health([("a", topic("True"))])[0].status is True


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://reader:let%20me%20in@pg.example:6432/clicks?sslmode=verify-full",
        "host=pg.example port=6432 user=reader password='let me in' dbname=clicks sslmode=verify-full",
    ],
)
def test_grafanas_fields_come_out_of_either_form_of_connection_string(dsn):
    access = postgres_access(dsn)
    assert access["url"] == "pg.example:6432"
    assert (access["user"], access["database"]) == ("reader", "clicks")
    assert access["secureJsonData"] == {"password": "let me in"}
    assert access["jsonData"]["sslmode"] == "verify-full"


def test_a_secrets_hash_differs_with_secret_and_value():
    assert len({hash_of("uid-1", b"a"), hash_of("uid-2", b"a"), hash_of("uid-1", b"b")}) == 3


def test_the_queue_serves_a_key_once_at_a_time_and_again_when_it_is_asked_to():
    running: set[str] = set()
    served: list[str] = []
    overlaps: list[str] = []
    wanted = {"often": 5, "bad": 2, "once": 2}
    done = asyncio.Event()

    async def work(key: tuple[str, str]) -> float | None:
        name = key[1]
        if name in running:
            overlaps.append(name)
        running.add(name)
        await asyncio.sleep(0.01)
        running.discard(name)
        served.append(name)
        if all(served.count(each) == times for each, times in wanted.items()):
            done.set()
        if served.count("bad") == 1 and name == "bad":
            raise RuntimeError
        return 0.02 if name == "often" and served.count("often") < 5 else None

    async def story() -> None:
        queue = WorkQueue(work, workers=3)
        task = asyncio.create_task(queue.run())
        for name in ("once", "often", "bad", "once"):
            await queue.add(("ns", name))
        await asyncio.sleep(0.005)
        await queue.add(("ns", "once"))  # while it is at work
        async with asyncio.timeout(10):
            await done.wait()
        task.cancel()

    began = datetime.now(UTC)
    asyncio.run(story())
    assert overlaps == []
    assert (datetime.now(UTC) - began).total_seconds() >= 1, "a failure is tried again after a pause"
