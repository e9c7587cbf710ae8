"""Whose requests are refused while a partition takes no records: its own, and for no longer than it takes none."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickstream.tracking_api.availability import (
    ANY,
    PAUSE_SECONDS,
    PROBE_SECONDS,
    Admission,
    Availability,
    TopicPartition,
    murmur2,
    partition_of,
)
from clickstream.tracking_api.records import Record

CLICKS, LETTERS = "raw-clicks", "dead-letters"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Asked:
    """What became of one request: when it came, for which partitions, and whether all of it was admitted."""

    at: float
    partitions: list[int]
    admitted: bool


@dataclass
class World:
    """Brokers of which some partitions take nothing for a while, seen by the producer's own classes."""

    outages: dict[int, tuple[float, float]]
    partitions: int = 12
    timeout: float = 8.0
    requests: list[Asked] = field(default_factory=list)

    def run(self, seconds: float, every: float, records: int = 1, delay: float = 0.005) -> None:
        clock = Clock()
        clock.now = 0.0
        admission = Admission(Availability(clock))
        admission.partitions[CLICKS] = self.partitions
        reports: list = []
        numbers, keys = itertools.count(), itertools.count()
        for step in range(int(seconds / every)):
            now = step * every
            while reports and reports[0][0] <= now:
                clock.now, _, place, error, probe = heapq.heappop(reports)
                admission.failed(place, "timed out", probe=probe) if error else admission.delivered(place)
            clock.now = now
            sent = [Record(CLICKS, b"user %d" % next(keys), b"", []) for _ in range(records)]
            tickets = admission.admit(sent)
            for ticket in tickets:
                partition = partition_of(sent[ticket.number].key, self.partitions)
                begin, end = self.outages.get(partition, (0.0, 0.0))
                if not begin <= now < end:
                    report = (now + delay, False)
                elif end < now + self.timeout:
                    report = (end + delay, False)  # it waits in the producer until the partition is back
                else:
                    report = (now + self.timeout, True)
                place = ticket.probe or TopicPartition(CLICKS, partition)
                heapq.heappush(reports, (report[0], next(numbers), place, report[1], ticket.probe is not None))
            places = [partition_of(record.key, self.partitions) for record in sent]
            self.requests.append(Asked(now, places, len(tickets) == len(sent)))


@pytest.mark.parametrize("partitions", [3, 12])
def test_a_partition_without_a_leader_refuses_nothing_that_belongs_to_others(partitions):
    world = World({0: (10.0, 70.0)}, partitions)
    world.run(seconds=90, every=0.01)
    others = [asked for asked in world.requests if 0 not in asked.partitions]
    assert len(others) > 5_000
    assert all(asked.admitted for asked in others)

    waiting = [asked for asked in world.requests if 0 in asked.partitions and 18.5 < asked.at < 69.9 and asked.admitted]
    assert 4 <= len(waiting) <= 60, "one probe at a time, and never none"
    after = [asked for asked in world.requests if 0 in asked.partitions and asked.at > 70.05]
    assert all(asked.admitted for asked in after), "the probe that was waiting has told that it is over"


def test_all_partitions_of_a_request_are_judged_by_themselves():
    world = World({0: (10.0, 70.0)}, partitions=3)
    world.run(seconds=60, every=0.05, records=9)
    for asked in world.requests:
        if asked.at > 20 and 0 not in asked.partitions:
            assert asked.admitted


windows = st.tuples(st.floats(0, 40), st.floats(0.1, 30)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.integers(0, 3), windows, max_size=3), st.sampled_from([8.0, 0.0]), st.floats(0.001, 0.4))
def test_whatever_fails_an_outage_ends_with_its_cause(outages, timeout, delay):
    world = World(outages, partitions=4, timeout=timeout)
    world.run(seconds=90, every=0.05, delay=delay)
    for asked in world.requests:
        [partition] = asked.partitions
        begin, end = outages.get(partition, (0.0, 0.0))
        if asked.at < begin or asked.at > end + PAUSE_SECONDS + delay + 2 * 0.05 * 12:
            assert asked.admitted, (asked, outages)


def failing(*places: TopicPartition) -> tuple[Clock, Admission]:
    clock = Clock()
    admission = Admission(Availability(clock))
    admission.partitions |= {CLICKS: 12, LETTERS: 3}
    for place in places:
        admission.failed(place, "timed out", probe=False)
    return clock, admission


def key_of(partition: int) -> bytes:
    return next(key for key in (b"%d" % n for n in itertools.count()) if partition_of(key, 12) == partition)


def click(partition: int) -> Record:
    return Record(CLICKS, key_of(partition), b"", [])


LETTER = Record(LETTERS, None, b"", [])


