"""The real servers: up, restart, kill, down. One stack of its own for the whole module."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from confluent_kafka import Consumer, Producer

from clickstream.contracts.pipeline import Kafka
from clickstream.contracts.topics import Topic
from clickstream.setup.topics import TopicAdmin
from devstack import SERVICES, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def only_our_own() -> Iterator[None]:
    """This module is about servers of ours, whatever the rest of the run uses."""
    with pytest.MonkeyPatch.context() as patch:
        for name in SERVICES:
            patch.delenv(f"DEVSTACK_{name.upper()}", raising=False)
        yield


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, only_our_own: None) -> Iterator[Stack]:
    stack = Stack.up(home=tmp_path_factory.mktemp("stack"), progress=print)
    yield stack
    stack.down(wipe=True)
    assert [each.state for each in stack.status()] == ["absent"] * 3


def produce(stack: Stack, topic: str, *values: str) -> None:
    failures: list[object] = []
    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap_servers, "acks": "all"})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(30) == 0
    assert failures == []


def consume(stack: Stack, topic: str, count: int) -> set[str]:
    consumer = Consumer(
        {
            "bootstrap.servers": stack.kafka.bootstrap_servers,
            "group.id": f"test-{uuid.uuid4()}",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    found: set[str] = set()
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            found.add(message.value().decode())
    consumer.close()
    return found


def search(stack: Stack, method: str, path: str, body: object = None) -> dict[str, object]:
    request = urllib.request.Request(
        stack.elasticsearch.url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        found: dict[str, object] = json.load(response)
    return found


def query(stack: Stack, text: str) -> list[tuple[object, ...]]:
    with psycopg.connect(stack.postgres.dsn) as connection:
        cursor = connection.execute(text)
        return cursor.fetchall() if cursor.description else []


def command(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "devstack", "--home", home, *arguments], capture_output=True, text=True, check=False
    )


def test_all_three_are_up_and_another_up_keeps_them(stack: Stack) -> None:
    before = {server.name: server.pid for server in stack.servers}
    assert all(before.values())

    again = Stack.up(home=stack.settings.home)

    assert {server.name: server.pid for server in again.servers} == before
    assert again.kafka.bootstrap_servers == stack.kafka.bootstrap_servers


def test_the_command_line_sees_the_same_servers(stack: Stack) -> None:
    home = stack.settings.home
    status = command("status", "--json", home=home)
    assert status.returncode == 0, status.stderr
    found = json.loads(status.stdout)
    assert {name: (each["state"], each["pid"]) for name, each in found.items()} == {
        server.name: ("running", server.pid) for server in stack.servers
    }
    assert command("env", home=home).stdout.splitlines() == [
        f"export KAFKA_BOOTSTRAP_SERVERS={stack.kafka.bootstrap_servers}",
        f"export ELASTICSEARCH_URL={stack.elasticsearch.url}",
        f"export POSTGRES_DSN={stack.postgres.dsn}",
    ]
    assert "ready to accept connections" in command("logs", "postgres", home=home).stdout


def test_kafka_keeps_what_it_acknowledged_when_it_is_killed(stack: Stack) -> None:
    TopicAdmin(Kafka(stack.kafka.bootstrap_servers)).create([Topic("kept", 2, 1)])
    produce(stack, "kept", "a", "b")
    address, pid = stack.kafka.bootstrap_servers, stack.kafka.pid

    stack.kafka.kill()
    assert stack.kafka.pid is None
    assert stack.kafka.status().detail == ""
    stack.kafka.start()

    assert stack.kafka.bootstrap_servers == address
    assert stack.kafka.pid != pid
    produce(stack, "kept", "c")
    assert consume(stack, "kept", 3) == {"a", "b", "c"}


def test_elasticsearch_keeps_its_documents_over_a_restart(stack: Stack) -> None:
    document = "/clicks/_create/event-1?refresh=true"
    assert search(stack, "PUT", document, {"page": "/", "at": "2025-01-01T00:00:00Z"})["result"] == "created"
    address = stack.elasticsearch.url

    stack.elasticsearch.stop()
    assert stack.elasticsearch.status().state == "stopped"
    stack.elasticsearch.start()

    assert stack.elasticsearch.url == address
    assert search(stack, "GET", "/clicks/_count")["count"] == 1


def test_postgres_keeps_what_it_committed_when_it_is_killed(stack: Stack) -> None:
    query(stack, "CREATE TABLE kept AS SELECT 1 AS number")
    dsn = stack.postgres.dsn

    stack.postgres.kill()
    stack.postgres.start()

    assert stack.postgres.dsn == dsn
    assert query(stack, "SELECT number FROM kept") == [(1,)]


def test_postgres_stops_fast_with_clients_connected(stack: Stack) -> None:
    with psycopg.connect(stack.postgres.dsn) as connection:
        connection.execute("SELECT 1")
        began = time.monotonic()
        stack.postgres.stop()
        assert time.monotonic() - began < 10
        connection.close()
    stack.postgres.start()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc for the owner of a process")
def test_postgres_never_runs_as_root_and_keeps_its_promises(stack: Stack) -> None:
    pid = stack.postgres.pid
    assert pid is not None
    assert Path(f"/proc/{pid}").stat().st_uid != 0
    names = ("fsync", "synchronous_commit", "max_connections", "timezone", "server_encoding")
    found = {name: query(stack, f"SHOW {name}")[0][0] for name in names}
    assert found == {
        "fsync": "on",
        "synchronous_commit": "on",
        "max_connections": "100",
        "timezone": "UTC",
        "server_encoding": "UTF8",
    }


def test_two_homes_live_side_by_side_and_wiping_one_leaves_the_other(stack: Stack, tmp_path: Path) -> None:
    query(stack, "CREATE TABLE mine AS SELECT 'first' AS owner")
    # So deep that a Unix socket's path would be too long in it.
    home = tmp_path / ("deep" * 12) / ("deeper" * 12)
    with Stack.up(home=home, services=("postgres",)) as other:
        assert other.postgres.dsn != stack.postgres.dsn
        query(other, "CREATE TABLE mine AS SELECT 'second' AS owner")
        data = other.postgres.data_folder()
        other.down(wipe=True)
        assert not data.exists()
        other.start()
        assert query(other, "SELECT to_regclass('mine')") == [(None,)]
        other.down(wipe=True)
    assert query(stack, "SELECT owner FROM mine") == [("first",)]


def test_a_failing_up_leaves_no_orphan_and_keeps_what_ran_before(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVSTACK_KAFKA", "127.0.0.1:1")
    done = command("up", "kafka", "postgres", home=tmp_path)
    assert done.returncode == 1
    assert "DEVSTACK_KAFKA does not work" in done.stderr
    found = json.loads(command("status", "--json", home=tmp_path).stdout)
    assert found["postgres"]["pid"] is None
    assert command("down", "--wipe", home=tmp_path).returncode == 0

    kept = stack.postgres.pid
    assert command("up", "kafka", "postgres", home=stack.settings.home).returncode == 1
    assert stack.postgres.pid == kept


def test_an_interrupted_up_leaves_no_orphan(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "devstack", "--home", tmp_path, "up", "kafka"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "waiting for its health" in line:
                child.terminate()
        assert child.wait(60) == 130
    assert json.loads((tmp_path / "state.json").read_text())["services"]["kafka"]["process"] is None
