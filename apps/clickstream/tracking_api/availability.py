"""Whether it is worth asking Kafka: after a failed delivery only a probe goes to that partition until one has succeeded.

Without this, each request of an outage would wait for its own timeout, and thousands would wait at once. State is kept
for each partition of each topic, so that a partition without a leader refuses what belongs to it and nothing else. A
probe is an ordinary request, one at a time for a partition, so recovery needs nobody's help.

An outage lasts no longer than the partition's own: a probe waits in the producer and is delivered as soon as the
partition takes records again. Neither the failures of records that were sent before it nor a probe that was never
sent move the next one. That a connection was lost is no reason to refuse anything: brokers close idle ones all the time.

Belongs to one thread, the event loop's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

PAUSE_SECONDS: Final = 1.0
"""Between the starts of two probes, where they fail at once."""
PROBE_SECONDS: Final = 10.0
"""After that a probe counts as failed, whether or not its outcome was heard of."""
ANY: Final = -1
"""In the place of a partition: which one is not known, so the topic as a whole."""


class Place(NamedTuple):
    """One partition of a topic, or (`ANY`) the topic as a whole."""

    topic: str
    partition: int


class _Outage:
    """`next_probe` and `probe_until` are times of the clock; a probe is under way before `probe_until`."""

    __slots__ = ("next_probe", "probe_until")

    def __init__(self, now: float) -> None:
        self.next_probe = now
        self.probe_until = now


class Availability:
    """Told of outcomes and asked for admission. `clock` gives seconds; it never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._outages: dict[Place, _Outage] = {}

    @property
    def all_is_well(self) -> bool:
        """Whether nothing is failing. Any thread may ask."""
        return not self._outages

    def failing(self, place: Place) -> bool:
        """Whether this very place does not take records."""
        return place in self._outages

    def admits(self, place: Place) -> bool:
        """Whether a request may try; where the place is failing, it is the probe from now on until its outcome is told."""
        outage = self._outages.get(place)
        if outage is None:
            return True
        now = self._clock()
        if now < max(outage.next_probe, outage.probe_until):
            return False
        outage.next_probe = now + PAUSE_SECONDS
        outage.probe_until = now + PROBE_SECONDS
        return True

    def delivered(self, topic: str, partition: int) -> list[Place]:
        """Brokers have taken a record there. Gives the places of which that is news."""
        places = (Place(topic, partition), Place(topic, ANY))
        return [place for place in places if self._outages.pop(place, None) is not None]

    def failed(self, place: Place, *, probe: bool) -> bool:
        """Brokers have not taken a record in time; `probe`: one that was admitted as such. True when that is news."""
        outage = self._outages.get(place)
        if outage is None:
            self._outages[place] = _Outage(self._clock())
            return True
        if probe:
            outage.probe_until = self._clock()
        return False

    def unsent(self, place: Place) -> None:
        """What was admitted there was not sent after all: if it was a probe, another may be it at once."""
        outage = self._outages.get(place)
        if outage is not None:
            outage.next_probe = outage.probe_until = self._clock()
