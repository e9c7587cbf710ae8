"""Kafka's documented ACLs: enough for each process, none of them too much, and one that is missing is named."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime

import msgspec
import pytest
from confluent_kafka import Producer

from clickstream.contracts.pipeline import parse_pipeline
from clickstream.contracts.topics import topics_of
from clickstream.runtime.kafka import client_config
from clickstream.setup.exit_codes import ExitCode
from clickstream.setup.topics import TopicAdmin
from support.processes import Process, clickstream, wait_for
from support.rights import documented, new_user
from support.stores import Stores

RIGHTS = documented()
RUNNING = ("tracking-api", "enricher", "sink-elasticsearch", "sink-postgres")
TOOLS = {"dead-letters": ("dead-letters", "replay"), "replay": ("replay", "--from", "1h")}


def command(process: str, path: str) -> list[str]:
    if process == "tracking-api":
        return clickstream(
            process, "--pipeline", path, "--host", "127.0.0.1", "--port", "0", "--port-file", "{port_file}"
        )
    verb = ("sink", process.removeprefix("sink-")) if process.startswith("sink-") else (process,)
    return clickstream(*verb, "--pipeline", path, "--ops-port-file", "{ops_port_file}")


def event(number: int) -> dict[str, str]:
    return {
        "event_id": str(uuid.uuid4()),
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "user_id": f"user-{number}",
        "session_id": "tab",
        "page": "/products/1",
    }


def post(api: Process, body: object) -> int:
    wait_for(lambda: api.get("/readyz")[0] == 200, "the tracking API is ready", api)
    headers = {"Content-Type": "application/json", "X-Write-Key": "test-write-key"}
    request = urllib.request.Request(f"http://127.0.0.1:{api.port}/v1/events", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(clickstream(*arguments), check=False, capture_output=True, text=True, timeout=120)


@pytest.fixture
def as_user(admin, document, written, tmp_path):
    """The document of a pipeline, for a user with these rights of the example and no other."""

    def make(name, rights):
        prefix = f"rights.{name}."
        return written(document(name, new_user(admin, [right.of(prefix) for right in rights], tmp_path)))

    return make


def test_each_process_works_with_exactly_its_rights(admin, document, as_user, strict, elastic_url, tmp_path):
    name = document()["name"]
    pipeline = parse_pipeline(msgspec.json.encode(document(name)))
    done = run("setup", "topics", "--pipeline", as_user(name, RIGHTS["shop-setup"]))
    assert done.returncode == ExitCode.DONE, done.stderr
    done = run("setup", "all", "--pipeline", as_user(name, []))
    assert done.returncode == ExitCode.DONE, "the stores' set-up needs no right in Kafka"
    env = {"CLICKSTREAM_LOG_FORMAT": "text", "CLICKSTREAM_DRAIN_SECONDS": "0"}
    processes = [Process(one, command(one, as_user(name, RIGHTS[f"shop-{one}"])), tmp_path, env) for one in RUNNING]
    stores = Stores(pipeline, elastic_url, strict.postgres.dsn)
    try:
        api = processes[0]
        assert [post(api, event(number)) for number in range(20)] == [202] * 20
        assert post(api, event(1) | {"page": 5}) == 422
        producer = Producer(client_config(pipeline.kafka, "test"))
        for topic in (pipeline.names.raw_clicks, pipeline.names.enriched_clicks):  # dead letters of each stage
            producer.produce(topic, b"garbage", b"user")
        producer.flush()
        wait_for(lambda: stores.counts() == (20, 20), "both stores hold all clicks", *processes, timeout=90)
        letters = as_user(name, RIGHTS["shop-dead-letters"])

        def stages() -> set[str]:
            found = run("dead-letters", "list", "--json", "--pipeline", letters)
            assert found.returncode == 0, found.stderr
            return {json.loads(line)["stage"] for line in found.stdout.splitlines()}

        wanted = {"collect", "enrich", "sink-elasticsearch", "sink-postgres"}
        wait_for(lambda: len(stages()) == len(wanted), "dead letters of every stage", *processes)
        done = run("dead-letters", "replay", "--stage", "collect", "--patch", '.page = "/"', "--pipeline", letters)
        assert json.loads(done.stdout)["records"] == 1, done.stdout + done.stderr
        wait_for(lambda: stores.counts() == (21, 21), "the repaired click is stored", *processes)
        done = run("replay", "--from", "1h", "--pipeline", as_user(name, RIGHTS["shop-replay"]))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["read"] == 22
        assert [one.name for one in processes if one.popen.poll() is not None] == []
        assert [one.name for one in processes if "lacks a right" in one.log.read_text()] == []
        assert [one.stop() for one in processes] == [0] * 4
    finally:
        stores.close()
        for one in processes:
            one.kill()
    done = run("setup", "topics", "--drop", "--pipeline", as_user(name, RIGHTS["shop-drop"]))
    assert done.returncode == ExitCode.DONE, done.stderr


@pytest.mark.parametrize("process", RUNNING)
def test_a_process_names_each_right_that_it_lacks(process, shop, as_user, tmp_path):
    """Without one right after the other; each of them is asked for by its own process."""
    rights = RIGHTS[f"shop-{process}"]
    started = []
    try:
        for number, right in enumerate(rights):
            path = as_user(shop.name, [one for one in rights if one != right])
            lacking = Process(f"{process}-{number}", command(process, path), tmp_path)
            started.append(lacking)
            expected = f"the Kafka user lacks a right (ACL): {right.of(f'rights.{shop.name}.')}; "
            wait_for(lambda: expected in lacking.log.read_text(), expected, lacking)  # noqa: B023 - called at once
            lacking.kill()
            assert lacking.log.read_text().count("lacks a right") == 1
    finally:
        for one in started:
            one.kill()


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_names_each_right_that_it_lacks(tool, shop, as_user):
    rights = RIGHTS[f"shop-{tool}"]
    for right in rights:
        done = run(*TOOLS[tool], "--pipeline", as_user(shop.name, [one for one in rights if one != right]))
        assert f"lacks a right (ACL): {right.of(f'rights.{shop.name}.')}; " in done.stderr
        assert done.stderr.count("lacks a right") == 1


@pytest.mark.parametrize("right", RIGHTS["shop-setup"], ids=lambda right: right.operation)
def test_set_up_names_the_right_that_it_lacks(right, document, admin, as_user, written):
    name = document()["name"]
    rest = [one for one in RIGHTS["shop-setup"] if one != right]
    if right.operation == "AlterConfigs":  # it is needed where a setting differs
        topics = topics_of(parse_pipeline(msgspec.json.encode(document(name))))
        other = [with_config(topic, {"retention.ms": "1000"}) for topic in topics]
        TopicAdmin(parse_pipeline(msgspec.json.encode(document(name))).kafka).create(other)
    done = run("setup", "topics", "--timeout", "1", "--pipeline", as_user(name, rest))
    assert done.returncode != ExitCode.DONE
    named = "AlterConfigs DescribeConfigs" if right.operation == "AlterConfigs" else right.operation
    assert any(f"lacks a right (ACL): {one} on topic rights.{name}." in done.stderr for one in named.split())


@pytest.mark.parametrize("right", RIGHTS["shop-drop"], ids=lambda right: right.kind)
def test_removing_names_the_right_that_it_lacks(right, shop, as_user):
    rest = [one for one in RIGHTS["shop-drop"] if one != right]
    done = run("setup", "topics", "--drop", "--timeout", "1", "--pipeline", as_user(shop.name, rest))
    assert done.returncode == ExitCode.REFUSED
    assert f"lacks a right (ACL): Delete on {right.kind} rights.{shop.name}." in done.stderr


def with_config(topic, config):
    return type(topic)(topic.name, topic.partitions, topic.replicas, dict(topic.config) | config)
