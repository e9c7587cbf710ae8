"""Click to store, measured from outside: how long after a click was due it can be found in both stores.

A sample of the accepted events is asked for by search in Elasticsearch (not by id: a document can be fetched before it
can be found) and by a query in PostgreSQL, about every `POLL_S`. An event counts as seen when the answer has arrived
that first had it, so every figure is up to one poll too high, never too low. What was due in the first seconds is left
out: processes warm up.

It is a second opinion beside the pipeline's own histogram.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from clickstream.contracts.names import Names
from clickstream.contracts.times import DAY_MS, iso_day
from clickstream.simulator.latencies import Latencies
from clickstream.simulator.ledger import parse_lines
from devstack.errors import DevstackError
from preview.search import Search


class Sent(NamedTuple):
    """An accepted event and the time at which it was scheduled to be sent (ms since the epoch)."""

    event_id: str
    due_ms: int


@dataclass(slots=True)
class Counts:
    """Distinct events so far."""

    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    unknown: int = 0


class LedgerTail:
    """Reads what was appended since the last call."""

    def __init__(self, path: Path, share: float) -> None:
        """`share`, from 0 to 1, of the accepted events is sampled, however often `read` is called."""
        self._path, self._offset, self._rest = path, 0, ""
        self._share = share
        self._due: dict[str, int] = {}
        self._unknown: dict[str, int] = {}
        self._rng = random.Random(0)  # noqa: S311 - a sample, no secret
        self.counts = Counts()

    def read(self) -> list[Sent]:
        """A random sample of the events that were accepted since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(data)
        text = self._rest + data.decode("ascii")
        whole, _, self._rest = text.rpartition("\n")
        return self._count(f"{whole}\n" if whole else "")

    def _count(self, text: str) -> list[Sent]:
        counts, accepted = self.counts, []
        for kind, key, due_ms in parse_lines(text.splitlines(keepends=True)):
            if kind == "S":
                self._due[key] = due_ms
                counts.sent += 1
                continue
            if key in self._unknown:
                counts.unknown -= 1
                due = self._unknown.pop(key)
            else:
                due = self._due.pop(key)
            if kind == "A":
                counts.accepted += 1
                if self._rng.random() < self._share:
                    accepted.append(Sent(key, due))
            elif kind == "R":
                counts.rejected += 1
            else:
                counts.unknown += 1
                self._unknown[key] = due
        return accepted


POLL_S: Final = 0.1
SAMPLES_PER_S: Final = 40
"""The questions stay small; a fixed share, so that slow moments are not sampled less."""
_MOST_ASKED: Final = 500
"""In one question, the oldest first: when more are awaited, the others are seen later, never earlier."""
_RECOVERY_S: Final = 1.0


class Prober:
    """A thread that follows the ledger and measures, from `start` to `stop`. Latencies are in seconds."""

    def __init__(self, tail: LedgerTail, elasticsearch: str, postgres: str, names: Names, warm_up_ms: int) -> None:
        self._tail, self._names, self._warm_up_ms = tail, names, warm_up_ms
        self._elasticsearch, self._postgres = elasticsearch, postgres
        self._not_found: dict[str, Sent] = {}  # in Elasticsearch
        self._no_row: dict[str, Sent] = {}  # in PostgreSQL
        self._first_due_ms: int | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prober", daemon=True)
        self.latencies = Latencies()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End. Samples that are still awaited are dropped: if they never come, the check calls them lost."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(10)

    @property
    def waiting(self) -> int:
        """Sampled events that are not in both stores yet."""
        return len(self._not_found.keys() | self._no_row.keys())

    def _run(self) -> None:
        search = Search(self._elasticsearch, timeout=10)
        row: psycopg.Connection[Any] | None = None
        while not self._stopped.is_set():
            began = time.monotonic()
            self._sample()
            try:
                if row is None or row.closed:
                    row = psycopg.connect(self._postgres, autocommit=True, connect_timeout=5)
                self._look(search, row)
                pause = POLL_S
            except (OSError, http.client.HTTPException, DevstackError, psycopg.Error):
                pause = _RECOVERY_S  # a store that is away makes the events late, not the prober wrong
            self._stopped.wait(max(pause - (time.monotonic() - began), POLL_S / 5))
        search.close()
        if row is not None:
            row.close()

    def _sample(self) -> None:
        for sent in self._tail.read():
            if self._first_due_ms is None:
                self._first_due_ms = sent.due_ms
            if sent.due_ms >= self._first_due_ms + self._warm_up_ms:
                self._not_found[sent.event_id] = sent
                self._no_row[sent.event_id] = sent

    def _look(self, search: Search, row: psycopg.Connection[Any]) -> None:
        if self._not_found:
            query = {"ids": {"values": list(islice(self._not_found, _MOST_ASKED))}}
            body = {"query": query, "size": _MOST_ASKED, "_source": False, "track_total_hits": False}
            hits = search.search(self._names.clicks_alias, body)["hits"]["hits"]
            self._seen([hit["_id"] for hit in hits], self._not_found, self._no_row)
        if self._no_row:
            today = time.time_ns() // 1_000_000
            days = [iso_day(today - DAY_MS), iso_day(today), iso_day(today + DAY_MS)]
            text = sql.SQL("SELECT event_id FROM {} WHERE storage_day = ANY(%s::date[]) AND event_id = ANY(%s)")
            where = text.format(sql.Identifier(self._names.schema, "clicks"))
            found = row.execute(where, (days, list(islice(self._no_row, _MOST_ASKED)))).fetchall()
            self._seen([each[0] for each in found], self._no_row, self._not_found)

    def _seen(self, event_ids: list[str], here: dict[str, Sent], there: dict[str, Sent]) -> None:
        now_ms = time.time_ns() // 1_000_000
        for event_id in event_ids:
            sent = here.pop(event_id, None)
            if sent is not None and event_id not in there:
                self.latencies.add((now_ms - sent.due_ms) / 1_000)
