"""Records into Kafka; each request gets the outcome of each of its records, once.

confluent-kafka's `Producer` with one thread that polls it (not AIOProducer: no headers, and its buffer timer lets a
trickle wait; confluentinc/confluent-kafka-python #2154, #2276). The thread counts delivery reports for each request
and wakes the event loop once for all requests that a poll has completed.

A request is not retried as a whole: librdkafka retries within `message.timeout.ms`; after that the client does, which
has the events and their ids.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from enum import Enum
from functools import partial
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from clickstream.runtime.kafka import polled
from clickstream.runtime.topic_ids import TopicIds
from clickstream.tracking_api import limits
from clickstream.tracking_api.availability import ANY, Admission, Admitted, TopicPartition
from clickstream.tracking_api.records import Record

_log = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.1
_METADATA_TIMEOUT: Final = 5.0
_METADATA_SECONDS: Final = 60.0
"""Between two requests for the number of partitions."""
_TOPIC_CHECK_SECONDS: Final = 5.0
"""Between two checks whether the topics are still the same."""
# The brokers, or the client for them, have examined the record and will never take it.
_PERMANENT_ERRORS: Final = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_MSG_SIZE, KafkaError.INVALID_RECORD}
)


class Outcome(Enum):
    """`DELIVERED`: all in-sync replicas have it. `REJECTED`: they never will. `UNAVAILABLE`: neither is known."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"


