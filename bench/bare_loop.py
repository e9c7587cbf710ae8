"""The peer of the enricher: a bare confluent-kafka loop that reads each raw click and writes its bytes on.

It decodes nothing, keeps no state and makes no session: the least that any Python process between two topics costs.
"""

from __future__ import annotations

import sys

from confluent_kafka import Consumer, Producer


def main(bootstrap: str, source: str, target: str, events: int) -> None:
    """Copy `events` records from `source` to `target`."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{target}.bare", "auto.offset.reset": "earliest"})
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "linger.ms": 5,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 500_000,
        }
    )
    consumer.subscribe([source])
    done = 0
    while done < events:
        for message in consumer.consume(2_000, timeout=0.5):
            producer.produce(target, message.value(), message.key())
            done += 1
        producer.flush()
    consumer.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
