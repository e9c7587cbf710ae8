"""How far consumers are behind, asked of pods that answer in every way; and the time until Kafka deletes clicks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.durations import duration_ms
from clickstream.enricher.metrics import Metrics as EnricherMetrics
from clickstream.runtime.telemetry import Telemetry
from clickstream.sinks.lag import Lag
from clickstream.sinks.metrics import Metrics as SinkMetrics
from clickstream_operator import backlog, naming
from clickstream_operator.backlog import Backlogs, Known, fetch_metrics
from clickstream_operator.cluster import ClusterError
from clickstream_operator.components import Consumer, consumers_of
from clickstream_operator.figures import read_figures
from clickstream_operator.retention import duration, standing
from clickstream_operator.status import RETAINED
from support.golden import context_of
from support.memory_cluster import Json

CONTEXT = context_of("minimal")
CONSUMERS = consumers_of(CONTEXT.parsed, CONTEXT.spec)
ENRICHER, *SINKS = CONSUMERS
NOW = datetime(2026, 3, 8, 12, 0, 30, tzinfo=UTC)
HOUR, DAY = 3_600.0, 86_400.0
SINK = "sink-postgres"


def ago(seconds: float) -> float:
    return NOW.timestamp() - seconds


def text(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def known(**behind: float) -> Known:
    """All have just answered."""
    told = {name.replace("_", "-"): seconds for name, seconds in behind.items()}
    return Known({name: ago(seconds) for name, seconds in told.items()}, told)


LEVEL = {"enricher": 0.0, "sink_elasticsearch": 2.0, "sink_postgres": 0.5}


def test_what_each_consumer_reads_is_what_counts_for_it() -> None:
    assert [each.component for each in CONSUMERS] == ["enricher", "sink-elasticsearch", SINK]
    assert {each.retention_seconds for each in CONSUMERS} == {7 * DAY}
    assert (ENRICHER.partitions, SINKS[0].partitions) == (12, 24)
    assert ENRICHER.group == "web.shop.enricher"


def test_at_rest_the_status_never_changes() -> None:
    first = standing(CONSUMERS, known(**LEVEL), {}, {}, NOW)
    assert first.fields == {"timeToDataLoss": "7d"}
    assert first.condition is not None
    assert (first.condition.status, first.condition.reason) == (True, "UpToDate")
    later = standing(CONSUMERS, known(**LEVEL), {}, {}, NOW + timedelta(seconds=50))
    assert (later.fields, later.condition) == (first.fields, first.condition)
    hours = standing(CONSUMERS, known(**LEVEL), {}, {}, NOW + timedelta(hours=1))
    assert hours.fields == first.fields, "they are asked seldom where passes are seldom"


def test_a_consumer_that_is_behind_is_told_with_the_time_that_is_left() -> None:
    found = standing(CONSUMERS, known(**LEVEL | {"sink_postgres": 2 * DAY + 90}), {}, {}, NOW)
    assert found.fields["timeToDataLoss"] == "4d23h"
    (entry,) = found.fields["backlogs"]
    assert entry == {"component": SINK, "oldestUnprocessed": "2026-03-06T11:59:00Z"}
    assert found.condition is not None
    assert (found.condition.type, found.condition.reason, found.condition.severe) == (RETAINED, "Behind", False)
    assert found.behind[SINK] == 2 * DAY + 90
    near = standing(CONSUMERS, known(**LEVEL | {"sink_postgres": 5.3 * DAY}), {}, {}, NOW).condition
    assert near is not None
    assert (near.status, near.reason, near.severe) == (False, "DataLossNear", True)
    assert "sink-postgres" in near.message
    assert "for 1d16h; the retention is 7d" in near.message
    gone = standing(CONSUMERS, known(**LEVEL | {"enricher": 8 * DAY}), {}, {}, NOW)
    assert gone.fields["timeToDataLoss"] == "0m"
    assert gone.condition is not None
    assert "may have deleted" in gone.condition.message


def test_what_was_known_last_counts_on_while_nothing_runs_and_over_restarts_of_the_operator() -> None:
    stopped = {SINK: None}
    first = standing(CONSUMERS, known(**LEVEL | {"sink_postgres": 300.0}), stopped, {}, NOW)
    after = NOW + timedelta(days=3)
    for silent in (frozenset[str](), frozenset({"enricher"})):  # another operator, which knows nothing
        again = standing(CONSUMERS, Known(silent=silent), stopped, first.fields, after)
        assert again.fields["backlogs"] == first.fields["backlogs"]
        assert again.fields["timeToDataLoss"] == "3d23h"


def test_progress_is_written_in_steps_and_never_forwards_of_the_truth() -> None:
    status: Json = {}
    seen = []
    for minute in range(60):
        now = NOW + timedelta(minutes=minute)
        behind = 2 * HOUR - minute * 60.0  # for each minute it works two off
        told = Known({SINK: now.timestamp() - behind}, {SINK: behind})
        status = dict(standing(CONSUMERS, told, {}, status, now).fields)
        written = status["backlogs"][0]["oldestUnprocessed"]
        assert datetime.fromisoformat(written).timestamp() <= now.timestamp() - behind
        seen.append(written)
    assert len(set(seen)) <= 13
    back = Known({SINK: ago(3 * HOUR)}, {SINK: 3 * HOUR})
    assert standing(CONSUMERS, back, {}, status, NOW).fields["backlogs"][0]["oldestUnprocessed"] < seen[0]


def test_a_stopped_consumer_of_which_nothing_was_known_counts_from_when_it_stopped() -> None:
    told = standing(CONSUMERS, Known(), {SINK: text(DAY), "enricher": text(90), "sink-elasticsearch": None}, {}, NOW)
    entries = {each["component"]: each["oldestUnprocessed"] for each in told.fields["backlogs"]}
    assert entries == {SINK: "2026-03-07T12:00:00Z", "enricher": "2026-03-08T11:59:00Z"}, "one has only just stopped"
    assert told.fields["timeToDataLoss"] == "6d"
    week = NOW + timedelta(days=6)
    later = standing(CONSUMERS, Known(), {"enricher": text(0)}, told.fields, week)
    assert {each["component"] for each in later.fields["backlogs"]} == {SINK, "enricher"}
    assert later.fields["timeToDataLoss"] == "0m", "of the sink, which nobody has heard of since"


def test_of_one_that_runs_and_was_never_heard_nothing_is_said() -> None:
    before = {"timeToDataLoss": "6d", "backlogs": [{"component": SINK, "oldestUnprocessed": text(DAY)}]}
    assert standing(CONSUMERS, Known(silent=frozenset({SINK})), {}, before, NOW).fields == {}
    answering = standing(CONSUMERS, Known(), {}, before, NOW).fields
    assert answering["backlogs"] == before["backlogs"], "it has answered, but not of all its partitions"
    untouched = standing(CONSUMERS, Known(), {}, {"timeToDataLoss": "7d"}, NOW)
    assert untouched.fields == {"timeToDataLoss": "7d"}, "a restart of the operator writes nothing"


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["component", "oldestUnprocessed", "x"]), inner)))  # fmt: skip
def test_any_status_that_others_wrote_is_no_error(backlogs: Any) -> None:
    standing(CONSUMERS, Known(), {SINK: "soon"}, {"backlogs": backlogs}, NOW)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0m"), (59, "0m"), (60, "1m"), (3_599, "59m"), (HOUR, "1h"), (HOUR + 1_199, "1h10m"), (DAY - 1, "23h50m"),
     (DAY, "1d"), (DAY + 7_100, "1d1h"), (7 * DAY, "7d"), (-5, "0m")],
)  # fmt: skip
def test_a_duration_is_rounded_down(seconds: float, told: str) -> None:
    assert duration(seconds) == told
    assert duration_ms(told) <= max(0, seconds) * 1_000


class Pods:
    """The part of `Cluster` that lists pods."""

    def __init__(self, *pods: Json, error: ClusterError | None = None) -> None:
        self.pods = pods
        self.error = error
        self.lists = 0

    def list(self, _kind: str, _namespace: str, _labels: Json) -> list[Json]:
        self.lists += 1
        if self.error is not None:
            raise self.error
        return list(self.pods)


def pod(address: str, component: str = "enricher", phase: str = "Running") -> Json:
    labels = naming.labels("web", "shop", component)
    return {"metadata": {"labels": labels}, "status": {"phase": phase, "podIP": address}}


def lag(*partitions: int, topic: str = "web.shop.raw-clicks", seconds: float = 7.0) -> str:
    rows = [
        f'clickstream_consumer_lag_seconds{{partition="{each}",topic="{topic}"}} {seconds + each}'
        for each in partitions
    ]
    return "\n".join(["# TYPE clickstream_consumer_lag_seconds gauge", *rows]) + "\n"


class Asked:
    """Backlogs of one pipeline, whose pods answer as `answers` say, by address."""

    def __init__(self, pods: Pods, answers: dict[str, str | Exception]) -> None:
        self.now = 1_000.0
        self.answers = answers
        self.pods = pods
        self.backlogs = Backlogs(pods, self.fetch, lambda: self.now)  # type: ignore[arg-type]

    def fetch(self, address: str) -> str:
        answer = self.answers[address]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def known(self, *running: Consumer) -> Known:
        """What is known once they have been asked."""
        running = running or CONSUMERS
        self.backlogs.known(("web", "shop"), running)
        self.backlogs._pool.submit(lambda: None).result(10)
        return self.backlogs.known(("web", "shop"), running)


@pytest.fixture(autouse=True)
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is submitted last is done last."""
    monkeypatch.setattr(backlog, "_WORKERS", 1)


