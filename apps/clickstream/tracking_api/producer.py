"""Records into Kafka, each request told once what became of each of its records.

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
from collections import deque
from enum import Enum
from functools import partial
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from clickstream.tracking_api import limits
from clickstream.tracking_api.admission import Admission, Record, Ticket
from clickstream.tracking_api.availability import ANY, Place

_log = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.1
_METADATA_TIMEOUT: Final = 5.0
_METADATA_SECONDS: Final = 60.0
"""Between two looks at how many partitions there are."""
# The brokers, or the client for them, have looked at the record and will never take it.
_REFUSALS: Final = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_MSG_SIZE, KafkaError.INVALID_RECORD}
)


class Outcome(Enum):
    """`DELIVERED`: all in-sync replicas have the record. `REFUSED`: they will never take it. `UNAVAILABLE`: neither is known."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


class _News(NamedTuple):
    """What a delivery report says about a partition; `error` is None for a record that was taken."""

    place: Place
    error: str | None
    probe: bool


class _Delivery:
    """Collects the reports on one request's records. Only the polling thread counts them once records are under way."""

    __slots__ = ("future", "outcomes", "remaining")

    def __init__(self, records: int, reports: int, future: asyncio.Future[None]) -> None:
        self.outcomes = [Outcome.UNAVAILABLE] * records
        self.remaining = reports
        self.future = future


class RecordProducer:
    """Belongs to the event loop that made it. `config` are librdkafka properties."""

    def __init__(self, config: dict[str, Any], admission: Admission) -> None:
        self._loop = asyncio.get_running_loop()
        self._admission = admission
        self._done: list[_Delivery] = []
        self._news: list[_News] = []
        self._unsent: deque[tuple[_Delivery, int]] = deque()
        self._stop = threading.Event()
        logger = logging.getLogger("librdkafka")
        self._producer = Producer(config | {"error_cb": self._on_error}, logger=logger)
        self._thread = threading.Thread(target=self._poll, name="kafka-poll")
        self._thread.start()

    def __len__(self) -> int:
        """Records that are not delivered yet."""
        return len(self._producer)

    async def send(self, records: list[Record]) -> list[Outcome]:
        """Write the records and wait until the brokers have them, 9 s at most; the outcome of each.

        Records of partitions that do not take any are not written (but for a probe); the others are all the same.
        """
        tickets = self._admission.admit(records)
        if not tickets:
            return [Outcome.UNAVAILABLE] * len(records)
        delivery = _Delivery(len(records), len(tickets), self._loop.create_future())
        unsent = len(tickets) - self._produce(records, tickets, delivery)
        if unsent:
            self._unsent.append((delivery, unsent))
        # librdkafka reports each record within message.timeout.ms; this is for the case that it does not.
        timer = self._loop.call_later(limits.DELIVERY_SECONDS, _resolve, delivery)
        try:
            await delivery.future
        finally:
            timer.cancel()
        return list(delivery.outcomes)  # a copy: late reports change the original

    def _produce(self, records: list[Record], tickets: list[Ticket], delivery: _Delivery) -> int:
        """Queue the records that have tickets; how many are queued. A probe of which nothing is queued is none."""
        queued = 0
        probes = {ticket.probe for ticket in tickets if ticket.probe is not None}
        for ticket in tickets:
            record = records[ticket.number]
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    ticket.partition,
                    headers=record.headers,
                    on_delivery=partial(self._report, delivery, ticket),
                )
            except BufferError:
                break  # the queue is full: what is in it may still arrive, and the client sends the rest again
            except KafkaException as error:
                reason = error.args[0]
                if reason.code() in _REFUSALS:
                    delivery.outcomes[ticket.number] = Outcome.REFUSED
                else:
                    self._admission.failed(Place(record.topic, ANY), reason.name(), probe=False)
                continue
            queued += 1
            if ticket.probe is not None:
                probes.discard(ticket.probe)
        for place in probes:
            self._admission.unsent(place)
        return queued

    def watch_partitions(self, topics: list[str]) -> None:
        """Keep the numbers of the topics' partitions known; it also spares the first request that wait. Blocks until `close`."""
        told: dict[str, str] = {}
        while not self._stop.is_set():
            known = [self._look_at(topic, told) for topic in topics]
            self._stop.wait(_METADATA_SECONDS if all(known) else 1.0)

    def _look_at(self, topic: str, told: dict[str, str]) -> bool:
        """Whether the topic is there. What is wrong is logged once; `told` has it by topic."""
        if self._stop.is_set():
            return False
        try:
            found = self._producer.list_topics(topic, timeout=_METADATA_TIMEOUT).topics[topic]
            error = found.error
        except KafkaException as failure:
            error = failure.args[0]
        if error is None:
            self._admission.partitions[topic] = len(found.partitions)
            told.pop(topic, None)
            return True
        if told.get(topic) != error.name():
            told[topic] = error.name()
            _log.warning("topic %s cannot be looked at: %s; asking again", topic, error.name())
        return topic in self._admission.partitions

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
            if self._done or self._news or self._unsent:
                self._wake()

    def _report(self, delivery: _Delivery, ticket: Ticket, error: Any, message: Any) -> None:
        refused = error is not None and error.code() in _REFUSALS
        if error is None or refused:
            delivery.outcomes[ticket.number] = Outcome.REFUSED if refused else Outcome.DELIVERED
            if not self._admission.all_is_well:  # who refuses a record has looked at it, so the partition works
                self._news.append(_News(Place(message.topic(), message.partition()), None, probe=False))
        else:
            place = ticket.probe or Place(message.topic(), message.partition())
            self._news.append(_News(place, error.name(), probe=ticket.probe is not None))
        self._count(delivery, 1)

    def _count(self, delivery: _Delivery, records: int) -> None:
        delivery.remaining -= records
        if delivery.remaining == 0:
            self._done.append(delivery)

    def _wake(self) -> None:
        while self._unsent:
            self._count(*self._unsent.popleft())
        done, self._done = self._done, []
        news, self._news = self._news, []
        self._loop.call_soon_threadsafe(self._settle, news, done)

    def _settle(self, news: list[_News], done: list[_Delivery]) -> None:
        for place, error, probe in news:
            if error is None:
                self._admission.delivered(place)
            else:
                self._admission.failed(place, error, probe=probe)
        for delivery in done:
            _resolve(delivery)

    def _on_error(self, error: Any) -> None:
        _log.log(logging.ERROR if error.fatal() else logging.WARNING, "Kafka client: %s", error.str())


def _resolve(delivery: _Delivery) -> None:
    if not delivery.future.done():  # its request may have given up
        delivery.future.set_result(None)
