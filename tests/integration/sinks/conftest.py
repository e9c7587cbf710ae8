"""What the tests of the sinks share: records for the topics, sink processes, and eyes on both stores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from clickstream.contracts.clicks import EnrichedClick, encode_enriched
from clickstream.contracts.dead_letters import BadRow, bad_row
from clickstream.contracts.pipeline import Pipeline, dump_pipeline
from clickstream.contracts.session_records import Retraction, Session, encode_session
from clickstream.contracts.times import iso_day
from clickstream.runtime.kafka import producer_config
from clickstream.setup.main import set_up
from clickstream.sinks.main import make_sink
from clickstream.sinks.postgres import installation
from clickstream.sinks.postgres.connection import connect
from clickstream.sinks.records import Record, StoredClick
from clickstream.sinks.sink import Sink
from devstack.logs import tail
from support.elasticsearch import patient
from support.processes import Process, clickstream
from support.topics import end_offsets
from support.waiting import until as support_until

DAY_MS = 86_400_000


def wait_until(condition: Callable[[], Any], seconds: float = 60, what: str = "", log: Path | None = None) -> Any:
    """`until`, with the end of a log when it is in vain."""
    return support_until(condition, what, seconds, explain=lambda: "" if log is None else tail(log, 60))


class Feed:
    """The pipeline's topics, as the enricher writes them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.names = pipeline, pipeline.names
        self.producer = Producer(
            producer_config(pipeline.kafka, "test-feed", idempotent=True) | {"queue.buffering.max.messages": 1_000_000}
        )

    def clicks(self, clicks: list[EnrichedClick], headers: list | None = None) -> None:
        for click in clicks:
            self.raw(self.names.enriched_clicks, click.user_id, encode_enriched(click), headers)
        self.producer.flush()

    def session(self, session: Session | Retraction) -> None:
        if isinstance(session, Retraction):
            self.raw(self.names.sessions, session.id, None, session.headers())
        else:
            self.raw(self.names.sessions, session.id, encode_session(session))
        self.producer.flush()

    def raw(self, topic: str, key: str, value: bytes | None, headers: list | None = None) -> None:
        while True:
            try:
                self.producer.produce(topic, value, key, headers=headers)
            except BufferError:
                self.producer.poll(0.1)
            else:
                self.producer.poll(0)
                return

    def committed(self, store: str) -> dict[tuple[str, int], tuple[int, int]]:
        """(committed offset, end offset) of each partition for a sink's group."""
        consumer = self._consumer(self.names.sink_group(store))
        try:
            found = {}
            for topic in (self.names.enriched_clicks, self.names.sessions):
                count = len(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
                partitions = consumer.committed([TopicPartition(topic, number) for number in range(count)], timeout=10)
                ends = end_offsets(consumer, topic)
                found |= {
                    (topic, each.partition): (max(each.offset, 0), ends[each.partition][1]) for each in partitions
                }
            return found
        finally:
            consumer.close()

    def settled(self, store: str) -> bool:
        """Whether the sink has committed everything that is on its topics."""
        return all(committed == end for committed, end in self.committed(store).values())

    def dead_letters(self) -> list[BadRow]:
        consumer = self._consumer("test-dead-letters")
        try:
            topic = self.names.dead_letters
            found = []
            for number, (low, high) in end_offsets(consumer, topic).items():
                consumer.assign([TopicPartition(topic, number, low)])
                for _ in range(high - low):
                    message = consumer.poll(10)
                    assert message is not None
                    assert message.error() is None
                    found.append(bad_row(message.value(), message.headers()))
            return found
        finally:
            consumer.close()

    def _consumer(self, group: str) -> Consumer:
        servers = self.pipeline.kafka.bootstrap_servers
        return Consumer({"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False})


class SinkProcess(Process):
    """One `clickstream sink` process."""

    def __init__(self, store: str, pipeline_file: Path, folder: Path, number: int, env: dict[str, str]) -> None:
        self.store = store
        command = clickstream("sink", store, "--pipeline", str(pipeline_file), "--ops-port-file", "{ops_port_file}")
        super().__init__(f"sink-{store}-{number}", command, folder, env)

    def get(self, path: str, timeout: float = 10.0, *, ops: bool = False) -> tuple[int, str]:
        wait_until(lambda: self.port, 30, "port", self.log)
        return super().get(path, timeout, ops=ops)


class Stores:
    """What analysts would see."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.names = pipeline, pipeline.names
        self.es = patient(pipeline.sinks.elasticsearch.url)

    def set_up(self, *stores: str) -> None:
        for store in stores or ("elasticsearch", "postgres"):
            set_up(store, self.pipeline, "install", 60, print)

    def sql(self, query: str, *parameters: Any) -> list[tuple]:
        with psycopg.connect(self.pipeline.sinks.postgres.dsn, autocommit=True) as connection:
            connection.execute(f'SET search_path TO "{self.names.schema}"')
            connection.execute("SET timezone TO 'UTC'")
            cursor = connection.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def search(self, index: str, **body: Any) -> list[dict]:
        """Whole hits, up to 10,000."""
        self.es.indices.refresh(index=index, ignore_unavailable=True)
        return self.es.search(index=index, ignore_unavailable=True, size=10_000, **body).body["hits"]["hits"]

    def event_ids(self, store: str) -> list[str]:
        """Sorted, doubles included."""
        if store == "postgres":
            return sorted(row[0] for row in self.sql("SELECT event_id FROM clicks"))
        alias = self.names.clicks_alias
        self.es.indices.refresh(index=alias, ignore_unavailable=True)
        found: list[str] = []
        after: list | None = None
        while True:
            extra = {} if after is None else {"search_after": after}
            sort = [{"event_id": "asc"}, {"_index": "asc"}]
            answer = self.es.search(index=alias, size=10_000, sort=sort, source=False, ignore_unavailable=True, **extra)
            hits = answer.body["hits"]["hits"]
            if not hits:
                return sorted(found)
            found += [hit["sort"][0] for hit in hits]
            after = hits[-1]["sort"]

    def sessions(self, store: str) -> dict[str, int]:
        """Version by id of the sessions that stand."""
        if store == "postgres":
            return dict(self.sql("SELECT session_id, version FROM sessions"))
        return {hit["_id"]: hit["_source"]["version"] for hit in self.search(self.names.sessions_alias)}


@pytest.fixture
def feed(pipeline: Pipeline) -> Feed:
    return Feed(pipeline)


@pytest.fixture
def feed_of() -> Callable[[Pipeline], Feed]:
    return Feed


@pytest.fixture
def stores(pipeline: Pipeline) -> Iterator[Stores]:
    seen = Stores(pipeline)
    yield seen
    seen.es.close()


@pytest.fixture
def stores_of() -> Callable[[Pipeline], Stores]:
    return Stores


@pytest.fixture
def start_sink(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., SinkProcess]]:
    started: list[SinkProcess] = []

    def start(store: str, pipeline: Pipeline, **env: str) -> SinkProcess:
        path = tmp_path / "pipeline-of-sink.json"
        path.write_bytes(dump_pipeline(pipeline))
        process = SinkProcess(store, path, tmp_path, len(started), env)
        started.append(process)
        process.wait_ready()
        return process

    yield start
    for process in started:
        if process.popen.poll() is None:
            process.kill()


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def make_click() -> Callable[..., EnrichedClick]:
    """A click of now, unless told otherwise; its storage day follows its timestamp, and is one of its receipt's."""

    def make(event_id: str, **members: Any) -> EnrichedClick:
        now = int(time.time() * 1_000)
        at = members.get("event_time", members.get("timestamp", now))
        said = members.get("timestamp", at)
        whole = {
            "event_id": event_id,
            "timestamp": at,
            "event_time": at,
            "received_at": now if "storage_day" in members or abs(now - said) < 29 * DAY_MS else said,
            "storage_day": iso_day(said),
            "user_id": "user-1",
            "client_session_id": "tab-1",
            "page": "https://shop.example/products/item-7",
            "page_path": "/products/item-7",
            "page_category": "product",
            "session": "2026-01-01-s1",
        } | members
        return msgspec.convert(whole, EnrichedClick)

    return make


@pytest.fixture
def make_session() -> Callable[..., Session]:
    def make(session_id: str, version: int, **members: Any) -> Session:
        whole = {
            "id": session_id,
            "user_id": "user-1",
            "storage_day": session_id.rpartition("-")[0],
            "start": 1_767_261_600_000,
            "end": 1_767_261_660_000,
            "version": version,
            "events": 2,
            "page_views": 2,
            "entry_page": "/",
            "exit_page": "/checkout",
            "medium": "direct",
            "device": "desktop",
        } | members
        return msgspec.convert(whole, Session)

    return make


@pytest.fixture
def open_sink(pipeline: Pipeline, stores: Stores) -> Iterator[Callable[..., Sink]]:
    """A sink in this process, its store set up: for what does not depend on Kafka."""
    opened: list[Sink] = []

    def make(store: str) -> Sink:
        stores.set_up(store)
        opened.append(make_sink(store, pipeline))
        return opened[-1]

    yield make
    for sink in opened:
        sink.close()


@pytest.fixture
def install_release(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Brings the schema to an older version, with nothing that came after that migration."""

    def install(version: int) -> None:
        whole = installation.migrations()
        with monkeypatch.context() as before, connect(pipeline.sinks.postgres, pipeline.names.schema, "setup") as to:
            before.setattr(installation, "migrations", lambda: whole[:version])
            before.setattr(installation, "backfill", lambda *_: None)
            installation.install(to, pipeline, print)

    return install


@pytest.fixture
def records() -> Callable[..., list[Record]]:
    """Records of clicks, sessions and retractions, as the loop hands them to a sink."""

    def make(*contents: EnrichedClick | Session | Retraction, time_ms: int | None = None) -> list[Record]:
        now = int(time.time() * 1_000) if time_ms is None else time_ms
        made = []
        for offset, content in enumerate(contents):
            if isinstance(content, EnrichedClick):
                value = encode_enriched(content)
                made.append(Record(msgspec.json.decode(value, type=StoredClick), ("clicks", 0), offset, value, now))
            else:
                value = b"" if isinstance(content, Retraction) else encode_session(content)
                made.append(Record(content, ("sessions", 0), offset, value, now))
        return made

    return make
