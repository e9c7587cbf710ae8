"""What must not be stored is planted at every door, and looked for wherever the platform writes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from confluent_kafka import Consumer, TopicPartition

from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.topics import topics_of
from clickstream.runtime.kafka import reader_config
from support.collector import Collector
from support.processes import wait_for
from support.stores import Stores
from support.system import System

TOKEN, NAME, ADDRESS = "s3cr3t-planted", "jane.planted", "203.0.113.77"
URL = f"https://shop.example/account/{NAME}@planted.example?token={TOKEN}&e-mail={NAME}%40planted.example&color=red"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.6099.71 Safari/537.36"
CUT, NONE = {}, {"keepIp": False, "reduceUserAgent": True}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def event(number: str, **members: Any) -> dict[str, Any]:
    return {
        "event_id": number,
        "timestamp": "2026-01-31T08:30:00Z",
        "user_id": "u",
        "session_id": "s",
        "page": URL,
        "referrer": URL,
        "title": f"Account of {NAME}@planted.example",
        "ip": ADDRESS,
        "properties": {"link": URL, "next": f"/login?next={quote(URL, safe='')}"},
        "unknown": {"url": URL},
    } | members


def call(number: str, **members: Any) -> dict[str, Any]:
    about = {
        "page": {"url": URL, "referrer": URL, "search": "?" + URL.partition("?")[2]},
        "ip": ADDRESS,
        "x": {"u": URL},
    }
    return {"type": "page", "messageId": number, "userId": "u", "context": about, "properties": {"url": URL}} | members


def send(url: str, path: str, body: bytes | None = None) -> int:
    """The status of a request of a browser behind a proxy."""
    headers = {
        "Content-Type": "application/json",
        "X-Forwarded-For": ADDRESS,
        "User-Agent": AGENT,
        "X-Write-Key": "test-write-key",
    }
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, body, headers), timeout=15) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def plant(url: str) -> tuple[int, int]:
    """Send clicks and events that are refused through every door; how many of each."""
    bad = {"event_id": None, "title": None}  # of what is refused, texts that are no URLs are kept
    pixel = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in event("pixel").items()}
    doors = {
        "/v1/events": json.dumps(event("one")).encode(),
        "/v1/events/batch": json.dumps({"events": [event("two"), event("three")]}).replace("&", "\\u0026").encode(),
        "/v1/page": json.dumps(call("four")).encode(),
        "/v1/batch": json.dumps({"batch": [call("five")]}).replace("/", "\\/").encode(),
        f"/v1/pixel.gif?key=test-write-key&{urlencode(pixel)}": None,
    }
    assert {send(url, path, body) for path, body in doors.items()} <= {200, 202}
    refused = {
        "/v1/events": json.dumps(event("", **bad)).encode(),
        "/v1/events/batch": json.dumps({"events": [event("", **bad), "x"]}).replace("&", "\\u0026").encode(),
        "/v1/page": json.dumps(call("six", context={**call("")["context"], "sessionId": ["x"]})).encode(),
        "/v1/batch": json.dumps({"batch": [call("seven", type=URL)]}).replace("/", "\\/").encode(),
        f"/v1/pixel.gif?key=test-write-key&{urlencode({**pixel, 'event_id': '', 'title': ''})}": None,
    }
    for path, body in refused.items():
        send(url, path, body)
    send(url, "/v1/events", b"no JSON " + json.dumps(event("", **bad)).encode())
    return 6, 7


def on_topics(pipeline: Pipeline) -> bytes:
    """Keys, values and headers of every record of the pipeline."""
    consumer = Consumer(reader_config(pipeline.kafka, "planted"))
    found: list[bytes] = []
    try:
        for topic in topics_of(pipeline):
            for number in consumer.list_topics(topic.name, timeout=10).topics[topic.name].partitions:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic.name, number), timeout=10)
                consumer.assign([TopicPartition(topic.name, number, low)])
                while low < high:
                    for message in consumer.consume(500, timeout=0.2):
                        if message.error() is None:
                            low = message.offset() + 1
                            found += [repr(message.headers()).encode(), message.key() or b"", message.value() or b""]
    finally:
        consumer.close()
    return b"\n".join(found)


def in_postgres(stores: Stores) -> bytes:
    tables = stores.sql(
        "SELECT table_name AS t FROM information_schema.tables WHERE table_schema = %s", stores.names.schema
    )
    rows = [row for table in tables for row in stores.sql(f'SELECT x::text AS r FROM {{s}}."{table["t"]}" x')]
    return "\n".join(row["r"] for row in rows).encode()


def in_elasticsearch(stores: Stores) -> bytes:
    names = stores.names
    return json.dumps([stores.documents(alias) for alias in (names.clicks_alias, names.sessions_alias)]).encode()


def around(word: str, place: str, text: bytes) -> list[str]:
    """Where it stands, and what is beside it."""
    at = text.find(word.encode())
    return [] if at < 0 else [f"{place}: {text[max(0, at - 150) : at + 50]!r}"]


@pytest.mark.parametrize("privacy", [CUT, NONE], ids=["as it is", "no address, reduced user agent"])
def test_nothing_that_was_planted_is_stored_logged_or_traced(
    privacy: dict[str, Any], new_pipeline: Callable[..., Pipeline], collector: Collector, tmp_path: Path
) -> None:
    tracking = {"trustedProxies": ["127.0.0.1"], "privacy": privacy}
    pipeline = new_pipeline(trackingApi=tracking)
    system = System(pipeline, tmp_path, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    try:
        clicks, letters = plant(system.url)
        system.wait_stored(clicks)
        rejected = "clickstream_dead_letters_total"
        wait_for(lambda: system.api.metric(rejected) == letters, f"{letters} dead letters", system.api)
        metrics = "".join(process.get("/metrics", ops=True)[1] for process in system.processes)
        found = {
            "Kafka": on_topics(pipeline),
            "PostgreSQL": in_postgres(system.stores),
            "Elasticsearch": in_elasticsearch(system.stores),
            "metrics": metrics.encode(),
        }
        assert [process.stop() for process in system.processes] == [0] * 4
        found["traces"] = bytes(collector.taken)
        found["logs"] = b"".join(process.log.read_bytes() for process in system.processes)
    finally:
        system.close()
    for store in ("Kafka", "PostgreSQL", "Elasticsearch"):
        assert b"color=red" in found[store], "what was not planted is there"
        assert b"planted.example" in found[store]
        assert (b"203.0.113.0" in found[store]) is (privacy is CUT)
        assert (b"120.0.6099" in found[store]) is (privacy is CUT)
    assert found["traces"]
    planted = [TOKEN, NAME, ADDRESS] + (["203.0.113."] if privacy is NONE else [])
    assert [where for place, text in found.items() for word in planted for where in around(word, place, text)] == []
