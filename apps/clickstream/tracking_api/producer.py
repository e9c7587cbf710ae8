"""Records into Kafka, each request told once what became of all of its records.

confluent-kafka's `Producer` with one thread that polls it (not AIOProducer: no headers, and its buffer timer lets a
trickle wait; confluentinc/confluent-kafka-python #2154, #2276). The thread counts delivery reports for each request
and wakes the event loop once for all requests that a poll has completed.

Deliberately absent: retries of a whole request. librdkafka retries within `message.timeout.ms`; after that it is the
client's turn, who has the events and their ids.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from clickstream.tracking_api import limits
from clickstream.tracking_api.availability import Availability

_log = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.1
# The brokers have looked at the record and will never take it.
_REFUSALS: Final = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_MSG_SIZE, KafkaError.INVALID_RECORD}
)


class Record(NamedTuple):
    """What is to be written."""

    topic: str
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


class Outcome(Enum):
    """`DELIVERED`: all in-sync replicas have every record. `UNAVAILABLE`: that is not known of at least one of them."""

    DELIVERED = "delivered"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Refused:
    """The brokers have every record but these values, which they will never take."""

    values: frozenset[bytes]


class _Delivery:
    """Counts the reports on one request's records. Only the polling thread touches it once records are under way."""

    __slots__ = ("done", "failed", "future", "refused", "remaining")

    def __init__(self, remaining: int, future: asyncio.Future[Outcome | Refused], done: list[_Delivery]) -> None:
        self.remaining = remaining
        self.future = future
        self.done = done
        self.failed = False
        self.refused: set[bytes] = set()

    def report(self, error: Any, message: Any) -> None:
        if error is not None:
            if error.code() in _REFUSALS:
                self.refused.add(message.value())
            else:
                self.failed = True
        self.remaining -= 1
        if self.remaining == 0:
            self.done.append(self)

    @property
    def outcome(self) -> Outcome | Refused:
        if self.failed:
            return Outcome.UNAVAILABLE
        return Refused(frozenset(self.refused)) if self.refused else Outcome.DELIVERED


class RecordProducer:
    """Belongs to the event loop that made it. `config` are librdkafka properties."""

    def __init__(self, config: dict[str, Any], availability: Availability) -> None:
        self._loop = asyncio.get_running_loop()
        self._availability = availability
        self._done: list[_Delivery] = []
        self._stop = threading.Event()
        logger = logging.getLogger("librdkafka")
        self._producer = Producer(config | {"error_cb": self._on_error}, logger=logger)
        self._thread = threading.Thread(target=self._poll, name="kafka-poll")
        self._thread.start()

    def __len__(self) -> int:
        """Records that are not delivered yet."""
        return len(self._producer)

    async def send(self, records: list[Record]) -> Outcome | Refused:
        """Write all records and wait until the brokers have them, 9 s at most."""
        if not records:
            return Outcome.DELIVERED
        if not self._availability.admits():
            return Outcome.UNAVAILABLE
        future: asyncio.Future[Outcome | Refused] = self._loop.create_future()
        delivery = _Delivery(len(records), future, self._done)
        try:
            for record in records:
                self._producer.produce(
                    record.topic, record.value, record.key, headers=record.headers, on_delivery=delivery.report
                )
        except BufferError:
            # What is queued may still arrive; the client sends it again and the enricher drops what it knows.
            return Outcome.UNAVAILABLE
        except KafkaException as error:
            _log.warning("Kafka refuses to queue: %s", error.args[0].name())
            return Outcome.UNAVAILABLE
        # librdkafka reports each record within message.timeout.ms; this is for the case that it does not.
        timer = self._loop.call_later(limits.DELIVERY_SECONDS, _give_up, future)
        try:
            return await future
        finally:
            timer.cancel()

    def warm_up(self, topics: list[str]) -> None:
        """Learn the topics' partitions, so that the first request need not wait. Logs what is missing; blocks."""
        for topic in topics:
            try:
                found = self._producer.list_topics(topic, timeout=5).topics[topic].error
            except KafkaException as error:
                _log.warning("Kafka does not answer yet: %s", error.args[0].name())
                return
            if found is not None:
                _log.error("topic %s: %s", topic, found.name())

    def close(self, seconds: float) -> int:
        """Deliver what is queued; how many records could not be within this time. Blocks."""
        self._stop.set()
        self._thread.join()
        left = int(self._producer.flush(seconds))
        self._wake()
        return left

    def _poll(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(_POLL_SECONDS)
            if self._done:
                self._wake()

    def _wake(self) -> None:
        done, self._done[:] = self._done[:], []
        if not done:
            return
        if any(delivery.failed for delivery in done):
            if self._availability.failed():
                _log.error("Kafka does not take records: answering 503 until it does")
        elif self._availability.delivered():
            _log.warning("Kafka takes records again")
        self._loop.call_soon_threadsafe(_resolve, done)

    def _on_error(self, error: Any) -> None:
        _log.log(logging.ERROR if error.fatal() else logging.WARNING, "Kafka client: %s", error.str())


def _give_up(future: asyncio.Future[Outcome | Refused]) -> None:
    if not future.done():
        future.set_result(Outcome.UNAVAILABLE)


def _resolve(done: list[_Delivery]) -> None:
    for delivery in done:
        if not delivery.future.done():  # its request may have given up or hung up
            delivery.future.set_result(delivery.outcome)
