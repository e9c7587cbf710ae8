"""`clickstream setup topics` on a real broker: made once, put right, refused, dropped; and producers that came
first."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from clickstream.contracts.pipeline import Kafka, Pipeline, dump_pipeline, parse_pipeline
from clickstream.contracts.topics import Topic, groups_of, topics_of
from clickstream.runtime.kafka import client_config, producer_config
from clickstream.setup.exit_codes import ExitCode
from clickstream.setup.topics import LaterError, TopicAdmin, TopicError
from support.processes import clickstream

Setup = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """Runs the command for a pipeline."""

    def run(pipeline: Pipeline, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / f"{pipeline.name}.json"
        path.write_bytes(dump_pipeline(pipeline))
        command = clickstream("setup", "topics", *arguments, "--pipeline", str(path))
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)

    return run


def changed(pipeline: Pipeline, **topics: dict[str, Any]) -> Pipeline:
    document = msgspec.json.decode(dump_pipeline(pipeline))
    sizes = document["kafka"]["topics"]
    document["kafka"]["topics"] = sizes | {name: sizes.get(name, {}) | size for name, size in topics.items()}
    return parse_pipeline(msgspec.json.encode(document))


def names_on(pipeline: Pipeline) -> set[str]:
    found = AdminClient(client_config(pipeline.kafka, "test")).list_topics(timeout=10).topics
    return {name for name in found if name.startswith(f"{pipeline.names.prefix}.")}


def setting(pipeline: Pipeline, topic: str, name: str = "retention.ms") -> str:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient(client_config(pipeline.kafka, "test"))
    return str(admin.describe_configs([resource])[resource].result(10)[name].value)


def consume(pipeline: Pipeline, group: str) -> Consumer:
    """A member of a group of the pipeline, once it has partitions and has committed an offset."""
    config = client_config(pipeline.kafka, "test") | {"group.id": group, "auto.offset.reset": "earliest"}
    consumer, assigned = Consumer(config), threading.Event()
    consumer.subscribe([pipeline.names.raw_clicks], on_assign=lambda *_: assigned.set())
    deadline = time.monotonic() + 30
    while not assigned.is_set():
        assert time.monotonic() < deadline
        consumer.poll(0.1)
    consumer.commit(offsets=[TopicPartition(pipeline.names.raw_clicks, 0, 0)], asynchronous=False)
    return consumer


def test_topics_are_made_once_and_their_settings_are_put_right(
    setup: Setup, new_pipeline: Callable[..., Pipeline]
) -> None:
    pipeline = new_pipeline(topics=False)
    first = setup(pipeline)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("is created") == 5
    assert names_on(pipeline) == {topic.name for topic in topics_of(pipeline)}
    again = setup(pipeline)
    assert again.returncode == 0
    assert again.stdout.count("is up to date") == 5

    shorter = changed(pipeline, rawClicks={"retention": "1d"})
    repaired = setup(shorter)
    assert repaired.returncode == 0
    assert "raw-clicks is put right: retention.ms 604800000 → 86400000" in repaired.stdout
    assert repaired.stdout.count("is up to date") == 4
    deadline = time.monotonic() + 30  # the broker learns a moment later what the controller has accepted
    while setting(pipeline, pipeline.names.raw_clicks) != "86400000":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_another_number_of_partitions_is_refused_and_nothing_is_changed(setup: Setup, pipeline: Pipeline) -> None:
    other = changed(pipeline, rawClicks={"partitions": 5, "retention": "1d"})
    refused = setup(other)
    assert refused.returncode == ExitCode.CONFLICT
    assert f"topic {pipeline.names.raw_clicks} has 3 partitions, and the pipeline says 5" in refused.stderr
    assert f"topic {pipeline.names.enricher_changelog} has 3 partitions, and the pipeline says 5" in refused.stderr
    assert setting(pipeline, pipeline.names.raw_clicks) == "604800000"


def test_a_comparison_changes_nothing(setup: Setup, new_pipeline: Callable[..., Pipeline]) -> None:
    pipeline = new_pipeline(topics=False)
    assert setup(pipeline, "--compare").returncode == 0, "there is nothing to disagree with"
    assert names_on(pipeline) == set()
    assert setup(pipeline).returncode == 0
    assert setup(changed(pipeline, rawClicks={"retention": "1d"}), "--compare").returncode == 0
    refused = setup(changed(pipeline, rawClicks={"partitions": 5, "retention": "1d"}), "--compare")
    assert refused.returncode == ExitCode.CONFLICT
    assert f"topic {pipeline.names.raw_clicks} has 3 partitions, and the pipeline says 5" in refused.stderr
    assert setting(pipeline, pipeline.names.raw_clicks) == "604800000"


def test_another_number_of_replicas_is_refused_and_the_rest_is_put_right(setup: Setup, pipeline: Pipeline) -> None:
    refused = setup(changed(pipeline, rawClicks={"replicas": 3, "retention": "1d"}))
    assert refused.returncode == ExitCode.CONFLICT
    for topic in (pipeline.names.raw_clicks, pipeline.names.enricher_changelog):
        assert f"topic {topic} has 1 replicas, and the pipeline says 3" in refused.stderr
        assert setting(pipeline, topic, "min.insync.replicas") == "1", "two of one replica would refuse each click"
    assert "retention.ms 604800000 → 86400000" in refused.stdout
    assert setup(pipeline).returncode == 0, "set back, it is what it was"


def test_what_kafka_refuses_is_told_with_the_topic(pipeline: Pipeline) -> None:
    admin = TopicAdmin(pipeline.kafka)
    with pytest.raises(TopicError, match=r"topic it\.odd: .*cleanup") as refused:
        admin.create([Topic("it.odd", 1, 1, {"cleanup.policy": "burn"})])
    assert not isinstance(refused.value, LaterError)


def test_more_replicas_than_brokers_are_waited_for(setup: Setup, new_pipeline: Callable[..., Pipeline]) -> None:
    pipeline = changed(new_pipeline(topics=False), sessions={"replicas": 3})
    late = setup(pipeline, "--timeout", "1")
    assert late.returncode == ExitCode.UNREACHABLE
    assert "waiting, " in late.stdout
    assert f"topic {pipeline.names.sessions}: " in late.stderr
    assert "eplication factor" in late.stderr


def test_a_kafka_that_does_not_come_is_waited_for_only_so_long(setup: Setup, pipeline: Pipeline) -> None:
    away = msgspec.structs.replace(pipeline, kafka=Kafka("127.0.0.1:9"))
    late = setup(away, "--timeout", "6")
    assert late.returncode == ExitCode.UNREACHABLE
    assert "waiting, " in late.stdout
    assert "no answer from 127.0.0.1:9: " in late.stderr
    assert "Connection refused" in late.stderr


def test_a_drop_takes_topics_and_groups_but_nothing_from_under_a_process_or_a_neighbour(
    setup: Setup, pipeline: Pipeline, new_pipeline: Callable[..., Pipeline]
) -> None:
    neighbour = new_pipeline(name=f"{pipeline.name}-eu")
    consumers = {group: consume(pipeline, group) for group in groups_of(pipeline)}
    near = consume(neighbour, neighbour.names.enricher_group)
    still = consumers.pop(pipeline.names.enricher_group)
    for consumer in consumers.values():
        consumer.close()
    try:
        refused = setup(pipeline, "--drop", "--timeout", "1")
        assert refused.returncode == ExitCode.UNREACHABLE
        assert f"consumer group {pipeline.names.enricher_group}: " in refused.stderr
        assert len(names_on(pipeline)) == 5
    finally:
        still.close()
    gone = setup(pipeline, "--drop")
    assert gone.returncode == 0, gone.stderr
    assert names_on(pipeline) == set()
    assert len(names_on(neighbour)) == 5
    near.close()
    admin = AdminClient(client_config(pipeline.kafka, "test"))
    groups = {group.group_id for group in admin.list_consumer_groups().result(10).valid}
    assert not groups & set(groups_of(pipeline))
    assert neighbour.names.enricher_group in groups
    assert setup(pipeline, "--drop").returncode == 0, "nothing left to drop is no error"


@pytest.mark.parametrize("patience_ms", [0, 30_000], ids=["given-up-on", "still-hoped-for"])
def test_a_producer_recovers_once_its_missing_topic_is_made(
    patience_ms: int, new_pipeline: Callable[..., Pipeline]
) -> None:
    pipeline = new_pipeline(topics=False)
    config = producer_config(pipeline.kafka, "test", idempotent=patience_ms == 0)
    producer = Producer(config | {"message.timeout.ms": 1_000, "topic.metadata.propagation.max.ms": patience_ms})

    def deliver() -> bool:
        errors: list[object] = []
        try:
            producer.produce(pipeline.names.raw_clicks, b"click", on_delivery=lambda error, _: errors.append(error))
        except KafkaException:  # it has given up on the topic
            return False
        assert producer.flush(5) == 0
        return errors[0] is None

    assert not deliver()
    assert not deliver()
    TopicAdmin(pipeline.kafka).create(topics_of(pipeline))
    deadline = time.monotonic() + 15
    while not deliver():
        assert time.monotonic() < deadline
        time.sleep(0.1)
