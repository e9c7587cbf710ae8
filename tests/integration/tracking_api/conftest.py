"""A real tracking API as a process, a client that can send anything, and readers of what reached Kafka."""

from __future__ import annotations

import http.client
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from clickstream.contracts.clicks import Click, decode_click
from clickstream.contracts.dead_letters import BadRow, bad_row
from clickstream.contracts.pipeline import Pipeline, dump_pipeline, parse_pipeline
from clickstream.contracts.topics import topics_of
from clickstream.setup.topics import TopicAdmin
from devstack import Stack
from support.processes import Process, clickstream
from support.topics import end_offsets
from support.waiting import until

KEY = "wk-web"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return msgspec.json.decode(self.body)


class RunningApi(Process):
    """One tracking API process; `output` is all that it has logged."""

    def __init__(
        self, pipeline: Pipeline, folder: Path, env: dict[str, str] | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.pipeline = pipeline
        document = folder / "pipeline.json"
        document.write_bytes(dump_pipeline(pipeline))
        command = clickstream("tracking-api", "--pipeline", str(document), "--host", host, "--port", "0")
        command += ["--port-file", "{port_file}", "--ops-port-file", "{ops_port_file}"]
        super().__init__("api", command, folder, {"CLICKSTREAM_DRAIN_SECONDS": "0"} | (env or {}))
        wait_until(lambda: self.port, 120, lambda: self.output, lambda: self.popen.poll() is None)

    @property
    def output(self) -> str:
        return self.log.read_text()

    def request(self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, target, body or None, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(self, body: object, target: str = "/v1/events", **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        given = {"X-Write-Key": KEY, "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", target, raw, given)

    def raw(self, data: bytes, seconds: float = 15) -> bytes:
        """Everything that comes back for these bytes until the API closes the connection or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(data)
            received = b""
            while True:
                try:
                    chunk = connection.recv(65_536)
                except (TimeoutError, ConnectionResetError):
                    return received
                if not chunk:
                    return received
                received += chunk

    def metrics(self) -> dict[str, float]:
        lines = self.get("/metrics", ops=True)[1].splitlines()
        return {name: float(value) for name, _, value in (x.rpartition(" ") for x in lines if not x.startswith("#"))}


class Reader:
    """Reads a topic on from where it stopped; at first from its beginning."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        config = {"bootstrap.servers": bootstrap_servers, "group.id": "reader", "enable.auto.commit": False}
        config |= {"fetch.wait.max.ms": 20, "fetch.error.backoff.ms": 20}
        self._consumer = Consumer(config)
        partitions = self._consumer.list_topics(topic, timeout=20).topics[topic].partitions
        self._positions = dict.fromkeys(partitions, 0)
        self._topic = topic

    def new(self) -> list[Message]:
        """The records that were not read yet and are in the topic now."""
        ends = {number: high for number, (_, high) in end_offsets(self._consumer, self._topic).items()}
        missing = sum(ends[number] - position for number, position in self._positions.items())
        if not missing:
            return []
        self._consumer.assign([TopicPartition(self._topic, n, at) for n, at in self._positions.items()])
        found: list[Message] = []
        deadline = time.monotonic() + 30
        while len(found) < missing:
            assert time.monotonic() < deadline, f"{len(found)} of {missing} records of {self._topic} could be read"
            found += [message for message in self._consumer.consume(missing - len(found), 0.1) if not message.error()]
        self._positions = ends
        return found

    def clicks(self) -> list[Click]:
        decoded = [decode_click(message.value(), 0) for message in self.new()]
        assert all(isinstance(click, Click) for click in decoded), decoded
        return decoded

    def letters(self) -> list[BadRow]:
        return [bad_row(message.value(), message.headers()) for message in self.new()]

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture(scope="session")
def event() -> Callable[..., dict[str, object]]:
    """Makes good events; a field that is given as ... is left out."""
    return _event


def _event(**changes: object) -> dict[str, object]:
    fields = {
        "event_id": f"e-{next(_numbers)}",
        "timestamp": "2026-01-31T08:30:00.000Z",
        "user_id": "u-1",
        "session_id": "s-1",
        "page": "https://shop.example/products/item-7",
    } | changes
    return {name: value for name, value in fields.items() if value is not ...}


def wait_until(
    condition: Callable[[], bool],
    seconds: float,
    explain: Callable[[], str] = lambda: "",
    possible: Callable[[], bool] = lambda: True,
) -> None:
    """`until`, unless it can never be."""
    until(lambda: condition() or not possible(), "", seconds, explain=explain, every=0.02)
    assert possible(), f"can never be\n{explain()}"


def make_pipeline(stack: Stack, **members: object) -> Pipeline:
    document = {
        "namespace": "it",
        "name": f"api-{os.getpid()}-{next(_numbers)}",
        "kafka": stack.kafka.member(),
        "sources": [
            {"name": "web", "writeKey": KEY, "allowedOrigins": ["https://shop.example"]},
            {"name": "any", "writeKey": "wk-any", "allowedOrigins": ["*"]},
            {"name": "server", "writeKey": "wk-server"},
        ],
    } | members
    pipeline = parse_pipeline(msgspec.json.encode(document))
    TopicAdmin(pipeline.kafka).create(topics_of(pipeline))
    return pipeline


@pytest.fixture(scope="module")
def start_api(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningApi]]:
    """Starts tracking APIs on pipelines of their own: members of the document and `env` as arguments."""
    running: list[RunningApi] = []

    def start(
        env: dict[str, str] | None = None, servers: Stack | None = None, host: str = "127.0.0.1", **members: object
    ) -> RunningApi:
        pipeline = make_pipeline(servers or stack, **members)
        running.append(RunningApi(pipeline, tmp_path_factory.mktemp("api"), env, host))
        return running[-1]

    yield start
    for api in running:
        api.stop()


@pytest.fixture(scope="module")
def api(start_api: Callable[..., RunningApi]) -> RunningApi:
    """One tracking API for the tests of a module."""
    return start_api()


@pytest.fixture(scope="module")
def read() -> Iterator[Callable[..., Reader]]:
    """Makes readers of an API's topics."""
    readers: list[Reader] = []

    def make(api: RunningApi, topic: str) -> Reader:
        names = api.pipeline.names
        readers.append(Reader(api.pipeline.kafka.bootstrap_servers, getattr(names, topic)))
        return readers[-1]

    yield make
    for reader in readers:
        reader.close()


@pytest.fixture(scope="module")
def readers(api: RunningApi, read: Callable[..., Reader]) -> tuple[Reader, Reader]:
    """Readers of the dead letters and clicks of `api`."""
    return read(api, "dead_letters"), read(api, "raw_clicks")


@pytest.fixture
def letters(readers: tuple[Reader, Reader]) -> Reader:
    """Reads the dead letters of `api` that are written in this test."""
    readers[0].new()
    return readers[0]


@pytest.fixture
def clicks(readers: tuple[Reader, Reader]) -> Reader:
    """Reads the clicks of `api` that are written in this test."""
    readers[1].new()
    return readers[1]
