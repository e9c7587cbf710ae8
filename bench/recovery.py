"""How long an enricher takes to start, and its memory, after hours of traffic: `python -m bench.recovery --hours 24`.

The hours are made, not waited for: the enricher's own session fold and journal write what they would have written, in
simulated time, straight to the changelog of a real broker. Then a real enricher starts on it.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
from confluent_kafka import Producer

from clickstream.contracts.clicks import EnrichedClick
from clickstream.contracts.pipeline import Pipeline, dump_pipeline, parse_pipeline
from clickstream.contracts.topics import topics_of
from clickstream.enricher.journal import Journal
from clickstream.enricher.partitions import BASE, MARK
from clickstream.enricher.sessions import PartitionState
from clickstream.enricher.source import mark
from clickstream.enrichment.funnels import FunnelBook
from clickstream.runtime.arguments import at_least_one, number
from clickstream.runtime.kafka import producer_config
from clickstream.setup.topics import TopicAdmin
from devstack import Stack

PAGES: Final = ("/", "/products", "/products/item-1", "/products/item-2", "/cart", "/checkout")
GAP = GRACE = 600_000
CHUNK_MS: Final = 250
"""How much time a chunk covers."""
VIEWS: Final = 5
"""Clicks of a visit, on average."""
BEGIN: Final = 1_795_000_000_000


def main() -> None:
    """Make the hours, start an enricher, print one line of figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--hours", type=number(float, 0.001, 1_000.0), default=24)
    parser.add_argument("--rate", type=at_least_one, default=500, help="clicks a second (500)")
    parser.add_argument("--partitions", type=at_least_one, default=12)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clickstream-recovery-") as name:
        folder = Path(name)
        stack = Stack.up(home=folder / "servers", services=("kafka",), progress=_progress)
        try:
            pipeline = _pipeline(stack, options.partitions)
            TopicAdmin(pipeline.kafka).create(topics_of(pipeline))
            began = time.monotonic()
            figures = _make(pipeline, options.hours, options.rate)
            _progress("recovery", f"{options.hours} h at {options.rate}/s made in {time.monotonic() - began:.0f} s")
            seconds, peak = _start(pipeline, folder)
            figures |= {"ready_seconds": round(seconds, 1), "peak_mib": round(peak / 2**20)}
            print(msgspec.json.encode(figures).decode())
        finally:
            stack.down(wipe=True)


def _pipeline(stack: Stack, partitions: int) -> Pipeline:
    return parse_pipeline(
        msgspec.json.encode(
            {
                "namespace": "bench",
                "name": "recovery",
                "kafka": {
                    "bootstrapServers": stack.kafka.bootstrap_servers,
                    "topics": {"rawClicks": {"partitions": partitions}},
                },
                "funnels": [
                    {
                        "name": "checkout",
                        "steps": [
                            {"name": "Homepage", "page": "/"},
                            {"name": "Product", "page": "/products/*"},
                            {"name": "Checkout", "page": "/checkout"},
                        ],
                    }
                ],
            }
        )
    )


def _make(pipeline: Pipeline, hours: float, rate: int) -> dict[str, float]:
    partitions = pipeline.kafka.topics.raw_clicks.partitions
    producer = Producer(
        producer_config(pipeline.kafka, "bench-recovery", idempotent=True) | {"queue.buffering.max.messages": 500_000}
    )
    total: Counter[str] = Counter()
    for partition in range(partitions):
        made = _partition(pipeline, producer, partition, _chunks(random.Random(partition), hours, rate / partitions))
        total.update(made)
        _progress(
            "recovery", f"partition {partition}: {made['changelog_records']:,} records, {made['open_keys']:,} keys"
        )
    while producer.flush(5):
        pass
    total["changelog_bytes_per_click"] = round(total.pop("changelog_bytes") / max(1, total["clicks"]))
    return dict(total)


