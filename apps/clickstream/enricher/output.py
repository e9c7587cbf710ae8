"""The enricher's producer: records go out in stages, and a stage is over when the brokers have all of it.

Idempotent, so that one partition's records keep their order through retries: on the compacted topics the last record
wins. It waits out an outage of the brokers (`message.timeout.ms` of five minutes), since nothing can be acked without them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from clickstream.contracts.kafka import producer_config
from clickstream.contracts.pipeline import Kafka

PATIENCE_SECONDS: Final = 300


class OutputError(Exception):
    """A record could not be delivered: the process must end before its input is acked."""


class Output:
    """Sends records and waits for their delivery. Not thread-safe: one stage at a time."""

    def __init__(self, kafka: Kafka, client_id: str) -> None:
        self._failed: list[KafkaError] = []
        self._producer = Producer(
            producer_config(kafka, client_id, idempotent=True)
            | {
                "message.timeout.ms": PATIENCE_SECONDS * 1_000,
                "queue.buffering.max.messages": 500_000,
                "batch.num.messages": 10_000,
                # Successes are told by the flush; a callback a record would cost more than the record.
                "delivery.report.only.error": True,
                "on_delivery": self._on_error,
            },
            logger=logging.getLogger("librdkafka"),
        )
        self.produce = self._producer.produce
        """confluent_kafka's own: `produce(topic, value, key, partition=…, headers=…)`; BufferError cannot occur within a chunk."""

    def send_all(
        self, topic: str, records: Iterable[tuple[bytes, bytes | None, list[tuple[str, bytes]]]], partition: int
    ) -> None:
        """Queue (key, value, headers) records for an explicit partition."""
        produce = self._producer.produce
        for key, value, headers in records:
            produce(topic, value, key, partition, headers=headers)

    def deliver(self) -> None:
        """Block until everything that was sent is on all in-sync replicas. Raises OutputError."""
        deadline = time.monotonic() + PATIENCE_SECONDS + 10
        while self._producer.flush(1.0) and not self._failed:
            if time.monotonic() > deadline:
                msg = f"{len(self._producer)} records are still not delivered"
                raise OutputError(msg)
        if self._failed:
            msg = f"a record could not be delivered: {self._failed[0]}"
            raise OutputError(msg)

    def _on_error(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failed.append(error)