def test_only_an_answer_for_all_partitions_counts() -> None:
    asked = Asked(Pods(pod("a"), pod("b")), {"a": lag(*range(6)), "b": lag(*range(6, 12))})
    assert asked.known() == Known({"enricher": 982.0}, {"enricher": 18.0})
    asked.now = 1_040.0
    asked.answers["b"] = OSError("refused")
    assert asked.known() == Known({"enricher": 982.0}), "the oldest may be b's"
    asked.now = 1_080.0
    asked.answers["b"] = lag(*range(6, 11))
    assert asked.known().behind == {}, "a partition is on its way from one to the other"
    asked.now = 1_120.0
    asked.answers |= {"a": lag(*range(12), seconds=0.0), "b": lag()}
    assert asked.known() == Known({"enricher": 1_109.0}, {"enricher": 11.0})


def test_they_are_asked_every_half_minute_and_forgotten_with_the_pipeline() -> None:
    asked = Asked(Pods(pod("a")), {"a": lag(*range(12))})
    for now in (1_000.0, 1_010.0, 1_029.9):
        asked.now = now
        asked.known()
    assert asked.pods.lists == 1
    asked.now = 1_030.0
    asked.known()
    assert asked.pods.lists == 2
    asked.now = 1_035.0
    asked.known(ENRICHER)
    assert asked.pods.lists == 3, "another one has started, or stopped"
    asked.backlogs.forget(("web", "shop"))
    assert asked.backlogs.known(("web", "shop"), ()) == Known()


