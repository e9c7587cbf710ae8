"""The lag is told while brokers come and go, by a process that lives on."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from clickstream.contracts.pipeline import dump_pipeline
from clickstream.runtime.kafka import reader_config
from clickstream.setup.topics import TopicAdmin
from demo.document import demo_pipeline, demo_topics
from devstack import SERVICES, Stack
from tests.support.waiting import until

ASKS = """
import sys, time
from pathlib import Path
from confluent_kafka import KafkaException
from clickstream.contracts.pipeline import parse_pipeline
from clickstream.runtime.topic_reader import TopicReadError
from demo.drain import Lag

lag = Lag(parse_pipeline(Path(sys.argv[1]).read_bytes()))
while True:
    try:
        print(lag.enricher(), flush=True)
    except (KafkaException, TopicReadError):
        print("unknown", flush=True)
    time.sleep(0.01)
"""


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A broker of its own, which may be stopped."""
    for name in SERVICES:
        monkeypatch.delenv(f"DEVSTACK_{name.upper()}", raising=False)
    stack = Stack.up(home=tmp_path / "stack", services=("kafka",), progress=print)
    yield stack
    stack.down(wipe=True)


def test_the_lag_is_known_again_after_each_restart_of_the_brokers(stack: Stack, tmp_path: Path) -> None:
    pipeline = demo_pipeline("lag", "10m", stack.kafka.bootstrap_servers, "", "")
    topic = pipeline.names.raw_clicks
    TopicAdmin(pipeline.kafka).create(demo_topics(pipeline))
    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap_servers})
    for _ in range(5):
        producer.produce(topic, b"a click", partition=0)
    assert producer.flush(30) == 0
    consumer = Consumer(reader_config(pipeline.kafka, pipeline.names.enricher_group))
    consumer.commit(offsets=[TopicPartition(topic, 0, 2)], asynchronous=False)
    consumer.close()
    document, output = tmp_path / "pipeline.json", tmp_path / "output"
    document.write_bytes(dump_pipeline(pipeline))
    with output.open("wb") as file:
        asking = subprocess.Popen([sys.executable, "-c", ASKS, str(document)], stdout=file)
    try:
        until(lambda: output.read_text().endswith("3\n"), "the lag is told")
        for _ in range(2):  # an admin client did not live through the first
            stack.servers[0].stop()
            until(lambda: output.read_text().endswith("unknown\n"), "the brokers are missed")
            stack.servers[0].start()
            until(lambda: output.read_text().endswith("3\n"), "the lag is told again", explain=output.read_text)
        assert asking.poll() is None
    finally:
        asking.kill()
        asking.wait()
    assert set(output.read_text().split()) <= {"3", "unknown", ""}
