"""Every process of a pipeline over encrypted, authenticated connections; and none of them creates a topic."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from clickstream.contracts.pipeline import Pipeline, dump_pipeline
from clickstream.runtime.kafka import client_config
from devstack import Stack
from support.processes import Process, clickstream, wait_for
from support.stores import Stores
from support.system import System

BATCHES, EACH = 10, 100


def event(number: int) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "user_id": f"user-{number % 50}",
        "session_id": "tab",
        "page": "https://shop.example/",
    }


def topics_on(pipeline: Pipeline) -> set[str]:
    admin = AdminClient(client_config(pipeline.kafka, "test"))
    return {name for name in admin.list_topics(timeout=10).topics if name.startswith(pipeline.names.prefix)}


def set_up_topics(document: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = clickstream("setup", "topics", *arguments, "--pipeline", str(document))
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)


def no_topic_until_it_is_set_up(system: System) -> None:
    """All processes run and have asked for their topics, on a broker that would create them: there are none."""
    system.enricher.wait_ready()
    status, _ = system.post("/v1/events", event(0))
    assert status == 503
    for sink in (system.elasticsearch, system.postgres):
        wait_for(lambda sink=sink: "UNKNOWN_TOPIC_OR_PART" in sink.log.read_text(), "the sink misses its topics", sink)
    assert topics_on(system.pipeline) == set()
    done = set_up_topics(system.document)
    assert done.returncode == 0, done.stderr
    assert len(topics_on(system.pipeline)) == 5


def nothing_secret_is_told(secure: Stack, secrets: Path, *texts: str) -> None:
    hidden = [secure.security.password(name) for name in ("kafka", "postgres")]
    hidden.append((secrets / "elastic-password").read_text().strip())
    assert not [word for word in hidden for text in texts if word in text]


@pytest.mark.parametrize(("authentication", "late"), [("scram-sha-512", True), ("tls", False)])
def test_a_thousand_clicks_arrive_exactly_once_even_if_their_topics_come_late(
    authentication: str,
    late: bool,
    document: Callable[..., dict[str, Any]],
    pipeline_of: Callable[[dict[str, Any]], Pipeline],
    stores_of: Callable[[Pipeline], Stores],
    secure: Stack,
    secrets: Path,
    tmp_path: Path,
) -> None:
    pipeline = pipeline_of(document(authentication))
    prepare = no_topic_until_it_is_set_up if late else lambda system: set_up_topics(system.document).check_returncode()
    system = System(pipeline, tmp_path, stores=stores_of(pipeline), before_ready=prepare)
    try:
        batches = [{"events": [event(number) for number in range(EACH)]} for _ in range(BATCHES)]
        # What was answered with 503 is sent again, as the tracker does; the first answers come without a restart.
        for batch in batches:
            wait_for(lambda b=batch: system.post("/v1/events/batch", b)[0] == 202, "a batch is taken", system.api)
        system.wait_stored(BATCHES * EACH)
        sent = {event["event_id"] for batch in batches for event in batch["events"]}
        assert {row["event_id"] for row in system.stores.sql("SELECT event_id FROM {s}.clicks")} == sent
        assert {click["event_id"] for click in system.stores.clicks_es()} == sent
        assert [process.popen.poll() for process in system.processes] == [None] * 4
        assert [process.stop() for process in system.processes] == [0] * 4
        nothing_secret_is_told(secure, secrets, *(process.log.read_text() for process in system.processes))
    finally:
        system.close()
    dropped = set_up_topics(system.document, "--drop")
    assert dropped.returncode == 0, dropped.stderr
    assert topics_on(pipeline) == set()


def test_the_other_ways_of_authentication_let_the_enricher_in(
    document: Callable[..., dict[str, Any]], pipeline_of: Callable[[dict[str, Any]], Pipeline], tmp_path: Path
) -> None:
    enrichers = []
    for authentication in ("scram-sha-256", "plain"):
        path = tmp_path / f"{authentication}.json"
        path.write_bytes(dump_pipeline(pipeline_of(document(authentication))))
        assert set_up_topics(path).returncode == 0
        command = clickstream("enricher", "--pipeline", str(path), "--ops-port-file", "{ops_port_file}")
        enrichers.append(Process(f"enricher-{authentication}", command, tmp_path))
    try:
        for enricher in enrichers:
            enricher.wait_ready()
        assert [enricher.stop() for enricher in enrichers] == [0, 0]
    finally:
        for enricher in enrichers:
            enricher.kill()