def _partition(
    pipeline: Pipeline, producer: Producer, partition: int, chunks: Iterable[list[tuple[bytes, EnrichedClick]]]
) -> dict[str, int]:
    """Write what an enricher would have written to one changelog partition."""
    names = pipeline.names
    state = PartitionState(GAP, GRACE, FunnelBook(pipeline.funnels))
    journal = Journal(state, None)
    clicks = written = size = 0
    source = mark(b"", b"%d" % partition)
    producer.produce(names.raw_clicks, b"%d" % partition, b"", partition)
    for chunk in chunks:
        gone = []
        while any(found := state.close_due(10_000)):
            gone += found[1]
        for user, draft in chunk:
            state.apply(user, draft, state.applied + 1)
            state.applied += 1
        clicks += len(chunk)
        batch = journal.changes(gone, state.to_settle)
        batch.append(journal.partition([(BASE, b"%d" % state.applied), (MARK, source)]))
        for key, value, headers in batch:
            _produce(producer, names.enricher_changelog, value, key, partition, headers)
            size += len(key) + len(value or b"")
        written += len(batch)
        journal.delivered(written - 1)
    return {
        "clicks": clicks,
        "changelog_records": written,
        "changelog_bytes": size,
        "open_keys": len(state.keys),
        "records_to_read": written - (journal.low or 0),
    }


def _produce(producer: Producer, *record: Any) -> None:
    topic, value, key, partition, headers = record
    while True:
        try:
            producer.produce(topic, value, key, partition, headers=headers)
        except BufferError:
            producer.poll(0.05)
        else:
            producer.poll(0)
            return


def _chunks(chance: random.Random, hours: float, rate: float) -> Iterator[list[tuple[bytes, EnrichedClick]]]:
    """Visits of about five pages, half a minute apart, in chunks of simulated time."""
    waiting: list[tuple[float, int, int, str]] = []
    visits = event = 0
    now, begin, end = 0.0, 0.0, hours * 3_600_000
    while now < end:
        now += CHUNK_MS
        begin += CHUNK_MS * rate / 1_000 / VIEWS
        while begin > 0:
            begin -= chance.expovariate(1.0)
            visits += 1
            user = f"{chance.getrandbits(64):016x}-{visits}"
            at = now
            for _ in range(1 + int(chance.expovariate(1 / (VIEWS - 1)) + 0.5)):
                heappush(waiting, (at, event, visits, user))
                event += 1
                at += chance.expovariate(1 / 30_000)
        chunk = []
        while waiting and waiting[0][0] <= now:
            at, number, _, user = heappop(waiting)
            when = BEGIN + int(at)
            draft = EnrichedClick(
                f"{number:032x}", when, when, when, "2026-11-18", user, "s", "/", chance.choice(PAGES), "home", "web"
            )
            draft.medium, draft.referrer_host, draft.device, draft.country = "search", "www.google.com", "desktop", "DE"
            chunk.append((user.encode(), draft))
        if chunk:
            yield chunk


def _start(pipeline: Pipeline, folder: Path) -> tuple[float, int]:
    document, port_file, log = folder / "pipeline.json", folder / "ops", folder / "enricher.log"
    document.write_bytes(dump_pipeline(pipeline))
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "clickstream.cli", "enricher", "--pipeline", document, "--ops-port-file", port_file],
            env=os.environ | {"CLICKSTREAM_OPS_PORT": "0", "CLICKSTREAM_LOG_FORMAT": "text"},
            stdout=out,
            stderr=out,
        )
    peak = 0
    try:
        while not _ready(port_file):
            if process.poll() is not None or time.monotonic() - began > 300:
                sys.exit(f"the enricher did not get ready:\n{log.read_text()[-2_000:]}")
            peak = max(peak, psutil.Process(process.pid).memory_info().rss)
            time.sleep(0.05)
        return time.monotonic() - began, peak
    finally:
        process.terminate()
        process.wait(30)


def _ready(port_file: Path) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port_file.read_text().strip()}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _progress(what: str, message: str) -> None:
    print(f"{what}: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
