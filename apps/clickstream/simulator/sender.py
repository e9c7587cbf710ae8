"""Sending on schedule: open-loop, so that a slow answer neither slows the traffic down nor hides in the figures.

Each request leaves at its scheduled time, whatever became of those before it; latency counts from that time. Only when
`MOST_PENDING` requests are waiting does the schedule pause, and the report says how far it fell behind. A request
without a final answer is retried, with the same event ids, until `give_up_after_s`.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from clickstream.contracts.times import iso_time
from clickstream.runtime.backoff import Backoff
from clickstream.simulator.answers import Again, Answer, Misdirected, Settled, read_answer
from clickstream.simulator.latencies import Latencies
from clickstream.simulator.ledger import LedgerWriter, State
from clickstream.simulator.shipments import Shipment

MOST_PENDING: Final = 5_000
_NAP_S: Final = 0.1
_FIRST_BACKOFF_S: Final = 0.2
_LONGEST_BACKOFF_S: Final = 5.0


class MisdirectedError(Exception):
    """The tracking API rejected the address or the write key; the message says which."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send and how. Times in seconds."""

    url: str
    write_key: str
    connections: int = 32
    gzip: bool = False
    timeout_s: float = 15.0
    give_up_after_s: float = 30.0


@dataclass(slots=True)
class Report:
    """What happened. `last_sent`: when the last request left for the first time (monotonic).

    `behind_s`: the furthest that sending fell behind its schedule; `statuses`: answers by status.
    """

    began: float = field(default_factory=time.monotonic)
    last_sent: float = 0.0
    behind_s: float = 0.0
    requests: int = 0
    retries: int = 0
    repeats: int = 0
    spoiled: int = 0
    spoiled_accepted: int = 0
    good_rejected: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    answers: Latencies = field(default_factory=Latencies)
    recent: Latencies = field(default_factory=Latencies)

    def recent_p95_ms(self) -> float | None:
        """The 95th percentile of the answers since the last call, in ms; None without any."""
        recent, self.recent = self.recent, Latencies()
        return recent.percentile_ms(95)


class Sender:
    """Sends one stream of shipments.

    `begin` (monotonic) and `begin_ms` (epoch) are the same moment, the schedule's 0.
    """

    def __init__(self, target: Target, ledger: LedgerWriter, begin: float, begin_ms: int) -> None:
        self._target, self._ledger = target, ledger
        self._begin, self._begin_ms = begin, begin_ms
        self._tasks: set[asyncio.Task[None]] = set()
        self._trouble: MisdirectedError | None = None
        self._stopping = False
        self.report = Report(began=begin, last_sent=begin)

    def stop(self) -> None:
        """Send nothing new. A second call gives up what is still in flight."""
        if self._stopping:
            for task in self._tasks:
                task.cancel()
        self._stopping = True

    async def run(self, stream: Iterable[Shipment]) -> None:
        """Send all of it, then wait for the answers. Raises MisdirectedError."""
        self._connections = asyncio.Semaphore(self._target.connections)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._target.connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._target.timeout_s),
            headers=self._headers(),
        ) as session:
            for shipment in stream:
                await self._wait_until(self._begin + shipment.due_s)
                while len(self._tasks) >= MOST_PENDING and not self._stopping:
                    await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                if self._stopping:
                    break
                self._launch(session, shipment)
            while self._tasks:
                await asyncio.wait(self._tasks)
        if self._trouble is not None:
            raise self._trouble

    async def _wait_until(self, due: float) -> None:
        """In short naps, so that `stop` is heard."""
        late = time.monotonic() - due
        if late >= 0:
            self.report.behind_s = max(self.report.behind_s, late)
            await asyncio.sleep(0)
        while late < 0 and not self._stopping:
            await asyncio.sleep(min(-late, _NAP_S))
            late = time.monotonic() - due

    def _launch(self, session: aiohttp.ClientSession, shipment: Shipment) -> None:
        self._ledger.sending(
            (event.key, self._begin_ms + int(event.due_s * 1_000)) for event in shipment.events if not event.repeat
        )
        self.report.repeats += sum(event.repeat for event in shipment.events)
        self.report.spoiled += sum(event.spoiled for event in shipment.events)
        task = asyncio.create_task(self._deliver(session, shipment))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, session: aiohttp.ClientSession, shipment: Shipment) -> None:
        due = self._begin + shipment.due_s
        backoff, first = Backoff(_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S), True
        while True:
            match await self._attempt(session, shipment, first=first):
                case Settled(rejected):
                    self._settle(shipment, rejected, time.monotonic())
                    return
                case Misdirected(status):
                    msg = f"{self._target.url} answered {status}: check the address and the write key"
                    self._trouble = MisdirectedError(msg)
                    self._stopping = True
                    break
                case Again(after_s):
                    wait_s = max(min(after_s, _LONGEST_BACKOFF_S), backoff.next_wait())
            if time.monotonic() + wait_s > due + self._target.give_up_after_s:
                break
            self.report.retries += 1
            await asyncio.sleep(wait_s)
            first = False
        self._ledger.settle((event.key, State.UNKNOWN) for event in shipment.events)

    async def _attempt(self, session: aiohttp.ClientSession, shipment: Shipment, *, first: bool) -> Answer:
        async with self._connections:
            now = time.monotonic()
            self.report.requests += 1
            if first:
                self.report.last_sent = max(self.report.last_sent, now)
            url, body = self._request(shipment, self._begin_ms + int((now - self._begin) * 1_000))
            try:
                async with session.post(url, data=body) as response:
                    content = await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self.report.statuses[type(error).__name__] += 1
                return Again(0.0)
        self.report.statuses[str(response.status)] += 1
        return read_answer(response.status, response.headers.get("Retry-After"), content, len(shipment.events))

    def _request(self, shipment: Shipment, now_ms: int) -> tuple[str, bytes]:
        sent_at = b',"sent_at":"' + iso_time(now_ms).encode() + b'"}'
        if shipment.single:
            url, body = "/v1/events", shipment.events[0].body[:-1] + sent_at
        else:
            bodies = b",".join(event.body for event in shipment.events)
            url, body = "/v1/events/batch", b'{"events":[' + bodies + b"]" + sent_at
        return self._target.url + url, gzip.compress(body, 1) if self._target.gzip else body

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "X-Write-Key": self._target.write_key}
        return headers | ({"Content-Encoding": "gzip"} if self._target.gzip else {})

    def _settle(self, shipment: Shipment, rejected: frozenset[int], now: float) -> None:
        answered = now - self._begin
        outcomes = []
        for index, event in enumerate(shipment.events):
            state = State.REJECTED if index in rejected else State.ACCEPTED
            outcomes.append((event.key, state))
            for latencies in (self.report.answers, self.report.recent):
                latencies.add(answered - event.due_s)
            if event.spoiled is (state is State.ACCEPTED):
                self._note_surprise(state)
        self._ledger.settle(outcomes)

    def _note_surprise(self, state: State) -> None:
        if state is State.ACCEPTED:
            self.report.spoiled_accepted += 1
        else:
            self.report.good_rejected += 1
