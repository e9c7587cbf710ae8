"""`make bench`: the enricher (user agents, sessions, funnels, changelog) against a bare loop on the same broker.

Each reads the same raw clicks; what counts is the time from its first output record to its last, and the CPU time of
its process. Three rounds in turn; medians and the ratio are printed.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import psutil
from confluent_kafka import Consumer, Producer

from clickstream.contracts.clicks import Click, encode_click
from clickstream.contracts.pipeline import Pipeline, dump_pipeline, parse_pipeline
from clickstream.contracts.topics import Topic, topics_of
from clickstream.runtime.arguments import at_least_one
from clickstream.runtime.topic_reader import marks_since
from clickstream.setup.topics import TopicAdmin
from devstack import Stack

PAGES = ("/", "/products", "/products/item-1", "/products/item-2", "/cart", "/checkout")
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 "
        "Mobile/15E148 Safari/604.1"
    ),
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
)


def main() -> None:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--events", type=at_least_one, default=200_000)
    parser.add_argument("--rounds", type=at_least_one, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clickstream-bench-") as folder:
        stack = Stack.up(home=Path(folder) / "servers", services=("kafka",), progress=_progress)
        try:
            results: dict[str, list[tuple[float, float]]] = {"bare loop": [], "enricher": []}
            for number in range(options.rounds):
                pipeline = _pipeline(stack, f"bench-{number}")
                _fill(pipeline, options.events)
                for name, run in (("bare loop", _bare), ("enricher", _enricher)):
                    results[name].append(run(pipeline, options.events, Path(folder)))
                    rate, cpu = results[name][-1]
                    _progress("bench", f"round {number + 1}: {name} {rate:,.0f} events/s, {cpu:.1f} µs CPU an event")
        finally:
            stack.down(wipe=True)
    medians = {
        name: (statistics.median(rate for rate, _ in rounds), statistics.median(cpu for _, cpu in rounds))
        for name, rounds in results.items()
    }
    print(f"\n{'':12}{'events/s':>12}{'CPU µs/event':>16}   (medians of {options.rounds} rounds)")
    for name, (rate, cpu) in medians.items():
        print(f"{name:12}{rate:12,.0f}{cpu:16.1f}")
    (bare_rate, bare_cpu), (rate, cpu) = medians["bare loop"], medians["enricher"]
    # A few thousand events take less processor time than the kernel counts.
    print(f"{'ratio':12}{rate / bare_rate:12.2f}{cpu / bare_cpu if bare_cpu else float('nan'):16.2f}")


def _progress(what: str, message: str) -> None:
    print(f"{what}: {message}", file=sys.stderr, flush=True)


def _pipeline(stack: Stack, name: str) -> Pipeline:
    pipeline = parse_pipeline(
        msgspec.json.encode(
            {
                "namespace": "bench",
                "name": name,
                "kafka": stack.kafka.member(),
                "funnels": [
                    {
                        "name": "checkout",
                        "steps": [{"name": page, "page": page} for page in ("/", "/products/*", "/checkout")],
                    }
                ],
            }
        )
    )
    TopicAdmin(pipeline.kafka).create([*topics_of(pipeline), Topic(f"bench.{name}.bare", 3, 1, {})])
    return pipeline


def _fill(pipeline: Pipeline, events: int) -> None:
    """An hour of clicks of 5,000 visitors."""
    chance = random.Random(1)
    producer = Producer(
        {
            "bootstrap.servers": pipeline.kafka.bootstrap_servers,
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    start = int(time.time() * 1_000) - 3_600_000
    for number in range(events):
        at = start + number * 3_600_000 // events
        user = f"user-{chance.randrange(5_000)}"
        click = Click(
            event_id=f"{number:032x}",
            timestamp=at,
            user_id=user,
            session_id=user,
            page=f"https://shop.example{chance.choice(PAGES)}",
            received_at=at,
            source="web",
            referrer="https://www.google.com/",
            user_agent=chance.choice(BROWSERS),
        )
        producer.produce(pipeline.names.raw_clicks, encode_click(click), user.encode())
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush()


def _bare(pipeline: Pipeline, events: int, _: Path) -> tuple[float, float]:
    names = pipeline.names
    target = f"{names.prefix}.bare"
    command = [sys.executable, "-m", "bench.bare_loop", pipeline.kafka.bootstrap_servers, names.raw_clicks, target]
    return _measure([*command, str(events)], pipeline, target, events, {})


def _enricher(pipeline: Pipeline, events: int, folder: Path) -> tuple[float, float]:
    document = folder / f"{pipeline.name}.json"
    document.write_bytes(dump_pipeline(pipeline))
    command = [sys.executable, "-m", "clickstream.cli", "enricher", "--pipeline", str(document)]
    return _measure(
        command,
        pipeline,
        pipeline.names.enriched_clicks,
        events,
        {"CLICKSTREAM_OPS_PORT": "0", "CLICKSTREAM_LOG_LEVEL": "WARNING"},
    )


def _measure(
    command: list[str], pipeline: Pipeline, target: str, events: int, env: dict[str, str]
) -> tuple[float, float]:
    """(events a second between first and last output, CPU µs an event) of a process that fills `target`."""
    watcher = Consumer({"bootstrap.servers": pipeline.kafka.bootstrap_servers, "group.id": "watcher"})
    child = subprocess.Popen(command, env=os.environ | env)
    process = psutil.Process(child.pid)
    try:
        first, begun, cpu_before, cpu = 0, 0.0, 0.0, 0.0
        deadline = time.monotonic() + 300
        while (done := _end(watcher, target)) < events:
            if time.monotonic() > deadline:
                sys.exit(f"bench: {target} stands at {done:,} of {events:,} after five minutes")
            if not first:
                times = process.cpu_times()
                cpu_before = times.user + times.system
                first, begun = done, time.monotonic()
            time.sleep(0.02)
            if child.poll() is None:
                times = process.cpu_times()
                cpu = times.user + times.system
        seconds = time.monotonic() - begun
        return (events - first) / seconds, (cpu - cpu_before) / (events - first) * 1e6
    finally:
        watcher.close()
        child.terminate()
        child.wait(30)


def _end(watcher: Consumer, topic: str) -> int:
    return sum(high for _, _, high in marks_since(watcher, topic, None, 30).values())


if __name__ == "__main__":
    main()
