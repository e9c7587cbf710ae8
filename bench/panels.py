"""`python -m bench.panels [CLICKS]`: how long each dashboard panel takes on a million clicks in a week.

The clicks go through the real sinks into real stores; then every panel's own query is asked seven times, over the whole
week (Live: over its last hour). Times are of this machine: the last line is the 95th percentile over all panels.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from clickstream.contracts.clicks import EnrichedClick, encode_enriched
from clickstream.contracts.pipeline import Pipeline, parse_pipeline
from clickstream.contracts.session_records import Session, encode_session
from clickstream.contracts.times import DAY_MS, iso_day
from clickstream.setup.main import set_up
from clickstream.sinks.main import make_sink
from clickstream.sinks.records import Record, StoredClick
from devstack import Stack
from preview.board import Board, Stores
from preview.server import SHOWN
from preview.variables import Range

PAGES = ["/", "/products", "/checkout", "/cart", "/about", *(f"/products/item-{number}" for number in range(40))]
STEPS = (lambda page: page == "/", lambda page: page.startswith("/products/"), lambda page: page == "/checkout")
TIMES = 7
BATCH = 5_000


def visits(clicks: int, now: int, seed: int = 3) -> Iterator[Record]:
    """Records of some five clicks a session, spread evenly over the week."""
    chance = random.Random(seed)
    made = 0
    while made < clicks:
        start = now - int(chance.random() * 7 * DAY_MS)
        session = f"{iso_day(start)}-{made}"
        common: dict[str, Any] = {
            "user_id": f"user-{chance.randrange(60_000)}",
            "medium": chance.choice(("direct", "search", "social")),
        }
        common["device"] = chance.choice(("desktop", "mobile", "tablet"))
        way = [chance.choice(PAGES) for _ in range(chance.choice((1, 2, 3, 5, 8, 12)))]
        reached = 0
        for place, page in enumerate(way):
            at = start + place * 20_000
            reached += reached < len(STEPS) and STEPS[reached](page)
            click = EnrichedClick(
                event_id=f"click-{made}", timestamp=at, event_time=at, received_at=at, storage_day=iso_day(at),
                client_session_id="tab", page=page, page_path=page, page_category="any", session=session, **common,
            )  # fmt: skip
            value = encode_enriched(click)
            yield Record(msgspec.json.decode(value, type=StoredClick), ("clicks", 0), made, value, at)
            made += 1
        whole = Session(
            id=session, storage_day=iso_day(start), start=start, end=at, version=made, events=len(way),
            page_views=len(way), entry_page=way[0], exit_page=way[-1], bounce=len(way) == 1, closed=True,
            funnels={"checkout": reached}, **common,
        )  # fmt: skip
        yield Record(whole, ("sessions", 0), made, encode_session(whole), at)


def load(pipeline: Pipeline, clicks: int, now: int) -> None:
    """Into both stores, as the sinks do it."""
    sinks = []
    for store in ("elasticsearch", "postgres"):
        set_up(store, pipeline, "install", 60, lambda _: None)
        sinks.append(make_sink(store, pipeline))
    batch: list[Record] = []
    for record in visits(clicks, now):
        batch.append(record)
        if len(batch) == BATCH:
            for sink in sinks:
                sink.write(batch)
            batch = []
    for sink in sinks:
        sink.write(batch)
        sink.close()


def measure(stores: Stores, now: int) -> list[float]:
    """Milliseconds of every asking but the first of each panel; prints a line a panel."""
    found: list[float] = []
    for kind in SHOWN:
        board, span = Board(kind, stores.names), Range(now - (3_600_000 if kind == "live" else 7 * DAY_MS), now)
        chosen = board.choices(stores, span, {})
        for number, panel in board.panels.items():
            times = []
            for _ in range(TIMES):
                began = time.perf_counter()
                board.ask(number, stores, span, chosen)
                times.append((time.perf_counter() - began) * 1_000)
            found += times[1:]
            print(
                f"{kind:<9} {panel['title']:<36} median {statistics.median(times[1:]):6.0f} ms   max "
                f"{max(times[1:]):6.0f} ms"
            )
    return found


def main(clicks: int) -> None:
    """Start the servers, load, measure, and end them."""
    now = int(time.time() * 1_000)
    with tempfile.TemporaryDirectory(prefix="bench-panels-") as folder:
        Path(folder).chmod(0o755)
        stack = Stack.up(home=Path(folder))
        try:
            document = {
                "namespace": "bench",
                "name": "panels",
                "kafka": stack.kafka.member(),
                "funnels": [{"name": "checkout", "steps": [
                    {"name": "Homepage", "page": "/"}, {"name": "Product", "page": "/products/*"},
                    {"name": "Checkout", "page": "/checkout"},
                ]}],
                "sinks": {"elasticsearch": stack.elasticsearch.member(), "postgres": {"dsn": stack.postgres.dsn}},
            }  # fmt: skip
            pipeline = parse_pipeline(json.dumps(document).encode())
            began = time.perf_counter()
            load(pipeline, clicks, now)
            print(f"{clicks:,} clicks stored in {time.perf_counter() - began:.0f} s")
            stores = Stores(pipeline.names, stack.elasticsearch.url, stack.postgres.dsn)
            stores.connection.execute("VACUUM ANALYZE")
            found = measure(stores, now)
            stores.close()
        finally:
            stack.down(wipe=True)
    print(f"95th percentile over all panels: {statistics.quantiles(found, n=20)[-1]:.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
