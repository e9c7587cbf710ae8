"""Which records of a request may be written, and to which partition, while some partitions take none.

A circuit breaker: after a failed delivery only a probe goes to that partition, until one has succeeded. Without this,
each request of an outage would wait for its own timeout, and thousands would wait at once. State is kept for each
partition of each topic, so that a partition without a leader fails the requests that need it and no others. A probe is
an ordinary request, one at a time for a partition, so that it recovers without manual action.

An outage lasts no longer than the partition's own: a probe waits in the producer and is delivered as soon as the
partition takes records again. Neither failures of records that were sent before it nor a probe that was never sent
delay the next one. A lost connection does not begin an outage: brokers close idle ones all the time.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from clickstream.tracking_api.records import Record

PAUSE_SECONDS: Final = 1.0
"""Between the starts of two probes, where they fail at once."""
PROBE_SECONDS: Final = 10.0
"""After that a probe counts as failed, whether or not its outcome is known."""
ANY: Final = -1
"""As a partition: which one is not known, so the topic as a whole."""
_MASK: Final = 0xFFFFFFFF
_M: Final = 0x5BD1E995
_log = logging.getLogger(__name__)


class TopicPartition(NamedTuple):
    """One partition of a topic, or (`ANY`) the topic as a whole."""

    topic: str
    partition: int

    def __str__(self) -> str:
        whole = self.partition == ANY
        return f"topic {self.topic}" if whole else f"partition {self.partition} of topic {self.topic}"


class _Outage:
    """`next_probe` and `probe_until` are times of the clock; a probe is under way before `probe_until`."""

    __slots__ = ("next_probe", "probe_until")

    def __init__(self, now: float) -> None:
        self.next_probe = now
        self.probe_until = now


class Availability:
    """Which partitions are failing. Belongs to the event loop. `clock` returns seconds and never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._outages: dict[TopicPartition, _Outage] = {}

    @property
    def all_available(self) -> bool:
        """Whether nothing is failing. Any thread may ask."""
        return not self._outages

    def failing(self, partition: TopicPartition) -> bool:
        """Whether this very partition (or whole topic) is failing."""
        return partition in self._outages

    def admits(self, partition: TopicPartition) -> bool:
        """Whether a request may write there; if the partition is failing, as its probe until the outcome is known."""
        outage = self._outages.get(partition)
        if outage is None:
            return True
        now = self._clock()
        if now < max(outage.next_probe, outage.probe_until):
            return False
        outage.next_probe = now + PAUSE_SECONDS
        outage.probe_until = now + PROBE_SECONDS
        return True

    def delivered(self, partition: TopicPartition) -> list[TopicPartition]:
        """Note that brokers took a record. Returns what has recovered: the partition, the topic as a whole."""
        candidates = (partition, TopicPartition(partition.topic, ANY))
        return [each for each in candidates if self._outages.pop(each, None) is not None]

    def failed(self, partition: TopicPartition, *, probe: bool) -> bool:
        """Note that brokers did not take a record in time, whether as a probe or not. True when an outage begins."""
        outage = self._outages.get(partition)
        if outage is None:
            self._outages[partition] = _Outage(self._clock())
            return True
        if probe:
            outage.probe_until = self._clock()
        return False

    def unsent(self, partition: TopicPartition) -> None:
        """Note that what was admitted was not sent after all: if it was a probe, another may follow at once."""
        outage = self._outages.get(partition)
        if outage is not None:
            outage.next_probe = outage.probe_until = self._clock()


class Admitted(NamedTuple):
    """The record at position `number` of its request may be written to this partition (`ANY`: librdkafka chooses).

    `probe` is the failing partition that it is a probe of.
    """

    number: int
    partition: int
    probe: TopicPartition | None


class Admission:
    """Chooses records and their partitions. Belongs to the event loop.

    While all is available nothing is computed: librdkafka chooses the partitions. Once something fails, the partition
    of a key is computed as librdkafka would, and a record without a key goes to a partition that is not failing.
    `partitions` is their number by topic, absent while unknown; another thread fills it in.
    """

    def __init__(self, availability: Availability) -> None:
        self._availability = availability
        self._turns = itertools.count()
        self.partitions: dict[str, int] = {}

    @property
    def all_available(self) -> bool:
        """Whether no partition is failing. Any thread may ask."""
        return self._availability.all_available

    def admit(self, records: list[Record]) -> list[Admitted]:
        """Those records of a request that may be written."""
        if self._availability.all_available:
            return [Admitted(number, ANY, None) for number in range(len(records))]
        decisions: dict[TopicPartition, bool] = {}
        without_key: dict[str, int] = {}
        admitted = []
        for number, record in enumerate(records):
            chosen = ANY
            if record.key is None:
                if record.topic not in without_key:
                    without_key[record.topic] = self._choose(record.topic)
                chosen = without_key[record.topic]
            partition = self._deciding(record, chosen)
            if partition not in decisions:
                decisions[partition] = self._availability.admits(partition)
            if decisions[partition]:
                probe = partition if self._availability.failing(partition) else None
                admitted.append(Admitted(number, chosen, probe))
        return admitted

    def delivered(self, partition: TopicPartition) -> None:
        """Note that brokers took a record there."""
        for recovered in self._availability.delivered(partition):
            _log.warning("%s takes records again", recovered)

    def failed(self, partition: TopicPartition, error: str, *, probe: bool) -> None:
        """Note that brokers did not take a record there in time; `error` is Kafka's name of the reason."""
        if partition.topic not in self.partitions:  # then no key can be known to belong there
            partition = TopicPartition(partition.topic, ANY)
        if self._availability.failed(partition, probe=probe):
            _log.error(
                "%s does not take records (%s): events that belong there get 503 until it does", partition, error
            )

    def unsent(self, partition: TopicPartition) -> None:
        """Note that an admitted probe was not sent."""
        self._availability.unsent(partition)

    def _deciding(self, record: Record, chosen: int) -> TopicPartition:
        """Whose availability decides about a record: its partition's, or the topic's if that fails as a whole."""
        whole = TopicPartition(record.topic, ANY)
        if self._availability.failing(whole):
            return whole
        if record.key is not None and record.topic in self.partitions:
            chosen = partition_of(record.key, self.partitions[record.topic])
        return TopicPartition(record.topic, chosen)

    def _choose(self, topic: str) -> int:
        """A partition for records without a key: in turn, one that is not failing if there is one."""
        partitions = range(self.partitions.get(topic, 0))
        healthy = [each for each in partitions if not self._availability.failing(TopicPartition(topic, each))]
        choice = healthy or partitions
        return choice[next(self._turns) % len(choice)] if choice else ANY


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key among so many: as librdkafka's `murmur2_random` and Kafka's Java clients choose it."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """MurmurHash2, 32 bits, with the seed of Kafka's clients; unsigned."""
    length = len(data)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if length > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15
