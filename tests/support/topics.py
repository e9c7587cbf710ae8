"""Reading whole topics and feeding them, for tests."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from clickstream.contracts.clicks import Click, encode_click


def read_all(bootstrap: str, topic: str, timeout: float = 30) -> list[Message]:
    """Every record that is on the topic now, partition by partition in order."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test-reader", "enable.auto.commit": False})
    try:
        ends = dict(end_offsets(consumer, topic))
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
        return sum(high - low for _, (low, high) in end_offsets(consumer, topic))
    finally:
        consumer.close()


def end_offsets(consumer: Consumer, topic: str) -> Iterator[tuple[int, tuple[int, int]]]:
    """(partition, (first, end)) of each partition."""
    for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
        yield number, consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)


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
