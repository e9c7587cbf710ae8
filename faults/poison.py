"""Bad input on every topic and at every endpoint, while the traffic runs.

Each record has a key of its own, by which the check finds its dead letter. What an endpoint or a topic accepts all the
same is a click like any other: it has the source `shop-browser`, so that the check wants it in both stores alike.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import random
import string
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

from clickstream.contracts.times import DAY_MS, iso_time
from clickstream.runtime.kafka import client_config
from demo.document import BROWSER, write_key
from faults.world import World

EVERY_SECONDS: Final = 0.4
ANSWERS: Final = frozenset({200, 202, 204, 400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 422, 431, 503})
"""The statuses that an endpoint may answer: 500 is a bug, 503 is temporary."""
PATIENCE_SECONDS: Final = 3.0
"""Without a fault an endpoint answers sooner, whatever it is sent; a blocked event loop does not."""
SLOW_PAGE: Final = "/a" * 1_000 + "/x"
"""Exponential for a matcher that backtracks over the wildcards of a pattern."""


def for_raw_clicks(rng: random.Random) -> Iterator[bytes | None]:
    """Values that are no click. Endless."""
    now = int(time.time() * 1_000)
    good = {
        "event_id": "p", "timestamp": now, "user_id": "poison", "session_id": "s", "page": "/", "received_at": now,
        "source": BROWSER, "type": "page_view",
    }  # fmt: skip
    while True:
        yield from _texts(rng)
        changes: tuple[dict[str, Any], ...] = (
            {"event_id": 7}, {"timestamp": "yesterday"}, {"timestamp": 2**70}, {"page": None}, {"user_id": ["u"]},
            {"page": "/" + "ü" * 400_000}, {"source": "s" * 9_000}, {"properties": [1]}, {"received_at": -(2**63)},
            {"properties": {"k": "v" * 900_000}}, {"event_id": ""}, {"type": {}}, {"ip": 4},
        )  # fmt: skip
        for change in changes:
            yield json.dumps(good | change).encode()


def for_enriched_clicks(rng: random.Random) -> Iterator[bytes | None]:
    """Values that are no enriched click. Endless."""
    while True:
        yield from _texts(rng)
        for change in (
            {}, {"event_id": 1}, {"storage_day": "1969-12-31"}, {"storage_day": "no day"}, {"event_time": 2**70},
            {"timestamp": -1}, {"user_id": "u" * 3_000}, {"source": "s" * 9_000}, {"ip": "no address"},
        ):  # fmt: skip
            yield json.dumps({"event_id": "poison", "page": "/"} | change).encode()


def for_sessions(rng: random.Random) -> Iterator[bytes | None]:
    """Values that are no session. Endless."""
    while True:
        yield from _texts(rng)
        for change in (
            {},
            {"version": 2**63},
            {"events": 2**31},
            {"funnels": {"a": 2**40}},
            {"merged_ids": ["m"] * 20_000},
        ):
            yield json.dumps({"id": "2026-01-01-poison"} | change).encode()


def _texts(rng: random.Random) -> Iterator[bytes | None]:
    yield from (
        None, b"", b"{", b"[]", b"5", b"null", b"\xff\xfe\x00", b"\x00" * 100, b"[" * 100_000, b'{"a":' * 50_000,
        b'"\\ud800"', b"NaN", b'{"event_id":"a","event_id":"b"}', b"x" * 1_000_000,
    )  # fmt: skip
    yield rng.randbytes(1_000)
    yield rng.randbytes(900_000)
    yield b'"' + "".join(rng.choices(string.printable[:62], k=900_000)).encode() + b'"'


def for_doors(rng: random.Random, key: str) -> Iterator[tuple[str, str, bytes, dict[str, str]]]:
    """Requests (method, path, body, headers). Endless."""
    given = {"X-Write-Key": key, "Content-Type": "application/json"}
    number = 0
    while True:
        number += 1
        now = iso_time(int(time.time() * 1_000))
        good: dict[str, Any] = {
            "event_id": f"door-{rng.getrandbits(64):x}", "timestamp": now, "user_id": f"poison-{number % 7}",
            "session_id": "s", "page": "/",
        }  # fmt: skip
        old = iso_time(int(time.time() * 1_000) - 3 * DAY_MS)
        for change in (
            {}, {"timestamp": old}, {"page": SLOW_PAGE}, {"page": "/" + "*" * 1_500}, {"title": "\ud800" * 900},
            {"user_id": "\0"},
            {"timestamp": "1970-01-01T00:00:00Z"}, {"timestamp": "2999-01-01T00:00:00Z"}, {"page": "ü" * 2_000},
            {"page": "https://user:secret@shop.example/"}, {"properties": {f"k{n}": n for n in range(60)}},
            {"user_id": "u" * 300}, {"event_id": f"é{number}"}, {"user_agent": "(" * 4_000}, {"ip": "1.2.3.4, 5.6.7.8"},
        ):  # fmt: skip
            event = good | {"event_id": f"door-{rng.getrandbits(64):x}"} | change
            yield "POST", "/v1/events", json.dumps(event).encode(), given
        text = json.dumps(good).encode()
        yield "POST", "/v1/events/batch", b'{"events":[' + b"1," * 200_000 + b"1]}", given
        yield "POST", "/v1/events/batch", b'{"events":[' + b'1],"events":[1,' * 50_000 + b"1]}", given
        yield "POST", "/v1/events/batch", b'{"events":[' + rb'"\ud800",' * 100_000 + b"1]}", given
        yield "POST", "/v1/events/batch", b'{"events":[' + b",".join([text] * 501) + b"]}", given
        yield "POST", "/v1/events", b"[" * 500_000, given
        yield "POST", "/v1/events", text[:-1] + b',"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}", given
        yield "POST", "/v1/events", gzip.compress(bytes(50 << 20)), given | {"Content-Encoding": "gzip"}
        yield "POST", "/v1/events", text, given | {"Content-Encoding": "br"}
        yield "POST", "/v1/events", rng.randbytes(2_000), given
        yield "POST", "/v1/events", text, {"X-Write-Key": "wrong"}
        yield "POST", "/v1/events", text, given | {"X-Forwarded-For": ',"' * 3_000}
        yield "POST", "/v1/events", text, given | {"Forwarded": 'for="[' * 2_000}
        yield "PUT", "/v1/events", text, given
        yield "GET", "/v1/pixel.gif?" + "key&" * 2_000, b"", {}
        yield "GET", "/v1/pixel.gif?key=" + key + "&%00=%ff&a" * 500, b"", {}
        yield "GET", "/" + "a/../" * 1_000, b"", {}


class Poisoner:
    """Runs from construction until `stop`. `keys` are those of the records whose dead letters must be found."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = random.Random(world.settings.seed + 1)  # noqa: S311
        self._producer: Any = Producer(
            client_config(world.pipeline.kafka, "poison")
            # No producer of the platform sets these: others may write what the topic takes, which is what compresses to
            # a megabyte.
            | {"message.max.bytes": 8 << 20, "compression.type": "zstd", "acks": "all", "message.timeout.ms": 120_000}
        )
        self.keys: dict[bytes, str] = {}
        self.records = 0
        self.answers: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.slowest = 0.0
        self._number = 0
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=run, name=f"poison-{run.__name__}", daemon=True)
            for run in (self._poison_topics, self._poison_doors)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send nothing more, and wait until all of it is on the topics."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)
        self._producer.flush(120)

    def _poison_topics(self) -> None:
        names = self._world.pipeline.names
        told = [
            (names.raw_clicks, for_raw_clicks(self._rng)),
            (names.enriched_clicks, for_enriched_clicks(self._rng)),
            (names.sessions, for_sessions(self._rng)),
        ]
        untold = cycle([names.enricher_changelog, names.dead_letters, self._world.pipeline.enricher.joins[0].topic])
        while not self._stopped.wait(EVERY_SECONDS):
            with self._world.topics:
                for topic, values in told:
                    self._produce(topic, next(values), told=True)
                self._produce(next(untold), next(told[0][1]), told=False)
                self._producer.flush(5)

    def _produce(self, topic: str, value: bytes | None, *, told: bool) -> None:
        self._number += 1
        key = b"poison-%d" % self._number
        headers = [("traceparent", b"\xff" * 60), ("version", b"no number")]

        def delivered(error: object, _message: object) -> None:
            if error is None:
                self.records += 1
                if told:
                    self.keys[key] = topic

        with contextlib.suppress(KafkaException):  # the producer does not know a just recreated topic yet
            self._producer.produce(topic, value, key, headers=headers, on_delivery=delivered)

    def _poison_doors(self) -> None:
        requests = for_doors(self._rng, write_key(self._world.pipeline, BROWSER))
        while not self._stopped.wait(EVERY_SECONDS / 2):
            method, path, body, headers = next(requests)
            calm, began = self._world.calm.is_set(), time.monotonic()
            status = self._ask(method, path, body, headers)
            took = time.monotonic() - began
            self.answers[status] += 1
            what = f"{method} {path[:40]} with {body[:60]!r}… ({len(body):,} bytes)"
            if status and status not in ANSWERS:
                self.wrong.append(f"{what} was answered with {status}")
            if calm and self._world.calm.is_set():
                self.slowest = max(self.slowest, took)
                if took > PATIENCE_SECONDS:
                    self.wrong.append(f"{what} took {took:.1f} s")

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
        host, _, port = self._world.door.address.partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        try:
            connection.request(method, path, body, headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0  # cut, or closed in the middle of a body that is too large
        finally:
            connection.close()
