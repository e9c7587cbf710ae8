"""The operator's small pure parts: defaults, drift, conditions, what pods and Jobs say, data sources, the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import kopf
import msgspec
import pytest

from clickstream.contracts.pipeline import Pipeline, parse_pipeline
from clickstream_operator.defaults import spec_schema, with_defaults
from clickstream_operator.desired.datasources import postgres_access
from clickstream_operator.diff import differs
from clickstream_operator.document import build_document, parse_document
from clickstream_operator.dsn import SSL_MODES, Address
from clickstream_operator.handlers import register
from clickstream_operator.health import deployment_health, job_health, pod_trouble
from clickstream_operator.inputs import hash_of
from clickstream_operator.spec import InvalidSpecError, PipelineSpec, parse_spec
from clickstream_operator.status import Condition, Report, next_status, ready, transitions, worst
from clickstream_operator.topics import topic_health
from clickstream_operator.work_queue import WorkQueue
from support.crd_schema import spec_fields

NOW = "2026-03-01T12:00:00Z"


def test_defaults_reach_into_lists_and_into_objects_that_are_defaults_themselves():
    spec = with_defaults(
        spec_schema(), {"sources": [{"name": "web", "writeKeySecretRef": {"name": "keys"}}], "kafka": {}}
    )
    assert spec["sources"][0]["writeKeySecretRef"] == {"name": "keys", "key": "write-key"}
    assert spec["kafka"]["topics"]["rawClicks"] == {"partitions": 12, "retention": "7d"}
    assert spec["enricher"]["autoscaling"]["scaleDownWindow"] == "10m"
    assert "elasticsearch" not in spec.get("sinks", {})


KAFKA = {"bootstrapServers": "kafka:9092"}
SOURCE = {"name": "web", "writeKeySecretRef": {"name": "keys"}, "allowedOrigins": []}


def document_of(raw):
    document = build_document("team", "shop", parse_spec(raw))
    parse_document(document)
    return document


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"sources": []}, r"^spec: .*kafka"),
        ({"kafka": {}, "sources": [SOURCE], "sinks": {}}, r"^kafka: .*bootstrapServers"),
        ({"kafka": [], "sources": [SOURCE], "sinks": {}}, r"^spec\.kafka: Expected `object`"),
        ({"kafka": KAFKA, "sources": [{"name": "web"}], "sinks": {}}, r"^spec\.sources\[0\]: .*writeKeySecretRef"),
        ({"kafka": KAFKA, "sources": [], "sinks": {}, "enricher": {"joins": 1}}, r"^enricher\.joins: Expected `array`"),
        ({"kafka": KAFKA | {"authentication": {"type": "plain"}}, "sources": [], "sinks": {}}, "username: type plain"),
    ],
)
def test_a_spec_of_another_shape_names_the_field(raw, message):
    with pytest.raises(InvalidSpecError, match=message):
        document_of(raw)


def test_what_the_resource_has_no_field_for_does_not_reach_the_document():
    """Above all no secret: the document lies in a ConfigMap."""
    spec = {"kafka": KAFKA, "sources": [SOURCE], "sinks": {}}
    stray = {
        "kafka": KAFKA | {"clientConfigFile": "/etc/passwd"},
        "sources": [SOURCE | {"writeKey": "secret"}],
        "sinks": {},
        "name": "other",
    }
    assert document_of(stray) == document_of(spec)


def test_a_document_without_operator_has_the_resources_defaults():
    """Processes fill in what an older operator's document lacks: with the same that this one would write."""
    spec = {"kafka": KAFKA, "sources": [], "sinks": {"elasticsearch": {"url": "http://es:9200"}}}
    least = {"namespace": "team", "name": "shop"} | spec
    written, filled_in = (parse_pipeline(msgspec.json.encode(each)) for each in (document_of(spec), least))
    assert _all_of(written) == _all_of(filled_in)


def _all_of(part: object) -> object:
    """With defaults, as mappings: so that a failure names the field."""
    if isinstance(part, msgspec.Struct):
        return {name: _all_of(getattr(part, name)) for name in part.__struct_fields__}
    return [_all_of(each) for each in part] if isinstance(part, list) else part


