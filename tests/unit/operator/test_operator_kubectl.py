"""`kubectl clickstream status`: figures out of texts, the snapshot out of API objects, the screen out of both."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream_operator.figures import Figures, Flow, flow_of, read_figures
from clickstream_operator.kubectl.api import ApiError
from clickstream_operator.kubectl.main import main
from clickstream_operator.kubectl.reading import take
from clickstream_operator.kubectl.screen import render
from clickstream_operator.kubectl.snapshot import (
    EVENTS,
    Autoscaler,
    Component,
    Event,
    Part,
    Snapshot,
    autoscaler_of,
    component_of,
    events_of,
)

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SINK = """\
# HELP clickstream_events_stored_total x
# TYPE clickstream_events_stored_total counter
clickstream_events_stored_total{kind="click",sink="postgres"} 1000.0
clickstream_events_stored_total{kind="session",sink="postgres"} 77.0
# TYPE clickstream_dead_letters_total counter
clickstream_dead_letters_total{code="a",stage="sink-postgres"} 2.0
clickstream_dead_letters_total{code="b",stage="sink-postgres"} 1.0
# TYPE clickstream_consumer_lag_records gauge
clickstream_consumer_lag_records{partition="0",topic="t"} 10.0
clickstream_consumer_lag_records{partition="1",topic="t"} 32.0
# TYPE clickstream_consumer_lag_seconds gauge
clickstream_consumer_lag_seconds{partition="0",topic="t"} 3.0
clickstream_consumer_lag_seconds{estimated="",partition="1",topic="t"} 14.0
"""


def test_figures_are_summed_over_series_and_sessions_are_no_clicks():
    behind = {("t", "0"): 3.0, ("t", "1"): 14.0}
    assert read_figures("sink-postgres", SINK, 5.0) == Figures(5.0, 1000.0, 3.0, 42.0, 14.0, behind)


def test_an_estimated_delay_is_shown_and_not_taken_for_known():
    text = SINK + 'clickstream_consumer_lag_seconds{estimated="true",partition="2",topic="t"} 99.0\n'
    found = read_figures("sink-postgres", text, 5.0)
    assert (found.lag_seconds, set(found.partitions)) == (99.0, {("t", "0"), ("t", "1")})


def test_a_component_without_lag_has_none():
    text = '# TYPE clickstream_events_accepted_total counter\nclickstream_events_accepted_total{source="web"} 7.0\n'
    assert read_figures("tracking-api", text, 1.0) == Figures(1.0, 7.0, 0.0, None, None)


@pytest.mark.parametrize("text", ["<html>", "a{", "clickstream_dead_letters_total twelve"])
def test_what_is_no_prometheus_text_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the parser's own
        read_figures("enricher", text, 1.0)


def test_a_flow_sums_rates_and_lags_and_takes_the_largest_delay():
    before = [Figures(0, 100, 1, 5, 1.0), Figures(0, 50, 0, 6, 9.0)]
    now = [Figures(2, 300, 2, 7, 2.0), Figures(4, 90, 0, 8, 3.0)]
    assert flow_of(before, now) == Flow(110.0, 2, 0.5, 15, 3.0)


def test_a_pod_that_started_anew_or_was_seen_once_gives_no_wrong_rate():
    assert flow_of([Figures(0, 500, 9, None, None)], [Figures(1, 3, 0, None, None)]) == Flow(0.0, 0, 0.0, None, None)
    assert flow_of([None], [Figures(1, 3, 0, 4, 1.0)]) == Flow(None, 0, None, 4, 1.0)
    assert flow_of([], []) is None


SNAPSHOT = Snapshot(
    namespace="web",
    name="shop",
    ready=False,
    suspended=False,
    current=True,
    topics="5/5",
    url="https://clicks.shop.example",
    parts=(
        Part("TopicsReady", "True", "Ready", "5 topics are ready", "2026-01-29T11:00:00Z"),
        Part("SinksReady", "False", "CrashLoopBackOff", "shop-sink-postgres: 0 of 2 replicas", "2026-01-31T11:57:00Z"),
    ),
    components=(
        Component("tracking-api", 3, 3, 3, 3, Flow(1234.4, 12, 0.5, None, None)),
        Component("enricher", 2, 2, 2, 1, Flow(600.0, 0, 0.0, 8120, 4.2), "not allowed"),
        Component("sink-postgres", 0, 2, 0, 0, None, None),
    ),
    autoscalers=(Autoscaler("shop-enricher", 2, 2, 24, ("cpu 71%/70%",), "TooManyReplicas: at the maximum"),),
    events=(Event("2026-01-31T11:59:30Z", "Warning", "SinksReady", "ClickstreamPipeline/shop", "0 of 2", 3),),
    notes=("Jobs: forbidden",),
)

SCREEN = """\
web/shop: NOT READY  topics 5/5  https://clicks.shop.example