class _PartitionReport(NamedTuple):
    """What a delivery report says about a partition; `error` is None for a record that was taken."""

    partition: TopicPartition
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
        self._reports: list[_PartitionReport] = []
        self._unsent: deque[tuple[_Delivery, int]] = deque()
        self._stop = threading.Event()
        self._config = config | {"error_cb": self._on_error}
        self._retired: list[Any] = []
        self._renew = threading.Event()
        self._producer = self._connected()
        self._thread = threading.Thread(target=self._poll, name="kafka-poll")
        self._thread.start()

    def __len__(self) -> int:
        """Records that wait for delivery."""
        return len(self._producer) + sum(map(len, self._retired))

    def _connected(self) -> Any:
        return Producer(polled(self._config))

    async def send(self, records: list[Record]) -> list[Outcome]:
        """Write the records and wait until the brokers have them, 9 s at most; the outcome of each.

        Records of partitions that are failing are not written (but for a probe); the others are written all the same.
        """
        admitted = self._admission.admit(records)
        if not admitted:
            return [Outcome.UNAVAILABLE] * len(records)
        delivery = _Delivery(len(records), len(admitted), self._loop.create_future())
        unsent = len(admitted) - self._produce(records, admitted, delivery)
        if unsent:
            self._unsent.append((delivery, unsent))
        # librdkafka reports each record within message.timeout.ms; this is for the case that it does not.
        timer = self._loop.call_later(limits.DELIVERY_SECONDS, _resolve, delivery)
        try:
            await delivery.future
        finally:
            timer.cancel()
        return list(delivery.outcomes)  # a copy: late reports change the original

    def _produce(self, records: list[Record], admitted: list[Admitted], delivery: _Delivery) -> int:
        """Queue the admitted records; how many are queued. A probe of which nothing is queued counts as unsent."""
        queued, producer = 0, self._producer  # one for all of a request: its reports come from one poll
        probes = {entry.probe for entry in admitted if entry.probe is not None}
        for entry in admitted:
            record = records[entry.number]
            try:
                producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    entry.partition,
                    headers=record.headers,
                    on_delivery=partial(self._report, delivery, entry),
                )
            except BufferError:
                break  # the queue is full: what is in it may still arrive, and the client sends the rest again
            except KafkaException as error:
                reason = error.args[0]
                if reason.code() in _PERMANENT_ERRORS:
                    delivery.outcomes[entry.number] = Outcome.REJECTED
                else:
                    self._admission.failed(TopicPartition(record.topic, ANY), reason.name(), probe=False)
                continue
            queued += 1
            if entry.probe is not None:
                probes.discard(entry.probe)
        for partition in probes:
            self._admission.unsent(partition)
        return queued

    def watch_partitions(self, topics: list[str]) -> None:
        """Keep the topics' numbers of partitions up to date, so that no request waits for them. Blocks until `close`.

        A topic that was created anew needs a new client: librdkafka takes what it learns of its leaders for outdated if
        those of the old topic had changed more often (confluentinc/librdkafka#4898), and goes on asking the old ones.
        """
        last_errors: dict[str, str] = {}
        ids = TopicIds(self._config, topics)
        ids.learn()
        requested_at = -_METADATA_SECONDS
        while not self._stop.is_set():
            if time.monotonic() - requested_at >= _METADATA_SECONDS:
                known = [self._request_metadata(topic, last_errors) for topic in topics]
                requested_at = time.monotonic() if all(known) else requested_at
            for topic in ids.changed():
                _log.warning("topic %s was created anew: what is sent to it from now on is sent by a new client", topic)
                self._renew.set()
            self._stop.wait(_TOPIC_CHECK_SECONDS if all(known) else 1.0)

    def _request_metadata(self, topic: str, last_errors: dict[str, str]) -> bool:
        """Whether the topic's partitions are known. An error is logged once; `last_errors` has it by topic."""
        if self._stop.is_set():
            return False
        try:
            found = self._producer.list_topics(topic, timeout=_METADATA_TIMEOUT).topics[topic]
            error = found.error
        except KafkaException as failure:
            error = failure.args[0]
        if error is None:
            self._admission.partitions[topic] = len(found.partitions)
            last_errors.pop(topic, None)
            return True
        if last_errors.get(topic) != error.name():
            last_errors[topic] = error.name()
            _log.warning("no metadata of topic %s (%s): retrying", topic, error.name())
        return topic in self._admission.partitions

    def close(self, seconds: float) -> int:
        """Deliver what is queued; how many records could not be within this time. Blocks."""
        self._stop.set()
        self._thread.join()
        deadline = time.monotonic() + seconds
        left = sum(int(each.flush(max(0.0, deadline - time.monotonic()))) for each in (*self._retired, self._producer))
        self._wake()
        return left

    def _poll(self) -> None:
        while not self._stop.is_set():
            if self._renew.is_set():
                self._renew.clear()
                self._retired.append(self._producer)
                self._producer = self._connected()
            self._producer.poll(_POLL_SECONDS)
            for each in list(self._retired):
                each.poll(0)
                if not len(each):
                    self._retired.remove(each)
            if self._done or self._reports or self._unsent:
                self._wake()

    def _report(self, delivery: _Delivery, entry: Admitted, error: Any, message: Any) -> None:
        rejected = error is not None and error.code() in _PERMANENT_ERRORS
        if error is None or rejected:
            delivery.outcomes[entry.number] = Outcome.REJECTED if rejected else Outcome.DELIVERED
            if not self._admission.all_available:  # a broker that rejects a record has examined it: the partition works
                partition = TopicPartition(message.topic(), message.partition())
                self._reports.append(_PartitionReport(partition, None, probe=False))
        else:
            partition = entry.probe or TopicPartition(message.topic(), message.partition())
            self._reports.append(_PartitionReport(partition, error.name(), probe=entry.probe is not None))
        self._count(delivery, 1)

    def _count(self, delivery: _Delivery, records: int) -> None:
        delivery.remaining -= records
        if delivery.remaining == 0:
            self._done.append(delivery)

    def _wake(self) -> None:
        while self._unsent:
            self._count(*self._unsent.popleft())
        done, self._done = self._done, []
        reports, self._reports = self._reports, []
        self._loop.call_soon_threadsafe(self._settle, reports, done)

    def _settle(self, reports: list[_PartitionReport], done: list[_Delivery]) -> None:
        for partition, error, probe in reports:
            if error is None:
                self._admission.delivered(partition)
            else:
                self._admission.failed(partition, error, probe=probe)
        for delivery in done:
            _resolve(delivery)

    def _on_error(self, error: Any) -> None:
        _log.log(logging.ERROR if error.fatal() else logging.WARNING, "Kafka client: %s", error.str())


def _resolve(delivery: _Delivery) -> None:
    if not delivery.future.done():  # its request may have been cancelled
        delivery.future.set_result(None)
