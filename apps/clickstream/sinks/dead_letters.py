"""Rejected records on their way to the dead-letters topic, delivered before their offsets are committed.

There is no giving up: what could not be delivered is handed back and retried by the loop.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaException, Producer

from clickstream.contracts.pipeline import Kafka
from clickstream.runtime.kafka import producer_config
from clickstream.sinks.records import Refused

log = logging.getLogger(__name__)


class DeadLetters:
    """A producer for one stage (`sink-elasticsearch`, `sink-postgres`)."""

    def __init__(self, kafka: Kafka, topic: str, stage: str) -> None:
        self._topic = topic
        self._stage = stage
        self._config = producer_config(kafka, f"clickstream-{stage}-dead-letters", idempotent=False) | {"linger.ms": 0}
        self._producer = self._connected()

    def deliver(self, refused: Sequence[Refused]) -> tuple[list[Refused], str | None]:
        """(undelivered letters, why). Takes up to the producer's message timeout (10 s)."""
        failed: list[Refused] = []
        troubles: list[str] = []
        for item in refused:
            self._send(item, failed, troubles)
        self._producer.flush()
        if failed:
            # A producer that knew the topic before it was recreated may never find its leaders
            # (confluentinc/librdkafka#4898).
            self._producer = self._connected()
        return failed, troubles[0] if troubles else None

    def close(self) -> None:
        self._producer.flush(0)

    def _connected(self) -> Any:
        return Producer(self._config)

    def _send(self, item: Refused, failed: list[Refused], troubles: list[str]) -> None:
        row = item.row(self._stage)

        def report(error: Any, _: Any) -> None:
            if error is not None:
                failed.append(item)
                troubles.append(error.str())

        while True:
            try:
                self._producer.produce(self._topic, row.value(), headers=row.headers(), on_delivery=report)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                report(error.args[0], None)
                return
            else:
                self._producer.poll(0)
                return
