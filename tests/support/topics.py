"""Reading whole topics and feeding them, for tests."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from clickstream.contracts.clicks import Click, encode_click
from clickstream.runtime.topic_reader import watermarks


def read_all(bootstrap: str, topic: str, timeout: float = 30) -> list[Message]:
    """Every record that is on the topic now, partition by partition in order."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test-reader", "enable.auto.commit": False})
    try:
        ends = end_offsets(consumer, topic)
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in ends])
        found: list[Message] = []
        missing = {number for number, (low, high) in ends.items() if high > low}
        deadline = time.monotonic() + timeout
        while missing:
            assert time.monotonic() < deadline, f"{topic}: partitions {missing} could not be read to their end"
            for message in consumer.consume(5_000, timeout=0.1):
                assert message.error() is None, message.error()
                found.append(message)
                if message.offset() >= ends[message.partition()][1] - 1:
                    missing.discard(message.partition())
        return sorted(found, key=lambda m: (m.partition(), m.offset()))
    finally:
        consumer.close()


def count(bootstrap: str, topic: str) -> int:
    """Records on the topic (of one that is not compacted)."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test-reader", "enable.auto.commit": False})
    try:
        return sum(high - low for low, high in end_offsets(consumer, topic).values())
    finally:
        consumer.close()


def end_offsets(consumer: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    """(first, end) by partition."""
    return watermarks(consumer, topic, consumer.list_topics(topic, timeout=30).topics[topic].partitions, 30)


def feed(bootstrap: str, topic: str, clicks: Iterable[Click], rate: float | None = None) -> None:
    """Produce clicks keyed by user, at `rate` a second or as fast as it goes; returns when all are delivered."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    started = time.monotonic()
    for number, click in enumerate(clicks):
        if rate is not None and number % 50 == 0:
            ahead = started + number / rate - time.monotonic()
            if ahead > 0:
                producer.poll(0)
                time.sleep(ahead)
        producer.produce(topic, encode_click(click), click.user_id.encode())
        producer.poll(0)
    assert producer.flush(30) == 0


_UNREADABLE = """
import asyncio, base64, json, sys
from aiokafka import AIOKafkaProducer
class NotUtf8(str):
    def encode(self, *_):
        return b"\\xff\\xfe"
def read(text):
    return None if text is None else base64.b64decode(text)
async def main():
    producer = AIOKafkaProducer(bootstrap_servers=sys.argv[1])
    await producer.start()
    for partition, key, value in json.load(sys.stdin):
        await producer.send_and_wait(
            sys.argv[2], read(value), read(key), partition=partition, headers=[(NotUtf8("x"), b"1")]
        )
    await producer.stop()
asyncio.run(main())
"""


def feed_unreadable(bootstrap: str, topic: str, records: Mapping[int, Sequence[tuple[bytes, bytes | None]]]) -> None:
    """Produce (key, value) by partition, each with a header name that is not UTF-8: brokers take it, clients fail."""

    def text(content: bytes | None) -> str | None:
        return None if content is None else base64.b64encode(content).decode()

    rows = [(number, text(key), text(value)) for number, all_of_it in records.items() for key, value in all_of_it]
    subprocess.run(
        [sys.executable, "-c", _UNREADABLE, bootstrap, topic],
        input=json.dumps(rows).encode(),
        check=True,
        env=os.environ | {"AIOKAFKA_NO_EXTENSIONS": "1"},  # its parser in C would not call our `encode`
    )
