"""Rate limits: what a bucket admits against a model of it, the bounded table of addresses, and which limit refuses."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.dead_letters import KEPT_BYTES, KEPT_TEXT
from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import MIN_BURST, Source
from clickstream.tracking_api import limits
from clickstream.tracking_api.answers import limited, rejection
from clickstream.tracking_api.rate_limits import (
    ADDRESSES,
    DEAD_LETTER_BYTES,
    SECOND,
    AddressBuckets,
    Limit,
    SourceLimits,
    State,
    TokenBucket,
    limits_of,
    network_of,
)
from clickstream.tracking_api.records import Records
from clickstream.tracking_api.rejections import Code, Rejection
from clickstream.tracking_api.requests import RequestHeaders, most_events

START = 10**15
RATES = st.integers(1, 50) | st.integers(1, 1_000_000)
BURSTS = st.integers(1, 20) | st.integers(1, 10_000_000)
pauses = st.integers(0, 5) | st.integers(0, 3 * SECOND) | st.integers(0, 10**17)
"""Frozen for years, too."""


class Clock:
    now = START

    def __call__(self) -> int:
        return self.now


class OneAddress:
    """The bucket of one address, asked as a TokenBucket is."""

    def __init__(self, rate: int, burst: int) -> None:
        self._all = AddressBuckets(rate, burst, 1)

    def has(self, now: int, tokens: int) -> bool:
        return self._all.has(now, 7, tokens)

    def take(self, now: int, tokens: int) -> bool:
        return self._all.take(now, 7, tokens)

    def state(self, now: int, tokens: int) -> State:
        return self._all.state(now, 7, tokens)


@pytest.mark.parametrize("kind", [TokenBucket, OneAddress])
@given(data=st.data(), rate=RATES, burst=BURSTS)
def test_a_bucket_admits_what_a_model_of_it_does_and_never_more_in_any_window(kind, data, rate, burst):
    bucket, level, now = kind(rate, burst), Fraction(burst), START
    taken: list[tuple[int, int]] = []
    for pause, tokens in data.draw(st.lists(st.tuples(pauses, st.integers(1, burst)), max_size=30)):
        now += pause
        level = min(Fraction(burst), level + Fraction(rate * pause, SECOND))
        if data.draw(st.booleans()):
            left, wait = bucket.state(now, tokens)
            assert left == level // 1
            assert wait == max(0, -((level - tokens) * SECOND // rate)), "the first ns at which there are enough"
        assert bucket.has(now, tokens) == (level >= tokens)
        admitted = bucket.take(now, tokens)
        assert admitted == (level >= tokens)
        if admitted:
            level -= tokens
            taken.append((now, tokens))
    for first, (begin, _) in enumerate(taken):
        total = 0
        for end, tokens in taken[first:]:
            total += tokens
            assert total <= burst + Fraction(rate * (end - begin), SECOND)


@pytest.mark.parametrize("kind", [TokenBucket, OneAddress])
@given(data=st.data(), rate=RATES, burst=BURSTS)
def test_a_clock_that_is_set_to_and_fro_gives_no_more_than_its_ways_ahead_and_stops_nobody(kind, data, rate, burst):
    bucket, now = kind(rate, burst), START
    ahead = taken = 0
    for step in data.draw(st.lists(st.integers(-(10**17), 10**17) | st.integers(-SECOND, SECOND), max_size=30)):
        ahead += max(0, step)
        now = max(1, now + step)
        tokens = 1 + burst // 2
        if not bucket.take(now, tokens):
            wait = bucket.state(now, tokens).wait
            assert wait <= -(-burst * SECOND // rate)
            now, ahead = now + wait, ahead + wait
            assert bucket.take(now, tokens)
        taken += tokens
        assert taken <= burst + Fraction(rate * ahead, SECOND)


@given(data=st.data(), rate=RATES, burst=st.integers(1, 1_000))
def test_what_is_given_back_is_there_again_and_lets_through_what_came_while_it_was_held_at_most(data, rate, burst):
    longest = 9 * SECOND
    bucket, now = TokenBucket(rate, burst), START
    held: list[tuple[int, int]] = []
    used: list[tuple[int, int]] = []
    steps = st.tuples(st.integers(0, 2 * longest), st.integers(1, burst), st.booleans())
    for pause, tokens, fails in data.draw(st.lists(steps, max_size=20)):
        until = now + pause
        for back_at, back in [each for each in held if each[0] <= until]:
            held.remove((back_at, back))
            bucket.give_back(back)
        now = until
        if bucket.take(now, tokens):
            if fails:
                held.append((now + longest, tokens))
            else:
                used.append((now, tokens))
    for first, (begin, _) in enumerate(used):
        total = 0
        for end, tokens in used[first:]:
            total += tokens
            assert total <= burst + Fraction(rate * (end - begin + 3 * longest), SECOND)


def test_what_is_given_back_at_once_was_never_taken():
    bucket = TokenBucket(rate=3, burst=10)
    assert bucket.take(START, 4)
    for now in (START, START + SECOND, START + 9 * SECOND):
        before = bucket.state(now, 10)
        assert bucket.take(now, before.left)
        bucket.give_back(before.left)
        assert bucket.state(now, 10) == before


def test_the_table_of_addresses_is_bounded_and_forgets_whoever_was_not_seen_for_longest():
    buckets = AddressBuckets(rate=1, burst=10, most=100)
    noisy = 10**9
    assert buckets.take(START, noisy, 10)
    for number in range(20_000):
        assert buckets.take(START, number, 1)
        assert len(buckets) <= 100
        if number % 50 == 0:
            assert not buckets.take(START, noisy, 1)
            assert buckets.state(START, noisy, 1) == (0, SECOND), "asking in vain is being seen"
    assert buckets.forgotten == 20_001 - 100
    for number in range(1_000):
        assert buckets.take(START + 11 * SECOND, 10**6 + number, 1)
    assert buckets.forgotten == 20_001 - 100 + 900, "those that were full again are nothing to be told of"


def test_an_address_is_one_in_ipv4_and_a_64_in_ipv6():
    def network(text: str) -> int:
        return network_of(ip_address(text))

    assert network("203.0.113.9") != network("203.0.113.10")
    assert network("2001:db8::1") == network("2001:db8::ffff:1:2:3")
    assert network("2001:db8::1") != network("2001:db8:0:1::1")
    assert network("64:ff9b::203.0.113.9") == network("203.0.113.9") != network("64:ff9b::203.0.113.10")
    assert network("::203.0.113.9") != network("203.0.113.9")
    assert len({network_of(None), network("::"), network("0.0.0.0"), network("255.255.255.255")}) == 4


def source(**given: object) -> Source:
    return msgspec.convert({"name": "web", "limits": given}, Source)


SHOP, OFFICE = ip_address("203.0.113.9"), ip_address("2001:db8::1")


def test_without_limits_everything_is_taken():
    free = SourceLimits(source(), clock=Clock())
    assert free.kinds == []
    assert [free.take(SHOP, 500) for _ in range(1_000)] == [None] * 1_000


def test_a_request_is_taken_from_all_buckets_or_from_none():
    clock = Clock()
    both = SourceLimits(
        source(source={"eventsPerSecond": 100}, address={"eventsPerSecond": 5, "burst": 600}), clock=clock
    )
    policies = '"source";q=1000;w=10;qu="events", "address";q=600;w=120;qu="events"'
    assert both.kinds == [Limit.SOURCE, Limit.ADDRESS]
    assert both.take(SHOP, 500) is None
    assert both.take(SHOP, 200) == (Limit.ADDRESS, 100, 20, policies)
    assert both.take(OFFICE, 500) is None, "what an address was refused, the source still has"
    assert both.refusal(OFFICE, 1) == (Limit.SOURCE, 0, 1, policies)
    assert both.take(OFFICE, 200) == (Limit.ADDRESS, 100, 20, policies), "the longer one of two waits"
    assert both.take(SHOP, 100) == (Limit.SOURCE, 0, 1, policies)
    clock.now += SECOND
    assert both.take(SHOP, 100) is None, "nothing was taken from the address in vain"
    assert both.take(ip_address("203.0.113.10"), 500) == (Limit.SOURCE, 0, 5, policies)
    assert both.refusal(SHOP, 500) == (Limit.ADDRESS, 5, 99, policies), "the wait is for all of it"
    clock.now += SECOND
    assert both.refusal(SHOP, 500) is None, "one event of it might be taken"


def test_a_bucket_holds_a_whole_batch_at_least():
    assert MIN_BURST == limits.BATCH_EVENTS
    slow = SourceLimits(source(source={"eventsPerSecond": 1}), clock=Clock())
    assert slow.take(SHOP, limits.BATCH_EVENTS) is None
    assert slow.take(SHOP, limits.BATCH_EVENTS).seconds == limits.BATCH_EVENTS


def test_a_batch_of_more_than_a_bucket_holds_is_taken_when_that_is_full():
    """Segment's batches have up to 2,500 events."""
    clock = Clock()
    slow = SourceLimits(
        source(source={"eventsPerSecond": 10, "burst": 500}, address={"eventsPerSecond": 99}), clock=clock
    )
    assert slow.take(None, 2_500) is None
    refusal = slow.take(None, 2_500)
    assert (refusal.limit, refusal.left, refusal.seconds) == ("source", 0, 50)
    clock.now += 50 * SECOND
    assert slow.take(None, 2_500) is None


