"""`python -m bench.identities [CLICKS]`: what users, groups and identity edges cost the postgres sink.

The same sink writes fresh clicks of three kinds of traffic with the trigger of migration 0005 and without, by turns;
what counts is the time of its writes. Medians of the rounds, and their ratio.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec
import psycopg

from clickstream.contracts.clicks import EnrichedClick, Scalar, encode_enriched
from clickstream.contracts.pipeline import parse_pipeline
from clickstream.contracts.times import iso_day
from clickstream.setup.main import set_up
from clickstream.sinks.main import make_sink
from clickstream.sinks.records import Record, StoredClick
from devstack import Stack

BATCH: Final = 5_000
ROUNDS: Final = 7
USERS: Final = 20_000
TRAITS: Final[dict[str, Scalar]] = {
    "email": "ann@example.com",
    "plan": "pro",
    "company": "Example",
    "employees": 17,
    "created": "2026-01",
}
TRAFFIC: Final = {
    "visitors who are nobody's": (0.0, 0.0),
    "all logged in, a click in 20 an identify": (1.0, 0.05),
    "nothing but identify": (1.0, 1.0),
}
"""The share of clicks with both ids, and of identify events, by name."""


def records(number: int, clicks: int, known: float, identified: float) -> list[Record]:
    """Fresh clicks; `number` is in their ids."""
    chance = random.Random(number)
    now = int(time.time() * 1_000)
    made = []
    for each in range(clicks):
        user = chance.randrange(USERS)
        identify = chance.random() < identified
        properties: dict[str, Scalar] = {"visitor_id": f"visitor-{user}", "language": "de", "screen": "1920x1080"}
        if identify:
            properties |= TRAITS
        click = EnrichedClick(
            event_id=f"{number}-{each}", timestamp=now, event_time=now, received_at=now, storage_day=iso_day(now),
            user_id=f"user-{user}" if chance.random() < known else f"visitor-{user}", client_session_id="tab",
            page="https://shop.example/products/item-7?utm_source=mail", page_path="/products/item-7",
            page_category="product", type="identify" if identify else "page_view", session=f"{iso_day(now)}-{user}",
            properties=properties,
        )  # fmt: skip
        value = encode_enriched(click)
        made.append(Record(msgspec.json.decode(value, type=StoredClick), ("clicks", 0), each, value, now))
    return made


def main(clicks: int) -> None:
    """Start PostgreSQL, measure, and end it."""
    with tempfile.TemporaryDirectory(prefix="bench-identities-") as folder:
        Path(folder).chmod(0o755)
        stack = Stack.up(home=Path(folder), services=("postgres",))
        try:
            document = {
                "namespace": "bench", "name": "identities", "kafka": {"bootstrapServers": "none:9092"},
                "sinks": {"postgres": {"dsn": stack.postgres.dsn}},
            }  # fmt: skip
            pipeline = parse_pipeline(json.dumps(document).encode())
            set_up("postgres", pipeline, "install", 60, lambda _: None)
            sink = make_sink("postgres", pipeline)
            number = 0
            for name, (known, identified) in TRAFFIC.items():
                rates: dict[str, list[float]] = {"DISABLE": [], "ENABLE": []}
                for _ in range(ROUNDS):
                    for state, found in rates.items():
                        with psycopg.connect(stack.postgres.dsn, autocommit=True) as connection:
                            connection.execute(
                                f"ALTER TABLE {pipeline.names.schema}.clicks {state} TRIGGER clicks_identities".encode()
                            )
                        number += 1
                        made = records(number, clicks, known, identified)
                        began = time.perf_counter()
                        for first in range(0, clicks, BATCH):
                            outcome = sink.write(made[first : first + BATCH])
                            assert not outcome.later, outcome.trouble
                        found.append(clicks / (time.perf_counter() - began))
                without, with_it = (statistics.median(rates[state][1:]) for state in rates)
                print(
                    f"{name:<42} without {without:8,.0f} clicks/s   with {with_it:8,.0f} clicks/s   ratio "
                    f"{with_it / without:.2f}"
                )
            sink.close()
        finally:
            stack.down(wipe=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
