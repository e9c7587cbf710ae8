"""From HTTP to both stores, through every real process: sessions, retries, joins, SLIs and one trace."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer

from clickstream.contracts.pipeline import Kafka, Pipeline
from clickstream.contracts.topics import Topic
from clickstream.setup.topics import TopicAdmin
from devstack import Stack
from support.collector import Collector
from support.metrics import total
from support.processes import wait_for
from support.system import System
from support.topics import count, feed
from support.traffic import clicks, sort_and_cut

CATALOGUE = "catalogue-of-the-pipeline-tests"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.close()


@pytest.fixture(scope="module")
def system(
    stack: Stack,
    new_pipeline: Callable[..., Pipeline],
    collector: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    TopicAdmin(Kafka(stack.kafka.bootstrap_servers)).create([Topic(CATALOGUE, 2, 1, {"cleanup.policy": "compact"})])
    put_product(stack, "item-7", {"name": "Blue kettle", "category": "kitchen", "price": 39.5})
    pipeline = new_pipeline(enricher={"joins": [{"name": "product", "topic": CATALOGUE, "page": "/products/{key}"}]})
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    started = System(pipeline, tmp_path_factory.mktemp("system"), env)
    yield started
    started.close()


def put_product(stack: Stack, key: str, row: dict[str, Any]) -> None:
    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap_servers})
    producer.produce(CATALOGUE, json.dumps(row).encode(), key.encode())
    assert producer.flush(10) == 0


def event(user: str, page: str, when: datetime | None = None, **members: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "timestamp": (when or datetime.now(UTC)).isoformat(timespec="milliseconds"),
        "user_id": user,
        "session_id": f"{user}-tab",
        "page": f"https://shop.example{page}",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    } | members


def stored(system: System, event_id: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return (
        system.stores.clicks_es({"term": {"event_id": event_id}}),
        system.stores.sql("SELECT * FROM {s}.clicks WHERE event_id = %s", event_id),
    )


def arrive(system: System, event_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Wait for an event in both stores; exactly one row in each."""
    wait_for(lambda: all(stored(system, event_id)), f"{event_id} is in both stores", *system.processes)
    documents, rows = stored(system, event_id)
    assert (len(documents), len(rows)) == (1, 1)
    return documents[0], rows[0]


