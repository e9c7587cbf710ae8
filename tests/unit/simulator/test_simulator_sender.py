"""Sending against a real HTTP server: open-loop, patient, honest."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import replace

import pytest
from aiohttp import web

from clickstream.simulator.ledger import LedgerWriter, State, read_ledger
from clickstream.simulator.sender import MisdirectedError, Sender, Target
from clickstream.simulator.shipments import Shipment
from clickstream.simulator.traffic import Outgoing


def shipment(due_s: float, *keys: str, single: bool = False, **flags: bool) -> Shipment:
    return Shipment(due_s, [Outgoing(due_s, key, f'{{"event_id":"{key}"}}'.encode(), **flags) for key in keys], single)


class Collector:
    """Answers as it is told; remembers what came. Answers nothing before `answers_from` requests have come."""

    def __init__(self, *answers: tuple[int, dict], delay_s: float = 0.0, answers_from: int = 0) -> None:
        self.answers = list(answers)
        self.answers_from = answers_from
        self.all_there = asyncio.Event()
        self.delay_s = delay_s
        self.bodies: list[dict] = []
        self.paths: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        assert request.headers["X-Write-Key"] == "key"
        self.bodies.append(json.loads(await request.read()))
        if len(self.bodies) >= self.answers_from:
            self.all_there.set()
        await self.all_there.wait()
        await asyncio.sleep(self.delay_s)
        status, body = self.answers.pop(0) if self.answers else (202, {"accepted": 1})
        return web.json_response(body, status=status, headers={"Retry-After": "0"} if status == 503 else {})


@pytest.fixture
def run(tmp_path):
    """Send shipments to a collector; gives the sender, the ledger's states and the seconds that it took."""

    def send(collector: Collector, shipments: list[Shipment], *, stop_after: float | None = None, **target):
        async def story():
            app = web.Application()
            app.router.add_post("/{path:.*}", collector.handle)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
            ledger = LedgerWriter(tmp_path / "ledger")
            begin = time.monotonic()
            sender = Sender(replace(Target(url, "key"), **target), ledger, begin, 1_780_000_000_000)
            if stop_after is not None:
                asyncio.get_running_loop().call_later(stop_after, sender.stop)
            try:
                await sender.run(shipments)
            finally:
                ledger.close()
                await runner.cleanup()
            return sender, time.monotonic() - begin

        sender, took = asyncio.run(story())
        return sender, {key: entry.state for key, entry in read_ledger(tmp_path / "ledger").items()}, took

    return send


def test_single_events_and_batches_go_to_their_endpoints_with_the_time_of_sending(run):
    collector = Collector()
    _, states, _ = run(collector, [shipment(0.0, "a", single=True), shipment(0.1, "b", "c")])
    assert collector.paths == ["/v1/events", "/v1/events/batch"]
    assert collector.bodies[0]["event_id"] == "a"
    assert collector.bodies[0]["sent_at"].startswith("2026-")
    assert [event["event_id"] for event in collector.bodies[1]["events"]] == ["b", "c"]
    assert set(states.values()) == {State.ACCEPTED}


def test_bodies_can_be_compressed(run):
    collector = Collector()
    run(collector, [shipment(0.0, "a", "b")], gzip=True)  # aiohttp's server undoes it
    assert len(collector.bodies[0]["events"]) == 2


def test_the_schedule_does_not_wait_for_answers(run):
    """No request is answered before the last one has come: one that waited for an answer would never be sent."""
    collector = Collector(answers_from=25)
    sender, states, _ = run(collector, [shipment(number / 50, f"e{number}") for number in range(25)])
    assert set(states.values()) == {State.ACCEPTED}
    assert len(states) == 25
    assert sender.report.retries == 0
    assert sender.report.answers.percentile_ms(50) >= 200, "the half of the schedule that an answer waits for"


def test_latency_counts_from_the_scheduled_time_when_there_are_too_few_connections(run):
    sender, _, _ = run(Collector(delay_s=0.3), [shipment(0.0, f"e{number}") for number in range(4)], connections=1)
    assert sender.report.answers.percentile_ms(100) >= 1_200


def test_rejected_events_are_told_apart_by_their_position(run):
    collector = Collector((202, {"accepted": 1, "rejected": [{"index": 1, "code": "x"}]}))
    sender, states, _ = run(collector, [shipment(0.0, "good", "bad")])
    assert states == {"good": State.ACCEPTED, "bad": State.REJECTED}
    assert sender.report.good_rejected == 1


def test_a_503_is_tried_again_with_the_same_ids_until_it_succeeds(run):
    collector = Collector((503, {}), (503, {}))
    sender, states, _ = run(collector, [shipment(0.0, "a", "b")])
    assert states == {"a": State.ACCEPTED, "b": State.ACCEPTED}
    assert [[event["event_id"] for event in body["events"]] for body in collector.bodies] == [["a", "b"]] * 3
    assert sender.report.retries == 2
    assert sender.report.statuses == Counter({"503": 2, "202": 1})


def test_an_event_without_an_answer_in_time_is_unknown(run):
    _, states, took = run(Collector(*[(503, {})] * 100), [shipment(0.0, "a")], give_up_after_s=1.0)
    assert states == {"a": State.UNKNOWN}
    assert took < 10


def test_no_connection_is_an_unknown_outcome_not_an_error(run):
    _, states, _ = run(Collector(), [shipment(0.0, "a")], url="http://127.0.0.1:9", give_up_after_s=0.5)
    assert states == {"a": State.UNKNOWN}


def test_a_wrong_key_ends_the_run(run):
    with pytest.raises(MisdirectedError, match="401"):
        run(Collector((401, {})), [shipment(number / 10, f"e{number}") for number in range(100)])


def test_repeated_sendings_do_not_count_again(run):
    sender, states, _ = run(Collector(), [shipment(0.0, "a"), shipment(0.1, "a", repeat=True)])
    assert states == {"a": State.ACCEPTED}
    assert sender.report.repeats == 1


def test_spoiled_events_that_are_accepted_are_noticed(run):
    sender, _, _ = run(Collector(), [shipment(0.0, "a", spoiled=True)])
    assert sender.report.spoiled_accepted == 1


def test_stop_sends_nothing_new_but_waits_for_answers(run):
    collector = Collector(delay_s=0.5)
    _, states, took = run(collector, [shipment(number / 10, f"e{number}") for number in range(600)], stop_after=0.35)
    assert 1 <= len(states) <= 10
    assert set(states.values()) == {State.ACCEPTED}
    assert took < 10
