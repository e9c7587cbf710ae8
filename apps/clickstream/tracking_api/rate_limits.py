"""How many events a source and each of its clients may send, and how many bytes of dead letters they may leave behind.

Token buckets in this process's memory, by a clock that nobody sets (docs/adr/0017): no request waits for another
process, and all pods together admit at most as many times more as there are pods. A bucket is one integer: the moment
when it is full again, times its rate, so that its arithmetic is exact. A process that was frozen, or a clock that
jumps ahead, finds its buckets full and no more than that.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Final, NamedTuple

from clickstream.contracts.pipeline import Rate, Source
from clickstream.tracking_api import limits
from clickstream.tracking_api.address import Address

SECOND: Final = 1_000_000_000
ADDRESSES: Final = 65_536
"""Buckets of addresses in a process, shared out among the sources that limit addresses: some 16 MB."""
BURST_SECONDS: Final = 10
"""What a bucket holds where no burst is given; never less than a batch."""
DEAD_LETTER_SECONDS: Final = 60
DEAD_LETTER_BYTES: Final = 1_048_576
"""What the budget of dead letters holds at least: the largest one."""
_NAT64: Final = 0x0064_FF9B << 64
_IPV4: Final = 2**32 - 1

Clock = Callable[[], int]


class Limit(StrEnum):
    """Whose bucket refused a request: that of all of the source's events, or that of one client's address.

    VALIDATION is that of all sources' validations, which store nothing.
    """

    SOURCE = "source"
    ADDRESS = "address"
    VALIDATION = "validation"


class State(NamedTuple):
    """Of a bucket: whole tokens that it has, and in how many ns it has as many as are wanted."""

    left: int
    wait: int


class Refusal(NamedTuple):
    """Why a request is refused: which limit, the events that it has left, and in how many seconds it has enough."""

    limit: Limit
    left: int
    seconds: int
    policies: str
    """All limits of the source, as `RateLimit-Policy` has them."""


class TokenBucket:
    """Holds at most `burst` tokens and gets `rate` a second; times are in ns."""

    __slots__ = ("_burst", "_full_at", "_rate")

    def __init__(self, rate: int, burst: int) -> None:
        self._rate, self._burst, self._full_at = rate, burst * SECOND, 0

    def has(self, now: int, tokens: int) -> bool:
        now *= self._rate
        return max(self._full_at, now) + tokens * SECOND <= now + self._burst

    def take(self, now: int, tokens: int) -> bool:
        """Whether it had so many tokens, no more than `burst`; where it had not, nothing is taken."""
        now *= self._rate
        full_at = max(self._full_at, now) + tokens * SECOND
        if full_at > now + self._burst:
            return False
        self._full_at = full_at
        return True

    def give_back(self, tokens: int) -> None:
        """Put back what was taken and not used."""
        self._full_at -= tokens * SECOND

    def state(self, now: int, tokens: int) -> State:
        """Whole tokens that are there, and in how many ns there will be so many."""
        now *= self._rate
        self._full_at = min(self._full_at, now + self._burst)  # it lacks no more than all, if the clock was set back
        return _state(self._full_at - now, tokens, self._rate, self._burst)


class AddressBuckets:
    """A TokenBucket for each address that was seen lately: the `most` that were seen last, the others count as full.

    An address is what `network_of` says.
    """

    __slots__ = ("_burst", "_full_at", "_most", "_rate", "forgotten")

    def __init__(self, rate: int, burst: int, most: int) -> None:
        self._rate, self._burst, self._most = rate, burst * SECOND, most
        self._full_at: OrderedDict[int, int] = OrderedDict()
        self.forgotten = 0
        """Buckets that had to make room before they were full again."""

    def __len__(self) -> int:
        return len(self._full_at)

    def has(self, now: int, address: int, tokens: int) -> bool:
        now *= self._rate
        return max(self._full_at.get(address, 0), now) + tokens * SECOND <= now + self._burst

    def take(self, now: int, address: int, tokens: int) -> bool:
        """As of a TokenBucket."""
        now *= self._rate
        table = self._full_at
        full_at = max(table.get(address, 0), now) + tokens * SECOND
        if full_at > now + self._burst:
            return False
        table[address] = full_at
        table.move_to_end(address)
        if len(table) > self._most:
            self.forgotten += table.popitem(last=False)[1] > now
        return True

    def state(self, now: int, address: int, tokens: int) -> State:
        """As of a TokenBucket; whoever asks in vain is seen, too."""
        now *= self._rate
        table = self._full_at
        full_at = table.get(address)
        if full_at is None:
            return _state(0, tokens, self._rate, self._burst)
        table[address] = full_at = min(full_at, now + self._burst)
        table.move_to_end(address)
        return _state(full_at - now, tokens, self._rate, self._burst)


def _state(missing: int, tokens: int, rate: int, burst: int) -> State:
    """Of a bucket that lacks `missing`; this and `burst` are tokens times 10⁹."""
    missing = max(0, missing)
    over = missing + tokens * SECOND - burst
    return State((burst - missing) // SECOND, -(-over // rate) if over > 0 else 0)


def network_of(address: Address | None) -> int:
    """What an address counts as: IPv4 as itself, IPv6 as its /64, which is what one client gets.

    An IPv4 client behind NAT64 (64:ff9b::/96) counts as itself: all of them share one /64.
    """
    if address is None:
        return -1
    number = int(address)
    if isinstance(address, IPv4Address):
        return number
    return number & _IPV4 if number >> 32 == _NAT64 else _IPV4 + 1 + (number >> 64)


class SourceLimits:
    """The buckets of one source. `addresses`: how many of them may be kept."""

    __slots__ = ("_clock", "_least_burst", "_policies", "_source", "addresses", "dead_letters")

    def __init__(self, source: Source, addresses: int = ADDRESSES, clock: Clock = time.monotonic_ns) -> None:
        given = source.limits
        budget = given.dead_letters.bytes_per_second
        self._clock = clock
        self._source = None if given.source is None else TokenBucket(*_rate(given.source))
        self.addresses = None if given.address is None else AddressBuckets(*_rate(given.address), addresses)
        self.dead_letters = TokenBucket(budget, max(DEAD_LETTER_BYTES, DEAD_LETTER_SECONDS * budget))
        rates = {Limit.SOURCE: given.source, Limit.ADDRESS: given.address}
        self._policies = {limit: _policy(limit, rate) for limit, rate in rates.items() if rate is not None}
        self._least_burst = min((_rate(rate)[1] for rate in rates.values() if rate is not None), default=0)

    @property
    def kinds(self) -> list[Limit]:
        """The limits that there are."""
        return list(self._policies)

    def refusal(self, address: Address | None, events: int) -> Refusal | None:
        """Why not one event from this address may be taken now, and when so many may be; takes nothing."""
        source, addresses = self._source, self.addresses
        if source is None and addresses is None:
            return None
        now, network, events = self._clock(), network_of(address), min(events, self._least_burst)
        if (source is None or source.has(now, 1)) and (addresses is None or addresses.has(now, network, 1)):
            return None
        return self._refusal(now, network, events)

    def take(self, address: Address | None, events: int) -> Refusal | None:
        """Take so many events from every bucket, or, where one refuses, from none.

        A batch of more than a bucket holds costs all that the smallest one holds: it could never be taken otherwise.
        """
        source, addresses = self._source, self.addresses
        if source is None and addresses is None:
            return None
        now, events = self._clock(), min(events, self._least_burst)
        if source is not None and not source.take(now, events):
            return self._refusal(now, network_of(address), events)
        if addresses is not None and not addresses.take(now, network := network_of(address), events):
            if source is not None:
                source.give_back(events)
            return self._refusal(now, network, events)
        return None

    def left(self, address: Address | None) -> dict[Limit, int]:
        """The events that each limit would take of this address now; takes nothing."""
        now, found = self._clock(), {}
        if self._source is not None:
            found[Limit.SOURCE] = self._source.state(now, 0).left
        if self.addresses is not None:
            found[Limit.ADDRESS] = self.addresses.state(now, network_of(address), 0).left
        return found

    def take_dead_letter(self, size: int) -> bool:
        """Whether a dead letter of so many bytes is within the budget."""
        return self.dead_letters.take(self._clock(), size)

    def _refusal(self, now: int, network: int, events: int) -> Refusal | None:
        """Of the limit that asks for the longest wait."""
        found: list[tuple[Limit, State]] = []
        if self._source is not None:
            found.append((Limit.SOURCE, self._source.state(now, events)))
        if self.addresses is not None:
            found.append((Limit.ADDRESS, self.addresses.state(now, network, events)))
        limit, state = max(found, key=lambda each: each[1].wait)
        if not state.wait:
            return None
        return Refusal(limit, state.left, -(-state.wait // SECOND), ", ".join(self._policies.values()))


class ValidationLimit:
    """The bucket of all validations of a process: they cost more than what they foretell, and anybody may ask."""

    __slots__ = ("_bucket", "_clock", "_policy")

    def __init__(self, clock: Clock = time.monotonic_ns) -> None:
        rate = Rate(limits.VALIDATED_EVENTS_PER_SECOND, limits.BATCH_EVENTS)
        self._clock = clock
        self._bucket = TokenBucket(*_rate(rate))
        self._policy = _policy(Limit.VALIDATION, rate)

    def take(self, events: int) -> Refusal | None:
        """Take so many events (`BATCH_EVENTS` at most), or none."""
        now = self._clock()
        if self._bucket.take(now, events):
            return None
        left, wait = self._bucket.state(now, events)
        return Refusal(Limit.VALIDATION, left, -(-wait // SECOND), self._policy)

    def give_back(self, events: int) -> None:
        """Put back what was taken for events that are not judged."""
        self._bucket.give_back(events)


def limits_of(sources: list[Source]) -> Mapping[str, SourceLimits]:
    """The buckets of a pipeline's sources, by name."""
    limited = sum(source.limits.address is not None for source in sources)
    return {source.name: SourceLimits(source, ADDRESSES // max(1, limited)) for source in sources}


def _rate(rate: Rate) -> tuple[int, int]:
    """Events a second, and how many at once: never less than a batch, which could never be taken otherwise."""
    return rate.events_per_second, rate.burst or max(limits.BATCH_EVENTS, BURST_SECONDS * rate.events_per_second)


def _policy(limit: Limit, rate: Rate) -> str:
    """A bucket as an item of `RateLimit-Policy`: its whole content comes again within `w` seconds."""
    per_second, burst = _rate(rate)
    return f'"{limit}";q={burst};w={-(-burst // per_second)};qu="events"'