PARTS
  PART    READY  SINCE  REASON            MESSAGE
  Topics  True   2d     Ready             5 topics are ready
  Sinks   False  3m     CrashLoopBackOff  shop-sink-postgres: 0 of 2 replicas

FLOW
  COMPONENT      PODS  RATE     LAG    BEHIND  DEAD LETTERS
  tracking-api   3/3   1,234/s  -      -       12 (+0.5/s)
  enricher       2/2   600/s    8,120  4 s     0             1 of 2 pods gave no figures: not allowed
  sink-postgres  0/2   -        -      -       -

AUTOSCALERS
  NAME           REPLICAS  BOUNDS  METRICS
  shop-enricher  2         2-24    cpu 71%/70%  TooManyReplicas: at the maximum

EVENTS
  AGE  TYPE     REASON      OBJECT                    MESSAGE
  30s  Warning  SinksReady  ClickstreamPipeline/shop  0 of 2 (x3)

note: Jobs: forbidden
"""


def test_the_screen():
    assert render(SNAPSHOT, NOW) == SCREEN


def test_a_snapshot_is_json():
    assert json.loads(json.dumps(asdict(SNAPSHOT)))["components"][1]["flow"]["lag_records"] == 8120


def test_the_time_that_is_left_is_in_the_first_line():
    first = render(replace(SNAPSHOT, time_to_data_loss="6d23h"), NOW).partition("\n")[0]
    assert first.endswith("https://clicks.shop.example  oldest click kept for 6d23h")


@given(text=st.text(), time=st.text())
def test_what_others_wrote_moves_no_cursor_and_breaks_no_screen(text, time):
    made = Snapshot(
        "web", "shop", True, False, False, text, text,
        (Part(text, text, text, text, time),), (Component(text, 1, 1, 1, 0, None, text),),
        (Autoscaler(text, 1, 1, 2, (text,), text),), (Event(time, text, text, text, text, 1),), (text,),
    )  # fmt: skip
    screen = render(made, NOW)
    assert screen.replace("\n", "").isprintable()
    assert max(map(len, screen.splitlines())) < 2_000 or len(text) > 160


def event(name, time, kind="Pod", **members):
    return {"metadata": {}, "involvedObject": {"kind": kind, "name": name}, "lastTimestamp": time, **members}


def test_events_are_those_of_the_pipeline_and_its_children_newest_last():
    found = [
        event("shop", "2026-01-31T10:00:02Z", "ClickstreamPipeline"),
        event("other", "2026-01-31T10:00:03Z", "ClickstreamPipeline"),
        event("shop", "2026-01-31T10:00:04Z", "Deployment"),
        event("shop-enricher-1", "2026-01-31T10:00:01Z"),
        event("new", None, series={"count": 4}) | {"eventTime": "2026-01-31T10:00:09.000001Z"},
    ]
    told = events_of(found, "shop", {"shop-enricher-1", "new"})
    assert [(each.object, each.count) for each in told] == [
        ("Pod/shop-enricher-1", 1), ("ClickstreamPipeline/shop", 1), ("Pod/new", 4),
    ]  # fmt: skip
    many = [event("shop", f"2026-01-31T10:00:{number:02}Z", "ClickstreamPipeline") for number in range(30)]
    assert [each.time[-3:-1] for each in events_of(many, "shop", ())] == [str(n) for n in range(30 - EVENTS, 30)]


def test_an_autoscaler_tells_its_metrics_and_what_holds_it():
    scaler = {
        "metadata": {"name": "shop-enricher"},
        "spec": {
            "minReplicas": 2,
            "maxReplicas": 4,
            "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 70}}},
                {"type": "External", "external": {"metric": {"name": "lag"}, "target": {"averageValue": "1k"}}},
            ],
        },
        "status": {
            "currentReplicas": 4,
            "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 35}}}
            ],
            "conditions": [
                {"type": "AbleToScale", "status": "True"},
                {
                    "type": "ScalingActive",
                    "status": "False",
                    "reason": "FailedGetResourceMetric",
                    "message": "no metrics",
                },
            ],
        },
    }
    assert autoscaler_of(scaler) == Autoscaler(
        "shop-enricher", 4, 2, 4, ("cpu 35%/70%", "lag ?/1k"), "FailedGetResourceMetric: no metrics"
    )
    assert autoscaler_of({"metadata": {"name": "new"}}) == Autoscaler("new", 0, 1, 0, (), None)


def test_a_deployment_that_is_just_made_is_a_component():
    assert component_of({"metadata": {"name": "shop-enricher"}}, [], None) == Component(
        "shop-enricher", 0, 0, 0, 0, None
    )


@pytest.mark.parametrize(
    "arguments", [[], ["status"], ["status", "shop", "--interval", "-1"], ["status", "a", "-o", "x"]]
)
def test_wrong_arguments_are_told_as_such(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: kubectl clickstream" in capsys.readouterr().err


def test_without_a_kubeconfig_it_says_so(tmp_path, capsys):
    assert main(["status", "shop", "--kubeconfig", str(tmp_path / "none")]) == 2
    assert "no usable kubeconfig" in capsys.readouterr().err


class StandIn:
    """Stands in for an API server whose pods answer: the one of the end-to-end tests has none that do."""

    def __init__(self, refused=(), port=7):
        self.refused = refused
        self.port = port
        self.looks = 0

    def get(self, path, query=None):
        kind = path.rpartition("/")[2]
        if kind in self.refused:
            raise ApiError(403, f"{kind} is forbidden")
        if "clickstreampipelines" in path:
            condition = {"type": "Ready", "status": "True", "reason": "Ready", "message": "m"}
            status = {"conditions": [condition], "observedGeneration": 2, "topics": "5/5"}
            return {"metadata": {"name": "shop", "generation": 2}, "spec": {}, "status": status}
        meta = {"namespace": "web", "labels": {"app.kubernetes.io/component": "sink-postgres"}}
        if kind == "deployments":
            return {"items": [{"metadata": meta | {"name": "shop-sink-postgres"}, "spec": {"replicas": 2}}]}
        if kind == "pods":
            spec = {
                "containers": [{"ports": [{"name": "http", "containerPort": 1}, {"name": "ops", "containerPort": 7}]}]
            }
            status = {"phase": "Running"}
            return {"items": [{"metadata": meta | {"name": name}, "spec": spec, "status": status} for name in "ab"]}
        return {"items": []}

    def text(self, path):
        self.looks += 1
        assert path in {f"/api/v1/namespaces/web/pods/{name}:{port}/proxy/metrics" for name in "ab" for port in (1, 7)}
        if "proxy" in self.refused:
            raise ApiError(403, "pods/proxy is forbidden")
        if f":{self.port}/" not in path:
            raise ApiError(503, f"connection refused: {path}")
        return SINK.replace("1000.0", str(1000.0 + self.looks * 100))


def test_figures_are_taken_twice_from_each_pods_own_port():
    api = StandIn()
    (component,) = take(api, "web", "shop", 0.05).components
    assert api.looks == 4
    assert (component.name, component.wanted, component.pods, component.answered) == ("sink-postgres", 2, 2, 2)
    assert component.flow is not None
    assert (component.flow.lag_records, component.flow.lag_seconds, component.flow.dead_letters) == (84, 14, 6)
    assert component.flow.rate is not None
    assert component.flow.rate > 0


def test_a_tracking_api_of_an_older_image_is_asked_on_its_other_port():
    api = StandIn(port=1)
    (component,) = take(api, "web", "shop", 0.05).components
    assert (component.pods, component.answered, api.looks) == (2, 2, 8)
    (component,) = take(StandIn(port=None), "web", "shop", 0).components
    assert component.trouble is not None
    assert ":7/proxy/metrics" in component.trouble, "that of the port where it should be"


def test_what_may_not_be_read_is_a_note_and_the_rest_is_shown():
    snapshot = take(StandIn({"proxy", "events"}), "web", "shop", 5.0)
    assert snapshot.ready
    assert snapshot.components[0].trouble == "not allowed"
    assert snapshot.notes == (
        "Events: events is forbidden",
        "lag, rates and dead letters need the right to get pods/proxy: pods/proxy is forbidden",
    )
    with pytest.raises(ApiError):
        take(StandIn({"shop"}), "web", "shop", 0)
