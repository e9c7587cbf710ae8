"""Refused records on their way to the dead-letters topic, delivered before the offsets that they came from are committed.

Deliberately absent: giving up. What could not be delivered is handed back and tried again by the loop.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.kafka import producer_config
from clickstream.contracts.pipeline import Kafka
from clickstream.sinks.records import Refused

log = logging.getLogger(__name__)

KEPT_BYTES: Final = 900_000
"""What is kept of a record that is too large for the topic once the reason is added."""


class DeadLetters:
    """A producer for one stage (`sink-elasticsearch`, `sink-postgres`)."""

    def __init__(self, kafka: Kafka, topic: str, stage: str) -> None:
        self._topic = topic
        self._stage = stage
        config = producer_config(kafka, f"clickstream-{stage}-dead-letters", idempotent=False)
        self._producer = Producer(
            config | {"message.max.bytes": 2_000_000, "linger.ms": 0}, logger=logging.getLogger("librdkafka")
        )

    def deliver(self, refused: Sequence[Refused]) -> tuple[list[Refused], str | None]:
        """(what is not delivered yet, why). Takes up to the producer's message timeout (10 s)."""
        failed: list[Refused] = []
        troubles: list[str] = []
        for item in refused:
            self._send(item, item.value, item.reason, failed, troubles)
        self._producer.flush()
        return failed, troubles[0] if troubles else None

    def close(self) -> None:
        """Nothing is left to send after `deliver`."""
        self._producer.flush(0)

    def _send(self, item: Refused, value: bytes, reason: str, failed: list[Refused], troubles: list[str]) -> None:
        row = BadRow(value, self._stage, item.code, reason, item.path, item.received_at)

        def report(error: Any, _: Any) -> None:
            if error is None:
                return
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and len(value) > KEPT_BYTES:
                cut = f"{reason}; only the first {KEPT_BYTES} bytes are kept"
                self._send(item, value[:KEPT_BYTES], cut, failed, troubles)
                return
            failed.append(item)
            troubles.append(error.str())

        while True:
            try:
                self._producer.produce(self._topic, value, headers=row.headers(), on_delivery=report)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                report(error.args[0], None)
                return
            else:
                self._producer.poll(0)
                return