def test_one_trace_goes_from_the_request_through_kafka_to_both_sinks(system: System, collector: Collector) -> None:
    sent = event("traced", "/")
    status, _ = system.post("/v1/events", sent, {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    assert status == 202
    arrive(system, sent["event_id"])

    def services() -> set[str]:
        return {service for service, _, trace, *_ in collector.spans if trace == TRACE}

    wanted = {
        "clickstream-tracking-api",
        "clickstream-enricher",
        "clickstream-sink-elasticsearch",
        "clickstream-sink-postgres",
    }
    wait_for(lambda: services() >= wanted, f"spans of {wanted}; seen {services()}", *system.processes)
    spans = {service: (parent, span) for service, _, trace, parent, span in collector.spans if trace == TRACE}
    api, enricher = spans["clickstream-tracking-api"], spans["clickstream-enricher"]
    assert api[0] == "00f067aa0ba902b7", "the request's own span is the root's parent"
    assert enricher[0] == api[1]
    assert spans["clickstream-sink-postgres"][0] == spans["clickstream-sink-elasticsearch"][0] == enricher[1]


def test_a_product_page_gains_the_catalogues_row_and_a_changed_row_shows_in_the_next_click(
    system: System, stack: Stack
) -> None:
    first = event("shopper", "/products/item-7")
    assert system.post("/v1/events", first)[0] == 202
    document, row = arrive(system, first["event_id"])
    assert (
        document["joins"] == row["joins"] == {"product": {"name": "Blue kettle", "category": "kitchen", "price": 39.5}}
    )
    put_product(stack, "item-7", {"name": "Blue kettle", "category": "kitchen", "price": 29.0})

    def next_click_has_the_new_price() -> bool:
        later = event("shopper", "/products/item-7")
        assert system.post("/v1/events", later)[0] == 202
        return arrive(system, later["event_id"])[0]["joins"]["product"]["price"] == 29.0

    wait_for(next_click_has_the_new_price, "the new price shows", *system.processes)


def test_what_validate_foretells_is_what_the_stores_then_hold(system: System) -> None:
    page = "/products/item-7?utm_source=News&utm_medium=email"
    sent = event("tried", page, referrer="https://www.google.com/")
    status, verdict = system.post("/v1/validate", sent)
    assert (status, verdict["status"]) == (200, 202)
    [told] = verdict["events"]
    assert system.post("/v1/events", sent)[0] == 202
    document, row = arrive(system, sent["event_id"])
    assert len(stored(system, sent["event_id"])[1]) == 1, "the validation left none behind"
    same = ["page_path", "page_category", "page_host", "bot", "browser", "os", "device", "medium", "referrer_host",
            "referrer_source", "campaign_source", "campaign_medium", "late", "country"]  # fmt: skip
    found = told["enriched"]["fields"]
    assert {name: document.get(name) for name in same} == {name: found[name] for name in same}
    assert {name: row[name] for name in same} == {name: found[name] for name in same}
    assert document["storage_day"] == found["storage_day"]
    assert told["enriched"]["join_keys"] == [{"join": "product", "key": "item-7"}]
    assert set(document["joins"]) == {"product"}


def test_a_visit_becomes_one_session_with_its_duration_and_the_funnel_in_both_stores(system: System) -> None:
    start = datetime.now(UTC) - timedelta(minutes=5)
    pages = ["/", "/products", "/products/item-7", "/cart", "/checkout"]
    visit = [event("visitor", page, start + timedelta(seconds=30 * n)) for n, page in enumerate(pages)]
    assert system.post("/v1/events/batch", {"events": visit}) == (202, {"accepted": 5, "rejected": []})
    for sent in visit:
        arrive(system, sent["event_id"])
    query = "SELECT * FROM {s}.sessions WHERE user_id = 'visitor'"
    wait_for(
        lambda: [r["events"] for r in system.stores.sql(query)] == [5], "the session in PostgreSQL", *system.processes
    )
    (row,) = system.stores.sql(query)
    assert row["duration"] == timedelta(seconds=120)
    assert (row["page_views"], row["entry_page"], row["exit_page"], row["funnels"]) == (
        5,
        "/",
        "/checkout",
        {"checkout": 3},
    )
    wait_for(
        lambda: [d["events"] for d in system.stores.sessions_es() if d["user_id"] == "visitor"] == [5],
        "the session in Elasticsearch",
        *system.processes,
    )
    (document,) = [d for d in system.stores.sessions_es() if d["user_id"] == "visitor"]
    assert (document["id"], document["duration"], document["funnels"]) == (row["session_id"], 120_000, {"checkout": 3})
    assert {stored(system, sent["event_id"])[1][0]["session_id"] for sent in visit} == {row["session_id"]}


def test_a_retry_across_midnight_a_restart_and_past_the_dedup_horizon_still_gives_one_row(system: System) -> None:
    # By its own clock it happened just before midnight; it is tried again after a restart of everything, when its
    # session and the memory of its id are long gone.
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    sent = event("retrier", "/", midnight - timedelta(milliseconds=400))
    system.post("/v1/events/batch", {"events": [sent], "sent_at": (midnight - timedelta(milliseconds=200)).isoformat()})
    before = arrive(system, sent["event_id"])
    first = before[1]["event_time"]
    # Everybody's clicks go on for hours of event time: the horizon passes on every partition.
    later = [event(f"crowd-{n}", "/", datetime.now(UTC) - timedelta(seconds=1)) for n in range(60)]
    assert system.post("/v1/events/batch", {"events": later})[0] == 202
    for other in later:
        arrive(system, other["event_id"])
    for process in (system.enricher, system.elasticsearch, system.postgres):
        assert process.stop() == 0
        process.start()
    status, _ = system.post(
        "/v1/events/batch", {"events": [sent], "sent_at": (midnight + timedelta(milliseconds=300)).isoformat()}
    )
    assert status == 202
    last = event("retrier", "/after")
    assert system.post("/v1/events", last)[0] == 202
    arrive(system, last["event_id"])  # same user, same partition: the retry has been through
    document, row = arrive(system, sent["event_id"])
    assert row["event_time"] == first, "the first one stands"
    assert document["storage_day"] == (midnight - timedelta(days=1)).date().isoformat()


def test_the_slis_tell_what_a_known_run_did(system: System) -> None:
    def api(name: str, **labels: str) -> float:
        return total(system.api.get("/metrics", ops=True)[1], name, **labels)

    sinks = {"elasticsearch": system.elasticsearch, "postgres": system.postgres}

    def stored_clicks(sink: str) -> float:
        return sinks[sink].metric("clickstream_events_stored_total", kind="click")

    accepted, rejected = api("clickstream_events_accepted_total"), api("clickstream_events_rejected_total")
    dead = api("clickstream_dead_letters_total")
    duplicates = system.enricher.metric("clickstream_events_duplicate_total")
    late = system.enricher.metric("clickstream_events_late_total")
    before = {sink: stored_clicks(sink) for sink in sinks}
    latencies = {sink: process.metric("clickstream_click_to_store_seconds_count") for sink, process in sinks.items()}
    good = [event("counted", f"/page-{n}") for n in range(10)]
    ancient = event("ancient", "/old", datetime.now(UTC) - timedelta(days=20))
    bad = [event("counted", ""), event("counted", "/x", timestamp="yesterday")]
    del bad[0]["user_id"]
    status, answer = system.post("/v1/events/batch", {"events": [*good, ancient, *bad, good[0]]})
    assert (status, answer["accepted"]) == (202, 12)
    assert {(r["index"], r["code"]) for r in answer["rejected"]} == {(11, "missing_field"), (12, "bad_timestamp")}
    for sent in [*good, ancient]:
        arrive(system, sent["event_id"])
    assert api("clickstream_events_accepted_total", source="web") - accepted == 12
    assert api("clickstream_events_rejected_total") - rejected == 2
    assert api("clickstream_events_rejected_total", code="bad_timestamp") >= 1
    assert api("clickstream_dead_letters_total", stage="collect") - dead == 2
    assert system.enricher.metric("clickstream_events_duplicate_total") - duplicates == 1
    assert system.enricher.metric("clickstream_events_late_total") - late == 1
    for sink, process in sinks.items():
        wait_for(lambda sink=sink: stored_clicks(sink) - before[sink] == 11, f"{sink} counts", process)  # type: ignore[misc]
        assert process.metric("clickstream_click_to_store_seconds_count") - latencies[sink] == 11
        wait_for(lambda process=process: process.metric("clickstream_consumer_lag_records") == 0, "no lag", process)  # type: ignore[misc]
        assert process.metric("clickstream_consumer_lag_seconds") == 0
    assert system.enricher.metric("clickstream_consumer_lag_records") == 0


def test_sessions_in_both_stores_equal_the_oracle(
    new_pipeline: Callable[..., Pipeline], tmp_path_factory: pytest.TempPathFactory
) -> None:
    pipeline = new_pipeline()
    system = System(pipeline, tmp_path_factory.mktemp("oracle"))
    try:
        traffic = clicks(6_000, seed=21, users=150)
        feed(pipeline.kafka.bootstrap_servers, pipeline.names.raw_clicks, traffic)
        distinct = len({click.event_id for click in traffic})
        system.wait_stored(distinct)
        expected = sort_and_cut(traffic)

        def in_postgres() -> set[tuple[object, ...]]:
            return {
                (
                    r["user_id"],
                    int(r["started_at"].timestamp() * 1_000),
                    int(r["ended_at"].timestamp() * 1_000),
                    r["events"],
                    r["page_views"],
                    r["funnels"]["checkout"],
                )
                for r in system.stores.sql("SELECT * FROM {s}.sessions")
            }

        def in_elasticsearch() -> set[tuple[object, ...]]:
            return {
                (d["user_id"], d["start"], d["end"], d["events"], d["page_views"], d["funnels"]["checkout"])
                for d in system.stores.sessions_es()
            }

        wait_for(lambda: in_postgres() == expected, "sessions in PostgreSQL", *system.processes)
        wait_for(lambda: in_elasticsearch() == expected, "sessions in Elasticsearch", *system.processes)
        # Grouping the stored clicks by their resolved session says the same.
        recomputed = system.stores.sql(
            "SELECT count(*) AS n FROM (SELECT resolved_session_id, count(*) AS events, min(event_time) AS first,"
            " max(event_time) AS last FROM {s}.clicks_with_session WHERE resolved_session_id IS NOT NULL GROUP BY 1) c"
            " JOIN {s}.sessions s ON s.session_id = c.resolved_session_id AND s.events = c.events"
            " AND s.started_at = c.first AND s.ended_at = c.last"
        )
        assert recomputed[0]["n"] == len(expected)
        assert count(pipeline.kafka.bootstrap_servers, pipeline.names.dead_letters) == 0
    finally:
        system.close()
