"""The enricher's producer: records go out in stages, and a stage is over when the brokers have all of it.

Idempotent, so that one partition's records keep their order through retries: on the compacted topics the last record
wins. It waits through an outage of the brokers (`message.timeout.ms` of ten minutes), since nothing can be acked
without them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaError, KafkaException, Message, Producer

from clickstream.contracts.pipeline import Kafka
from clickstream.runtime.kafka import polled, producer_config

log: Final = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 600
QUEUED: Final = 100_000
"""Records that may wait for the brokers: a larger stage is delivered in pieces."""
_TELL_SECONDS: Final = 10.0


class OutputError(Exception):
    """A record could not be delivered: the process must end before its input is acked."""


class Output:
    """Sends records and waits for their delivery. Not thread-safe: one stage at a time."""

    def __init__(self, kafka: Kafka, client_id: str) -> None:
        self._failed: list[str] = []
        config = polled(producer_config(kafka, client_id, idempotent=True)) | {
            "message.timeout.ms": PATIENCE_SECONDS * 1_000,
            "queue.buffering.max.messages": 2 * QUEUED,
            "batch.num.messages": 10_000,
            "on_delivery": self._on_error,
        }
        # A report is a call of Python for each record. Of success only a few are wanted, those with an offset to know.
        self._producer = Producer(config | {"delivery.report.only.error": True})
        self._reporting = Producer(config)

    def send(
        self,
        topic: str,
        records: Iterable[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]],
        partition: int = -1,
    ) -> None:
        """Queue (key, value, headers) records; -1: the partition follows from the key. Raises OutputError."""
        produce = self._producer.produce
        for key, value, headers in records:
            while True:
                try:
                    if headers:
                        produce(topic, value, key, partition, headers=headers)
                    else:  # a third less work
                        produce(topic, value, key, partition)
                except BufferError:
                    self.deliver()
                except KafkaException as error:
                    msg = f"a record for {topic} could not be queued: {error.args[0].str()}"
                    raise OutputError(msg) from error
                else:
                    break

    def send_reporting(
        self,
        topic: str,
        record: tuple[bytes, bytes | None, list[tuple[str, bytes]]],
        partition: int,
        delivered: Callable[[int, int], None],
    ) -> None:
        """Queue one record. `deliver` then calls `delivered` with its offset, and its time by the brokers' clock (ms).

        Its order among other records of the partition is open until those before it are delivered.
        """

        def report(error: KafkaError | None, message: Any) -> None:
            self._on_error(error, message)
            if error is None:
                kind, at = message.timestamp()
                delivered(message.offset(), 0 if kind == TIMESTAMP_NOT_AVAILABLE else at)

        key, value, headers = record
        self._reporting.produce(topic, value, key, partition, headers=headers, on_delivery=report)

    def deliver(self) -> None:
        """Block until everything that was sent is on all in-sync replicas. Raises OutputError."""
        began = told = time.monotonic()
        left = len(self._producer) + len(self._reporting)
        while left and not self._failed:
            before, left = left, self._producer.flush(1.0) + self._reporting.flush(1.0)
            now = time.monotonic()
            if left < before:
                began = now
            if now - max(began, told) > _TELL_SECONDS:
                told = now
                log.warning("waiting for the brokers: %d records are not delivered for %.0f s", left, now - began)
            if now - began > PATIENCE_SECONDS + 10:
                msg = f"{left} records are still not delivered"
                raise OutputError(msg)
        if self._failed:
            msg = f"a record could not be delivered: {self._failed[0]}"
            raise OutputError(msg)

    def _on_error(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append(f"{message.topic()}: {error.str()}")
