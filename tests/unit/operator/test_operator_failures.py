"""A pass never dies unseen, never tells a Secret's characters, and one bad part holds up only its own condition."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
import yaml

from clickstream.runtime.logs import JsonFormatter
from clickstream.runtime.telemetry import Telemetry
from clickstream_operator import desired, handlers, naming, work_queue
from clickstream_operator.cluster import ClusterError
from clickstream_operator.failures import describe, trace
from clickstream_operator.handlers import Controller
from clickstream_operator.inputs import Images
from clickstream_operator.metrics import Metrics
from clickstream_operator.mounts import all_keys
from clickstream_operator.reconcile import Reconciler, Result
from clickstream_operator.spec import parse_spec
from support.golden import FOLDER
from support.memory_cluster import MemoryCluster

HUSH = "Tr0ub4dor"
KEY = (naming.KIND, "web", "shop")
READER = {"postgres": {"connectionSecretRef": {"name": "reader"}}}


def pipeline(**changes: object) -> dict[str, Any]:
    body = yaml.safe_load((FOLDER / "minimal" / "pipeline.yaml").read_text())
    return body | {"spec": body["spec"] | changes}


def cluster_of(body: dict[str, Any], dsn: bytes = b"postgresql://reader@pg/clicks") -> MemoryCluster:
    """With every Secret that the pipeline names."""
    cluster = MemoryCluster(body)
    for key in all_keys(parse_spec(body["spec"])):
        cluster.secrets.setdefault(key.secret, {})[key.key] = b"x"
    cluster.secrets["reader"] = {"uri": dsn}
    return cluster


def run(cluster: MemoryCluster, reconciler: Reconciler | None = None) -> Result:
    made = reconciler or Reconciler(cluster, Images("apps:1"), 15.0)  # type: ignore[arg-type]
    return made.reconcile("web", "shop")


def conditions(cluster: MemoryCluster) -> dict[str, dict[str, Any]]:
    return {each["type"]: each for each in cluster.objects[KEY]["status"]["conditions"]}


def fail(*_: object, **__: object) -> Any:
    raise ValueError(HUSH)


def told(cluster: MemoryCluster, result: Result) -> str:
    """All that anybody is told."""
    errors = [[describe(error), trace(error)] for error in result.errors]
    return json.dumps([cluster.objects[KEY].get("status"), [str(each) for each in result.transitions], errors])


@pytest.mark.parametrize("part", [part.component for part in desired.PIPELINE if part.component in naming.STORES] + [
    naming.TOPICS, naming.TRACKING_API, naming.ENRICHER, "sink-elasticsearch", "sink-postgres", naming.DASHBOARDS,
    naming.NETWORK, naming.CONFIGURATION])  # fmt: skip
def test_a_part_that_cannot_be_worked_out_holds_up_its_own_condition_only(monkeypatch, part):
    cluster = cluster_of(pipeline())
    run(cluster)
    before = conditions(cluster)
    there = set(cluster.objects)
    broken = tuple(desired.Part(each.component, fail) if each.component == part else each for each in desired.PIPELINE)
    monkeypatch.setattr(desired, "PIPELINE", broken)
    cluster.objects[KEY]["spec"]["funnels"] = [{"name": "f", "steps": [{"name": "s", "page": "/"}]}]
    result = run(cluster)
    after = conditions(cluster)
    changed = {name for name in after if (after[name]["reason"]) != before[name]["reason"]}
    assert len(changed - {"Ready"}) <= 1
    assert after["Ready"]["status"] == "False"
    assert "InternalError" in {each["reason"] for each in after.values()}
    assert "ValueError at" in after["Ready"]["message"]
    assert there <= set(cluster.objects), "nothing is pruned of what may be wanted"
    if part != naming.CONFIGURATION:
        document = cluster.objects["ConfigMap", "web", "shop-pipeline"]["data"]["pipeline.json"]
        assert '"steps"' in document, "the others are applied"
    assert [type(error) for error in result.errors] == [ValueError]
    assert HUSH not in told(cluster, result)


def test_topics_that_cannot_be_worked_out_do_not_count_as_ready(monkeypatch):
    broken = tuple(
        desired.Part(each.component, fail) if each.component == naming.TOPICS else each for each in desired.PIPELINE
    )
    monkeypatch.setattr(desired, "PIPELINE", broken)
    cluster = cluster_of(pipeline())
    run(cluster)
    assert not [key for key in cluster.objects if key[0] == "Deployment"]
    assert conditions(cluster)["EnricherReady"]["reason"] == "WaitingForTopics"


@pytest.mark.parametrize("call", ["get", "list", "apply", "secret", "serves", "merge"])
@pytest.mark.parametrize(
    "error",
    [ValueError(HUSH), KeyError(HUSH), RecursionError(HUSH), ClusterError(0, "away"), ClusterError(503, "busy"),
     ClusterError(409, "changed"), ClusterError(404, "not served")],
    ids=repr,
)  # fmt: skip
def test_whatever_fails_the_pass_ends_with_a_result(monkeypatch, call, error):
    cluster = cluster_of(pipeline())

    def raising(*_: object, **__: object) -> Any:
        raise error

    monkeypatch.setattr(cluster, call, raising)
    result = run(cluster)
    confined = call == "apply" and isinstance(error, ClusterError) and error.status != 0
    if call == "merge" and isinstance(error, ClusterError) and error.status == 404:
        assert result == Result(), "the pipeline is gone"
        return
    assert list(result.errors[:1]) == ([] if confined else [error])
    assert result.report is None or not result.report.ready.status
    assert result.requeue_after is not None
    if call not in {"get", "merge"}:
        ready = conditions(cluster)["Ready"]
        reasons = {0: "ApiServerBusy", 503: "ApiServerBusy", 409: "Changed", 404: "ApiServerRefused"}
        wanted = reasons[error.status] if isinstance(error, ClusterError) and not confined else None
        assert confined or ready["reason"] == (wanted or "InternalError")
    assert HUSH not in told(cluster, result)


@pytest.mark.parametrize("spec", [None, [], "text", 3, {"kafka": None}, {"sources": {}}, {"kafka": {"topics": []}}])
def test_a_spec_of_any_shape_is_told(spec):
    cluster = cluster_of(pipeline())
    cluster.objects[KEY]["spec"] = spec
    result = run(cluster)
    assert result.errors == ()
    assert conditions(cluster)["Ready"]["reason"] == "InvalidSpec"


@pytest.mark.parametrize("status", [None, [], "text", {"conditions": 3}, {"conditions": [3, {}, {"type": "Ready"}]}])
def test_a_status_of_any_shape_is_written_anew(status):
    cluster = cluster_of(pipeline())
    cluster.objects[KEY]["status"] = status
    assert run(cluster).errors == ()
    assert conditions(cluster)["Ready"]["status"] == "False"


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://reader:x{HUSH}@pg:{HUSH}/clicks".encode(),
        f"host=pg user=reader password='{HUSH}".encode(),
        f"postgresql://reader:{HUSH}@[pg/clicks".encode(),
        b"postgresql://reader:\xff" + HUSH.encode() + b"@pg/clicks",
        HUSH.encode(),
        b"",
    ],
)
def test_a_connection_string_that_grafana_cannot_use_holds_up_dashboards_only(dsn):
    cluster = cluster_of(pipeline(dashboards={"datasources": READER}), dsn)
    result = run(cluster)
    found = conditions(cluster)
    assert result.errors == ()
    assert found["DashboardsReady"]["reason"] == "DatasourceInvalid"
    assert "Secret reader, key uri" in found["DashboardsReady"]["message"]
    assert ("Service", "web", "shop-tracking-api") in cluster.objects
    assert ("Secret", "web", "shop-grafana-datasources") not in cluster.objects
    assert HUSH not in told(cluster, result)
    cluster.secrets["reader"]["uri"] = b"postgresql://reader:a#[b@pg-0:5432,pg-1:5432/clicks"
    run(cluster)
    assert conditions(cluster)["DashboardsReady"]["status"] == "True"


@pytest.mark.parametrize(
    "changes",
    [
        {"telemetry": {"otlpEndpoint": "http://collector:99999"}},
        {"sinks": {"elasticsearch": {"url": "http://[es"}}},
        {"sinks": {"elasticsearch": {"url": "http://es:http"}}},
        {"kafka": {"bootstrapServers": "kafka", "strimzi": {"cluster": "c"}}},
    ],
)
def test_an_address_of_an_older_schema_holds_up_network_policies_only(changes):
    cluster = cluster_of(pipeline(**changes))
    result = run(cluster)
    assert result.errors == ()
    ready = conditions(cluster)["Ready"]
    assert (ready["reason"], "no port can be read of" in ready["message"]) == ("AddressInvalid", True)
    assert ("Service", "web", "shop-tracking-api") in cluster.objects


def test_a_failed_pass_is_counted_told_and_tried_again_without_the_errors_message(monkeypatch, caplog):
    cluster = cluster_of(pipeline())
    events: list[tuple[str, str]] = []
    logged = asyncio.Event()
    inner = work_queue.log.error
    monkeypatch.setattr(work_queue.log, "error", lambda *args, **more: (inner(*args, **more), logged.set()))
    monkeypatch.setattr(handlers.kopf, "event", lambda _body, **told: events.append((told["reason"], told["message"])))
    telemetry = Telemetry("operator", {}, None)
    reconciler = Reconciler(cluster, Images("apps:1"), 15.0)  # type: ignore[arg-type]
    controller = Controller(reconciler, Metrics(telemetry), workers=1)

    async def story() -> None:
        serving = asyncio.create_task(controller.queue.run())
        await controller.enqueue(("web", "shop"))
        async with asyncio.timeout(10):
            await logged.wait()
        serving.cancel()

    # Both exceptions quote the value, and the second is raised while the first is handled.
    def quoting(*_: object) -> Any:
        try:
            return int(HUSH)
        except ValueError:
            return {}[HUSH]

    monkeypatch.setattr(cluster, "secret", quoting)
    with caplog.at_level(logging.DEBUG):
        asyncio.run(story())
    exposed = telemetry.prometheus_text().decode()
    assert "clickstream_operator_reconciliations_total{" in exposed
    assert 'result="failed"' in exposed
    assert "clickstream_operator_pipelines{" in exposed
    assert 'ready="false"} 1.0' in exposed
    (event,) = events
    assert event[0] == "InternalError"
    assert "KeyError at" in event[1]
    lines = "\n".join(JsonFormatter("operator").format(record) for record in caplog.records)
    assert "requeue_after_seconds" in lines
    assert "observe:" in lines, "the trace names places"
    for text in (lines, str(events), json.dumps(cluster.objects[KEY])):
        assert HUSH not in text


def test_an_exception_is_told_with_all_that_it_was_raised_from_and_never_endlessly():
    first, second = ValueError(HUSH), TypeError(HUSH)
    first.__cause__, second.__cause__ = second, first
    assert trace(first) == ["ValueError", "TypeError"]
    assert describe(ExceptionGroup(HUSH, [first, ClusterError(500, "the API server says no")])) == (
        "ValueError; the API server says no"
    )

    def deep(levels: int) -> None:
        if levels == 0:
            raise ValueError(HUSH)
        deep(levels - 1)

    with pytest.raises(ValueError, match=HUSH) as raised:
        deep(500)
    assert len(trace(raised.value)) <= 60
    assert trace(raised.value)[-1].endswith("(deep)")
