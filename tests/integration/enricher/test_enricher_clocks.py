"""Clocks that are wrong: a pod's, and the enricher's own. Only the brokers' decides about others' sessions."""

from __future__ import annotations

import time

import pytest
from aiokafka.structs import ConsumerRecord
from confluent_kafka import Message

from clickstream.contracts.clicks import Click
from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.session_records import Session, decode_session
from clickstream.enricher import partitions as module
from clickstream.enricher.metrics import Metrics
from clickstream.enricher.output import Output
from clickstream.enricher.partitions import Partitions
from clickstream.enricher.processing import Processing
from clickstream.enricher.recovery import Recovery
from clickstream.enricher.source import SourceTopic
from clickstream.enrichment.flow import Flow
from clickstream.runtime.geoip import no_country
from clickstream.runtime.telemetry import Telemetry
from support.processes import Process, wait_for
from support.records import decode_enriched
from support.topics import feed, read_all
from support.traffic import standing

HOUR = 3_600_000


def click(number: int, user: str, *, pod_is_off: int = 0) -> Click:
    """A click of this moment, received by a pod whose clock is off by so many milliseconds."""
    now = int(time.time() * 1_000)
    return Click(f"e{number}", now - 2_000, user, "s", "/", now + pod_is_off, source="web", sent_at=now - 500)


def sessions(pipeline: Pipeline) -> list[Session]:
    records = read_all(pipeline.kafka.bootstrap_servers, pipeline.names.sessions)
    return standing([decode_session(m.key(), m.value(), m.headers()) for m in records])


@pytest.mark.parametrize("pod_is_off", [-HOUR, HOUR, -24 * HOUR, 24 * HOUR])
def test_a_pod_with_a_wrong_clock_takes_nobody_out_of_a_session(
    pipeline: Pipeline, worker: Process, pod_is_off: int
) -> None:
    bootstrap, names = pipeline.kafka.bootstrap_servers, pipeline.names
    for number in range(0, 60, 2):
        user = f"user-{number % 5}"
        feed(bootstrap, names.raw_clicks, [click(number, user), click(number + 1, user, pod_is_off=pod_is_off)])
    wait_for(lambda: worker.metric("clickstream_events_processed_total") == 60, "all are processed", worker)
    enriched = [decode_enriched(m.value()) for m in read_all(bootstrap, names.enriched_clicks)]
    assert len(enriched) == 60
    assert all(each.session is not None for each in enriched)
    assert worker.metric("clickstream_events_late_total") == 0
    found = sessions(pipeline)
    assert sorted(session.events for session in found) == [12] * 5
    assert all(session.duration < 60_000 for session in found)


class Owner:
    """A worker's partitions without its framework: chunks and ticks come when they are told to."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        telemetry = Telemetry("enricher", {}, None)
        self.partitions = Partitions(
            pipeline.names,
            Processing(Flow(pipeline, no_country, {}), "user_id"),
            Output(pipeline.kafka, "test"),
            Metrics(telemetry, pipeline.names.raw_clicks),
            Recovery(pipeline),
            lambda: None,
        )
        self.numbers = list(range(pipeline.kafka.topics.raw_clicks.partitions))
        assert self.partitions.assign(self.numbers, lambda: None)

    def read(self) -> None:
        chunks: dict[int, list[ConsumerRecord]] = {}
        for message in read_all(self.pipeline.kafka.bootstrap_servers, self.pipeline.names.raw_clicks):
            if message.offset() >= (self.partitions.next_offset(message.partition()) or 0):
                chunks.setdefault(message.partition(), []).append(as_record(message))
        for chunk in chunks.values():
            self.process(chunk)

    def process(self, chunk: list[ConsumerRecord]) -> None:
        pieces = [self.partitions.fold(chunk)]
        while not pieces[-1].chunk:
            pieces.append(self.partitions.fold(chunk))
        self.partitions.deliver(pieces)
        while self.partitions.under_way:
            self.partitions.deliver(())

    def tick(self) -> None:
        self.partitions.tick(SourceTopic(self.pipeline).ends(dict.fromkeys(self.numbers, 0)))


def as_record(message: Message) -> ConsumerRecord:
    return ConsumerRecord(
        topic=message.topic(), partition=message.partition(), offset=message.offset(), timestamp=message.timestamp()[1],
        timestamp_type=1, key=message.key(), value=message.value(), checksum=None, serialized_key_size=0,
        serialized_value_size=0, headers=(),
    )  # fmt: skip


@pytest.mark.parametrize("worker_is_off", [-HOUR, HOUR])
def test_idle_sessions_are_closed_by_the_brokers_clock(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, worker_is_off: int
) -> None:
    """Neither too early by an enricher whose clock is ahead, nor never by one whose clock is behind."""
    really = time.time
    feed(pipeline.kafka.bootstrap_servers, pipeline.names.raw_clicks, [click(n, f"user-{n}") for n in range(9)])
    monkeypatch.setattr(time, "time", lambda: really() + worker_is_off / 1_000)
    owner = Owner(pipeline)
    owner.read()
    passed = [0.0]
    monotonic = time.monotonic
    monkeypatch.setattr(module.time, "monotonic", lambda: monotonic() + passed[0])
    owner.tick()
    passed[0] = 19 * 60.0
    owner.tick()
    assert not any(session.closed for session in sessions(pipeline))
    passed[0] = 22 * 60.0
    owner.tick()
    found = sessions(pipeline)
    assert len(found) == 9
    assert all(session.closed for session in found)
    # Whoever owns the partitions next knows nothing of them any more, and closes nothing twice.
    assert not list(Owner(pipeline).partitions._owned[0].state.keys)


def test_partitions_that_come_back_unchanged_are_not_read_again(pipeline: Pipeline) -> None:
    feed(pipeline.kafka.bootstrap_servers, pipeline.names.raw_clicks, [click(n, f"user-{n}") for n in range(9)])
    owner, other = Owner(pipeline), Owner(pipeline)
    owner.partitions.drop()
    other.partitions.drop()
    # Both have begun, one after the other: the first is not the last who wrote.
    owner.partitions.assign(owner.numbers, lambda: None)
    owner.read()
    kept = owner.partitions._owned[1].state
    owner.partitions.drop()
    asked: list[list[int]] = []
    recover = owner.partitions._recovery.recover

    def counted(partitions: list[int], go_on: object) -> object:
        asked.append(list(partitions))
        return recover(partitions, go_on)

    owner.partitions._recovery.recover = counted
    other.partitions.assign([0], lambda: None)
    assert owner.partitions.assign(owner.numbers, lambda: None)
    assert asked == [[0]], "only what somebody else has written to"
    assert owner.partitions._owned[1].state is kept


def test_a_revocation_during_a_recovery_ends_it(pipeline: Pipeline) -> None:
    feed(pipeline.kafka.bootstrap_servers, pipeline.names.raw_clicks, [click(n, f"user-{n}") for n in range(9)])
    owner = Owner(pipeline)
    owner.read()
    again = Owner(pipeline)
    again.partitions.drop()
    assert not again.partitions.assign(again.numbers, again.partitions.drop)
    assert list(again.partitions.positions()) == []
    assert again.partitions.assign(again.numbers, lambda: None)
    assert sum(len(owned.state.keys) for owned in again.partitions._owned.values()) == 9