def test_the_addresses_of_all_sources_share_one_bound():
    sources = [Source(f"s{number}", limits=source(address={"eventsPerSecond": 1}).limits) for number in range(3)]
    made = limits_of([*sources, Source("free")])
    assert list(made) == ["s0", "s1", "s2", "free"]
    for number in range(ADDRESSES // 3 + 10):
        made["s0"].take(ip_address(number), 1)
    assert len(made["s0"].addresses) == ADDRESSES // 3
    assert len(made["s1"].addresses) == 0
    assert made["free"].addresses is None


def test_the_budget_of_dead_letters_takes_the_largest_one_at_once():
    largest = Records(Names("n" * 20, "p" * 20), by_session=False).dead_letter(
        b"x" * (KEPT_BYTES + 1), Rejection(Code.TOO_MANY_PROPERTIES, "p" * 9_999, "é" * 9_999), START, "s" * 256
    )
    assert KEPT_BYTES + 2 * KEPT_TEXT < largest.size < DEAD_LETTER_BYTES
    clock = Clock()
    budget = SourceLimits(source(deadLetters={"bytesPerSecond": 1_024}), clock=clock)
    assert budget.take_dead_letter(largest.size)
    assert not budget.take_dead_letter(largest.size)
    clock.now += DEAD_LETTER_BYTES // 1_024 * SECOND
    assert budget.take_dead_letter(largest.size)


def test_the_answer_says_which_limit_and_when_to_come_again():
    slow = SourceLimits(source(source={"eventsPerSecond": 3, "burst": 500}), clock=Clock())
    assert slow.take(None, 490) is None
    answer = limited(slow.take(None, 25), rejection)
    assert answer.status == 429
    headers = dict(answer.headers)
    assert headers[b"retry-after"] == b"5"
    assert headers[b"ratelimit"] == b'"source";r=10;t=5'
    assert headers[b"ratelimit-policy"] == b'"source";q=500;w=167;qu="events"'
    assert msgspec.json.decode(answer.body)["error"]["code"] == "rate_limited"


def test_a_batch_that_is_not_read_waits_for_as_many_events_as_it_can_hold():
    good = b'{"event_id":"e","timestamp":"2026-01-31T08:30:00Z","user_id":"u","session_id":"s","page":"/"},'

    def most(length: bytes, encoding: bytes = b"") -> int:
        return most_events(RequestHeaders(b"", None, content_length=length, content_encoding=encoding))

    for events in (1, 2, 50, 499):
        assert events <= most(b"%d" % (events * len(good))) <= 2 * events + 1
    for length in (b"", b"x", b"-1", b"524288", b"9" * 10_000):
        assert most(length) == limits.BATCH_EVENTS
    assert most(b"100", b"gzip") == limits.BATCH_EVENTS