def test_of_a_pipeline_at_rest_it_is_told_when_a_consumer_falls_behind_or_catches_up() -> None:
    asked, told = Asked(Pods(pod("a")), {"a": lag(*range(12), seconds=0.0)}), []
    asked.backlogs.start(told.append)
    asked.known()
    assert told == [("web", "shop")], "nothing was known before"
    for seconds, lists, changes in (
        (59.0, 1, 1),  # not yet
        (60.0, 2, 1),  # as before
        (120.0, 3, 2),  # behind
        (180.0, 4, 2),  # more behind
        (240.0, 5, 3),  # caught up
    ):
        asked.now = 1_000.0 + seconds
        asked.answers["a"] = lag(*range(12), seconds={120.0: 80.0, 180.0: 200.0}.get(seconds, 0.0))
        asked.backlogs.refresh(("web", "shop"))
        asked.backlogs._pool.submit(lambda: None).result(10)
        assert (asked.pods.lists, len(told)) == (lists, changes), seconds


@pytest.mark.parametrize(
    "pods",
    [
        Pods(error=ClusterError(403, "forbidden")),
        Pods(),
        Pods(pod("a", phase="Pending")),
        Pods(pod("a", component="setup")),
    ],
    ids=["forbidden", "none", "pending", "of a Job"],
)
def test_what_does_not_run_is_not_asked(pods: Pods) -> None:
    assert Asked(pods, {}).known() == Known()