def test_while_all_available_librdkafka_chooses_the_partitions():
    _, admission = failing()
    assert [(t.number, t.partition, t.probe) for t in admission.admit([click(1), LETTER])] == [
        (0, ANY, None),
        (1, ANY, None),
    ]


def test_one_probe_goes_through_at_a_time_with_all_of_its_requests_records():
    clock, admission = failing(TopicPartition(CLICKS, 4))
    assert [t.number for t in admission.admit([click(3), click(4), click(4), click(5)])] == [0, 1, 2, 3]
    assert [t.number for t in admission.admit([click(3), click(4), click(5)])] == [0, 2], "the probe is under way"
    clock.now += PROBE_SECONDS - 0.1
    assert admission.admit([click(4)]) == []
    clock.now += 0.1
    [ticket] = admission.admit([click(4)])
    assert ticket.probe == TopicPartition(CLICKS, 4), "a probe that nobody hears of again is followed by another"


def test_failures_of_what_was_sent_before_do_not_move_the_next_probe():
    clock, admission = failing(TopicPartition(CLICKS, 4))
    for _ in range(100):
        clock.now += 0.01
        admission.failed(TopicPartition(CLICKS, 4), "timed out", probe=False)
    assert admission.admit([click(4)])


def test_a_probe_that_failed_at_once_is_followed_by_the_next_a_second_after_it_began():
    clock, admission = failing(TopicPartition(CLICKS, 4))
    admission.admit([click(4)])
    clock.now += 0.2
    admission.failed(TopicPartition(CLICKS, 4), "not enough replicas", probe=True)
    assert admission.admit([click(4)]) == []
    clock.now += PAUSE_SECONDS - 0.2
    assert admission.admit([click(4)])


def test_a_probe_that_was_waiting_for_its_timeout_is_followed_by_the_next_at_once():
    clock, admission = failing(TopicPartition(CLICKS, 4))
    admission.admit([click(4)])
    clock.now += 8.0
    admission.failed(TopicPartition(CLICKS, 4), "timed out", probe=True)
    assert admission.admit([click(4)])


def test_a_probe_that_was_not_sent_is_none():
    _, admission = failing(TopicPartition(CLICKS, 4))
    [ticket] = admission.admit([click(4)])
    admission.unsent(ticket.probe)
    assert admission.admit([click(4)])


def test_dead_letters_go_where_they_are_taken_and_to_none_only_where_all_fail():
    _, admission = failing(TopicPartition(LETTERS, 0), TopicPartition(LETTERS, 2))
    for _ in range(5):
        assert [t.partition for t in admission.admit([LETTER, LETTER])] == [1, 1]
    admission.failed(TopicPartition(LETTERS, 1), "timed out", probe=False)
    probes = {t.probe for _ in range(6) for t in admission.admit([LETTER])}
    assert probes == {TopicPartition(LETTERS, 0), TopicPartition(LETTERS, 1), TopicPartition(LETTERS, 2)}
    assert admission.admit([LETTER]) == []
    assert len(admission.admit([click(1)])) == 1, "clicks do not depend on dead letters"


def test_a_topic_that_cannot_be_written_at_all_fails_as_a_whole_and_recovers_by_any_partition():
    _, admission = failing(TopicPartition(LETTERS, ANY))
    assert [t.probe for t in admission.admit([LETTER])] == [TopicPartition(LETTERS, ANY)]
    assert admission.admit([LETTER]) == []
    admission.delivered(TopicPartition(LETTERS, 2))
    assert admission.all_available
    assert len(admission.admit([LETTER])) == 1


def test_where_the_partitions_are_not_known_the_topic_is_one_place():
    admission = Admission(Availability(Clock()))
    admission.failed(TopicPartition(CLICKS, 7), "timed out", probe=False)
    assert [t.probe for t in admission.admit([click(3), click(7)])] == [TopicPartition(CLICKS, ANY)] * 2
    assert admission.admit([click(3)]) == []
    admission.delivered(TopicPartition(CLICKS, 3))
    assert admission.all_available


def test_the_beginning_and_the_end_of_an_outage_are_logged_once(caplog):
    _, admission = failing()
    with caplog.at_level("WARNING"):
        for _ in range(3):
            admission.failed(TopicPartition(CLICKS, 4), "timed out", probe=False)
        for _ in range(3):
            admission.delivered(TopicPartition(CLICKS, 4))
    assert [record.getMessage() for record in caplog.records] == [
        (
            "partition 4 of topic raw-clicks does not take records (timed out): events that belong there get 503 until "
            "it does"
        ),
        "partition 4 of topic raw-clicks takes records again",
    ]


# From the tests of Kafka's Java client (org.apache.kafka.common.utils.UtilsTest), signed there.
@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_are_hashed_as_kafkas_clients_do(key, hashed):
    assert murmur2(key) == hashed & 0xFFFFFFFF
