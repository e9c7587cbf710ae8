"""Liveness of the loop: a turn counts, not progress."""

from __future__ import annotations

from types import SimpleNamespace

from clickstream.runtime.telemetry import Telemetry
from clickstream.sinks import loop as loop_module
from clickstream.sinks.lag import Lag
from clickstream.sinks.loop import Loop
from clickstream.sinks.metrics import Metrics


def test_a_loop_that_makes_no_turn_for_a_minute_is_not_healthy(monkeypatch):
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(loop_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    telemetry = Telemetry("sink-test", {}, None)
    consumer = SimpleNamespace(lag=Lag(), joined=False)
    loop = Loop(None, consumer, None, None, Metrics(telemetry, "test"), telemetry)
    assert loop.healthy() is None
    assert loop.ready() == "not in the consumer group yet"
    clock.now += 59
    assert loop.healthy() is None
    clock.now += 2
    assert loop.healthy() == "the consume loop has completed no iteration for 61 s"
    consumer.joined = True
    assert loop.ready() is None
    telemetry.shutdown()