def test_every_field_of_the_resource_has_a_type_that_somebody_reads():
    """Without one it would be dropped without a word."""
    typed = set(_typed(msgspec.inspect.type_info(PipelineSpec), "spec"))
    typed |= set(_typed(msgspec.inspect.type_info(Pipeline), "spec"))
    assert spec_fields() - typed == set(), "neither in clickstream.contracts.pipeline nor in clickstream_operator.spec"


def _typed(shape: msgspec.inspect.Type, path: str) -> Iterator[str]:
    match shape:
        case msgspec.inspect.StructType(fields=fields):
            for field in fields:
                yield f"{path}.{field.encode_name}"
                yield from _typed(field.type, f"{path}.{field.encode_name}")
        case msgspec.inspect.ListType(item_type=item):
            yield from _typed(item, f"{path}[]")
        case msgspec.inspect.UnionType(types=types):
            for each in types:
                yield from _typed(each, path)


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
        ({"limits": {"memory": "1Ei"}}, {"limits": {"memory": "1024Pi"}}, None),
        ({"limits": {"memory": "1G"}}, {"limits": {"memory": "1Gi"}}, ".limits.memory"),
        ({"limits": {"memory": "lots"}}, {"limits": {"memory": "1Gi"}}, ".limits.memory"),
        ({"other": {"cpu": "1000m"}}, {"other": {"cpu": "1"}}, ".other.cpu"),
    ],
)
def test_drift_is_a_field_of_ours_that_is_not_as_it_was_sent(wanted, live, where):
    assert differs(wanted, live) == where


def condition(kind: str, status: bool = True, reason: str = "Fine", *, severe: bool = False) -> Condition:
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
    first = next_status({}, Report(condition("Ready", False, "Starting"), ()), 1, "2026-03-01T10:00:00Z")
    second = next_status(first, Report(condition("Ready", False, "RollingOut"), ()), 2, "2026-03-01T11:00:00Z")
    third = next_status(second, Report(condition("Ready"), (), {"topics": "5/5"}), 2, NOW)
    times = [status["conditions"][0]["lastTransitionTime"] for status in (first, second, third)]
    assert times == ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z", NOW]
    assert third["observedGeneration"] == 2
    assert third["topics"] == "5/5"
    assert [each.reason for each in transitions(second, [condition("Ready")])] == ["Fine"]
    assert transitions(third, [condition("Ready")]) == []


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
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "forbidden: quota"}]),
            [], False, "FailedCreate"),
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
        {"state": {"terminated": {"exitCode": 3, "message": "gave up after 60 s: connection refused",
                                  "finishedAt": NOW}}}]}}  # fmt: skip
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


def test_grafana_is_told_of_tls_what_it_knows():
    address = Address("2001:db8::1", 6432, "reader", "let me in", "clicks", "prefer")
    access = postgres_access(address)
    assert (access["url"], access["user"], access["database"]) == ("[2001:db8::1]:6432", "reader", "clicks")
    assert access["secureJsonData"] == {"password": "let me in"}
    told = {mode: postgres_access(replace(address, sslmode=mode))["jsonData"]["sslmode"] for mode in SSL_MODES}
    assert told == {"allow": "disable", "prefer": "require"} | {
        mode: mode for mode in ("disable", "require", "verify-ca", "verify-full")
    }
    verified = postgres_access(address, "PEM")
    assert verified["jsonData"]["sslmode"] == "verify-full"
    assert verified["jsonData"]["tlsConfigurationMethod"] == "file-content"
    assert verified["secureJsonData"]["tlsCACert"] == "PEM"
    assert postgres_access(replace(address, sslmode="verify-ca"), "PEM")["jsonData"]["sslmode"] == "verify-ca"


def test_a_secrets_hash_differs_with_secret_and_value():
    assert len({hash_of("uid-1", b"a"), hash_of("uid-2", b"a"), hash_of("uid-1", b"b")}) == 3
    assert hash_of("uid-1", b"a") == hash_of("uid-1", b"a"), "written once more with the same content it rolls nothing"


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


def test_kopf_keeps_no_copy_of_a_resource_in_its_annotations():
    """It would for handlers of changes, timers and daemons; a large resource would not fit, and be handled for ever."""
    registry = kopf.OperatorRegistry()
    register(registry, controller=None, clusterwide=True)  # type: ignore[arg-type]
    assert len(registry._watching.get_all_handlers()) == 1
    for kind in (registry._changing, registry._spawning):
        assert not kind.get_all_handlers()
