"""Whatever happens to the workers, each click comes out, and the sessions are those of a run without trouble."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Message

from clickstream.contracts.clicks import Click, decode_click
from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.session_records import decode_session
from support.processes import Process, clickstream, wait_for
from support.records import decode_enriched
from support.topics import count, feed, read_all
from support.traffic import as_keys, clicks, sort_and_cut, standing

EVENTS = 20_000
RATE = 2_500

Starter = Callable[..., Process]


@pytest.fixture
def start(pipeline_file: Path, tmp_path: Path) -> Iterator[Starter]:
    """Starts enricher workers; all of them are ended after the test."""
    started: list[Process] = []

    def run(name: str, misbehaviour: dict[str, str] | None = None) -> Process:
        options = ["--pipeline", str(pipeline_file), "--ops-port-file", "{ops_port_file}"]
        command = clickstream("enricher", *options)
        if misbehaviour:
            command = [sys.executable, str(Path(__file__).with_name("crashing_enricher.py")), *options]
        env = {"CLICKSTREAM_LOG_FORMAT": "text", "ONCE_FILE": str(tmp_path / "once")} | (misbehaviour or {})
        started.append(Process(name, command, tmp_path, env))
        return started[-1]

    yield run
    for process in started:
        process.kill()


class Run:
    """Feeding in the background, and the final comparison."""

    def __init__(self, pipeline: Pipeline, traffic: list[Click], rate: float | None = RATE) -> None:
        self.pipeline, self.traffic = pipeline, traffic
        self.bootstrap = pipeline.kafka.bootstrap_servers
        self.wanted = {click.event_id for click in traffic}
        self._feeder = threading.Thread(
            target=feed, args=(self.bootstrap, pipeline.names.raw_clicks, traffic, rate), daemon=True
        )
        self._feeder.start()

    def enriched_count(self) -> int:
        return count(self.bootstrap, self.pipeline.names.enriched_clicks)

    def finish(self, *workers: Process) -> list[Message]:
        """Wait until all is processed, compare; gives the enriched records."""
        self._feeder.join(120)
        assert not self._feeder.is_alive()
        wait_for(
            lambda: (
                sum(w.metric("clickstream_consumer_lag_records") for w in workers) == 0
                and self.enriched_count() >= len(self.wanted)
                and len(self._ids()) == len(self.wanted)
            ),
            f"all {len(self.wanted)} clicks are enriched",
            *workers,
            timeout=90,
        )
        enriched = read_all(self.bootstrap, self.pipeline.names.enriched_clicks)
        assert {decode_enriched(m.value()).event_id for m in enriched} == self.wanted
        records = [
            decode_session(m.key(), m.value(), m.headers())
            for m in read_all(self.bootstrap, self.pipeline.names.sessions)
        ]
        assert as_keys(standing(records)) == sort_and_cut(self.traffic)
        return enriched

    def _ids(self) -> set[str]:
        return {
            decode_enriched(m.value()).event_id for m in read_all(self.bootstrap, self.pipeline.names.enriched_clicks)
        }


def repeated(enriched: list[Message]) -> set[str]:
    """The ids of clicks that were sent on more than once."""
    times = Counter(decode_enriched(m.value()).event_id for m in enriched)
    return {event_id for event_id, number in times.items() if number > 1}


def test_two_workers_are_killed_one_after_the_other(pipeline: Pipeline, start: Starter) -> None:
    first, second = start("first"), start("second")
    first.wait_ready()
    second.wait_ready()
    run = Run(pipeline, clicks(EVENTS, seed=1, users=300))
    wait_for(lambda: run.enriched_count() > 5_000, "a quarter is done", first, second)
    first.kill()
    wait_for(lambda: run.enriched_count() > 10_000, "half is done", second)
    first.start()
    wait_for(lambda: run.enriched_count() > 12_000, "more is done", first, second)
    second.kill()
    second.start()
    run.finish(first, second)


@pytest.mark.parametrize("stage", ["output", "changelog", "partition"])
def test_a_worker_dies_right_after_a_stage_of_its_writes(
    pipeline: Pipeline, start: Starter, stage: str, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    worker = start("worker", {"CRASH_AFTER": stage, "CRASH_FROM": "1000", "ONCE_FILE": str(once)})
    run = Run(pipeline, clicks(8_000, seed=2, users=120))
    worker.popen.wait(60)
    assert worker.popen.returncode == -signal.SIGKILL
    worker.start()
    again = repeated(run.finish(worker))
    delivered = {int(partition): offset for partition, offset in json.loads(once.read_text()).items()}
    known = {
        decode_click(m.value(), 0).event_id  # type: ignore[union-attr]
        for m in read_all(run.bootstrap, pipeline.names.raw_clicks)
        if m.offset() <= delivered.get(m.partition(), -1)
    }
    # What was delivered is made again only as long as it is written down nowhere that it was.
    assert bool(again & known) is (stage == "output")


def test_a_second_worker_comes_and_goes_under_load(pipeline: Pipeline, start: Starter) -> None:
    first = start("first")
    first.wait_ready()
    run = Run(pipeline, clicks(EVENTS, seed=3, users=300), rate=1_000)
    wait_for(lambda: run.enriched_count() > 3_000, "it is under way", first)
    second = start("second")
    second.wait_ready()
    wait_for(lambda: second.metric("clickstream_events_processed_total") > 1_000, "both work", first, second)
    assert second.stop() == 0
    run.finish(first)


def test_a_worker_is_frozen_for_half_a_minute_and_wakes_up(pipeline: Pipeline, start: Starter) -> None:
    first, second = start("first"), start("second")
    first.wait_ready()
    second.wait_ready()
    run = Run(pipeline, clicks(EVENTS, seed=4, users=300), rate=600)
    wait_for(lambda: run.enriched_count() > 3_000, "it is under way", first, second)
    first.send(signal.SIGSTOP)
    frozen = threading.Event()
    frozen.wait(30)
    first.send(signal.SIGCONT)
    # A worker that slept through its session ends; here, as on Kubernetes, it is started again.
    first.popen.wait(30)
    first.start()
    run.finish(first, second)


def test_a_slow_chunk_is_finished_before_its_partition_moves(pipeline: Pipeline, start: Starter) -> None:
    first = start("first", {"SLOW_CHUNK": "15"})
    first.wait_ready()
    run = Run(pipeline, clicks(8_000, seed=5, users=120))
    wait_for((Path(first.log.parent) / "once").exists, "the chunk is under way", first)
    second = start("second")
    run.finish(first, second)
