"""Which records of a request may be tried, and to which partition they go, while some partitions do not take any.

As long as all is well nothing is computed here: librdkafka chooses the partitions. Once something fails, the partition
of a key is computed as librdkafka would, and a record without a key goes to a partition that is not failing.
"""

from __future__ import annotations

import itertools
import logging
from typing import NamedTuple

from clickstream.tracking_api.availability import ANY, Availability, Place
from clickstream.tracking_api.partitioner import partition_of

_log = logging.getLogger(__name__)


class Record(NamedTuple):
    """What is to be written."""

    topic: str
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


class Ticket(NamedTuple):
    """The record with this `number` in its request may be written to this partition (`ANY`: librdkafka chooses).

    `probe` is the failing place that it is a probe of.
    """

    number: int
    partition: int
    probe: Place | None


class Admission:
    """Belongs to the event loop; `partitions` (by topic, absent while unknown) is filled in by another thread."""

    def __init__(self, availability: Availability) -> None:
        self._availability = availability
        self._turns = itertools.count()
        self.partitions: dict[str, int] = {}

    @property
    def all_is_well(self) -> bool:
        """Whether no partition is failing. Any thread may ask."""
        return self._availability.all_is_well

    def admit(self, records: list[Record]) -> list[Ticket]:
        """A ticket for each record of a request that may be written."""
        if self._availability.all_is_well:
            return [Ticket(number, ANY, None) for number in range(len(records))]
        decisions: dict[Place, bool] = {}
        anywhere: dict[str, int] = {}
        tickets = []
        for number, record in enumerate(records):
            partition = ANY
            if record.key is None:
                if record.topic not in anywhere:
                    anywhere[record.topic] = self._anywhere(record.topic)
                partition = anywhere[record.topic]
            place = self._place(record, partition)
            if place not in decisions:
                decisions[place] = self._availability.admits(place)
            if decisions[place]:
                tickets.append(Ticket(number, partition, place if self._availability.failing(place) else None))
        return tickets

    def delivered(self, place: Place) -> None:
        """Brokers have taken a record there."""
        for recovered in self._availability.delivered(*place):
            _log.warning("%s takes records again", _name(recovered))

    def failed(self, place: Place, error: str, *, probe: bool) -> None:
        """Brokers have not taken a record there in time; `error` is Kafka's name of the reason."""
        if place.topic not in self.partitions:  # then no key can be told to belong there
            place = Place(place.topic, ANY)
        if self._availability.failed(place, probe=probe):
            _log.error(
                "%s does not take records (%s): events that belong there get 503 until it does", _name(place), error
            )

    def unsent(self, place: Place) -> None:
        """A probe of this place was admitted and not sent."""
        self._availability.unsent(place)

    def _place(self, record: Record, partition: int) -> Place:
        """What decides about a record; a topic that fails as a whole does so for each of its partitions."""
        whole = Place(record.topic, ANY)
        if self._availability.failing(whole):
            return whole
        if record.key is not None and record.topic in self.partitions:
            partition = partition_of(record.key, self.partitions[record.topic])
        return Place(record.topic, partition)

    def _anywhere(self, topic: str) -> int:
        """A partition for records without a key: in turn, one that is not failing if there is one."""
        partitions = range(self.partitions.get(topic, 0))
        healthy = [partition for partition in partitions if not self._availability.failing(Place(topic, partition))]
        choice = healthy or partitions
        return choice[next(self._turns) % len(choice)] if choice else ANY


def _name(place: Place) -> str:
    return f"topic {place.topic}" if place.partition == ANY else f"partition {place.partition} of topic {place.topic}"