@pytest.mark.parametrize("answer", ["", lag(*range(12), topic="other"), lag(0, 1)])
def test_an_answer_that_does_not_tell_of_everything_is_none(answer: str) -> None:
    assert Asked(Pods(pod("a")), {"a": answer}).known() == Known()


@pytest.mark.parametrize("answer", ["<html>", OSError("refused"), ValueError("x"), None])
def test_pods_that_run_and_say_nothing_are_silent(answer: str | Exception | None) -> None:
    """None: the pod has no address."""
    pods, answers = (Pods(pod("")), {}) if answer is None else (Pods(pod("a"), pod("b")), {"a": answer, "b": answer})
    assert Asked(pods, answers).known() == Known(silent=frozenset({"enricher"}))


def test_what_fails_is_told_in_the_log_and_keeps_nobody(caplog: pytest.LogCaptureFixture) -> None:
    asked = Asked(Pods(pod("a")), {"a": ZeroDivisionError("x")})
    assert asked.known() == Known()
    assert "the consumers' backlog is not known: ZeroDivisionError" in caplog.text


def test_what_the_processes_really_tell_is_understood() -> None:
    telemetry = Telemetry("enricher", {}, None)
    EnricherMetrics(telemetry, "web.shop.raw-clicks").watch_lag(lambda: [(0, 4, 2.5), (1, 0, 0.0), (2, 7, None)])
    found = read_figures("enricher", telemetry.prometheus_text().decode(), 0.0)
    assert found.partitions == {("web.shop.raw-clicks", "0"): 2.5, ("web.shop.raw-clicks", "1"): 0.0}
    assert found.lag_records == 11

    telemetry, sink = Telemetry("sink", {}, None), Lag()
    SinkMetrics(telemetry, "postgres").watch(sink, lambda: 0)
    now_ms = int(time.time() * 1_000)
    for number in range(2):
        sink.assigned(("web.shop.sessions", number), 0, now_ms)
        sink.seen_end(("web.shop.sessions", number), 9, now_ms)
    sink.waiting(("web.shop.sessions", 0), now_ms - 60_000)
    found = read_figures(SINK, telemetry.prometheus_text().decode(), 0.0)
    assert found.partitions.keys() == {("web.shop.sessions", "0")}, "of the other one nothing is known yet"
    assert 60 <= found.partitions["web.shop.sessions", "0"] < 120


@contextmanager
def served(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[int]:
    """A server whose answer to a GET is written by `answer`; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                answer(self)
            except OSError:
                self.close_connection = True  # the client has gone

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def content(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def endless(handler: BaseHTTPRequestHandler) -> None:
    content(handler, b"")
    while True:
        handler.wfile.write(b"# x\n" * 65_536)


def dripping(handler: BaseHTTPRequestHandler) -> None:
    content(handler, b"")
    while True:
        handler.wfile.write(b"#")
        time.sleep(0.05)


def test_a_pods_metrics_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(lambda handler: content(handler, handler.path.encode())) as port:
        monkeypatch.setattr(naming, "OPS_PORT", port)
        assert fetch_metrics("127.0.0.1") == "/metrics"


@pytest.mark.parametrize(
    "answer",
    [endless, dripping, lambda handler: content(handler, b"", 302, Location="http://127.0.0.1:1/"),
     lambda handler: content(handler, b"", 500)],
    ids=["endless", "dripping", "elsewhere", "error"],
)  # fmt: skip
def test_an_answer_is_bounded_in_bytes_and_time(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    monkeypatch.setattr(backlog, "_POD_SECONDS", 0.5)
    with served(answer) as port:
        monkeypatch.setattr(naming, "OPS_PORT", port)
        began = time.monotonic()
        with pytest.raises(OSError, match=r"too large|HTTP (302|500)"):
            fetch_metrics("127.0.0.1")
        assert time.monotonic() - began < 5
