"""The way of a request: who is it, what does it bring, into Kafka with it, and only then the answer.

This is the shell; each decision is made by a pure module. Plain ASGI rather than FastAPI's request handling, which
would parse the body without a limit and echo bad input in its 422.

Architecture invariant: no path leads to a 2xx except through `RecordProducer.send` answering `DELIVERED`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from clickstream.contracts.geoip import CountryOf
from clickstream.contracts.pipeline import Privacy
from clickstream.contracts.telemetry import Telemetry
from clickstream.tracking_api import answers, cors
from clickstream.tracking_api.access import Access, SourceAccess
from clickstream.tracking_api.address import Network, client_address
from clickstream.tracking_api.answers import Answer
from clickstream.tracking_api.body import Gone, decode_body, read_body
from clickstream.tracking_api.events import Circumstances
from clickstream.tracking_api.head import Head, read_head
from clickstream.tracking_api.instruments import Instruments
from clickstream.tracking_api.judgement import Judgement, RefusedEvent, judge_batch
from clickstream.tracking_api.pixel import read_pixel, without_key
from clickstream.tracking_api.producer import Outcome, RecordProducer, Refused
from clickstream.tracking_api.records import Records
from clickstream.tracking_api.rejections import Code, Rejection

_log = logging.getLogger(__name__)

Judge = Callable[[bytes, Circumstances], Judgement | Rejection]
_RECORD_TOO_LARGE = Rejection(Code.RECORD_TOO_LARGE, "$", "the event is larger than the brokers take")


@dataclass(frozen=True, slots=True)
class Collector:
    """What every endpoint needs; made once the producer exists. `clock` gives ms since the epoch."""

    access: Access
    trusted_proxies: tuple[Network, ...]
    privacy: Privacy
    records: Records
    producer: RecordProducer
    instruments: Instruments
    telemetry: Telemetry
    country_of: CountryOf
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000


class CollectEndpoint:
    """One route as an ASGI application. `judge` reads the body; None: the event is in the query string (the pixel)."""

    def __init__(self, method: str, path: str, judge: Judge | None, collector: Callable[[], Collector]) -> None:
        self._method = method
        self._route = f"{method} {path}"
        self._judge = judge
        self._collector = collector

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        collector = self._collector()
        head = read_head(scope)
        try:
            answer = await self._answer(scope["method"], collector, head, receive)
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and we a stack trace
            _log.exception("%s failed", self._route)
            answer = answers.refusal(answers.INTERNAL)
        if answer is Gone.GONE:
            return
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})
        collector.instruments.answered(self._route, answer.status, time.perf_counter() - started)

    async def _answer(self, method: str, collector: Collector, head: Head, receive: Receive) -> Answer | Gone:
        if method == "OPTIONS":
            return cors.preflight(collector.access, head.origin, head.key)
        if method != self._method:
            return answers.refusal(answers.METHOD_NOT_ALLOWED).with_headers([(b"allow", self._method.encode())])
        answer = await _Visit(collector, head, self._judge).traced_answer(self._route, receive)
        if answer is Gone.GONE:
            return answer
        return answer.with_headers(cors.readable(collector.access, head.origin, head.key))


class _Visit:
    """One request on its way."""

    __slots__ = ("_collector", "_head", "_judge", "_received_at", "_traceparent")

    def __init__(self, collector: Collector, head: Head, judge: Judge | None) -> None:
        self._collector = collector
        self._head = head
        self._judge = judge
        self._received_at = collector.clock()
        self._traceparent = head.traceparent

    async def traced_answer(self, route: str, receive: Receive) -> Answer | Gone:
        """The answer, within a span where the caller sampled one and spans go anywhere."""
        telemetry = self._collector.telemetry
        if self._traceparent is None or not telemetry.tracing:
            return await self._answer(receive)
        with telemetry.span(route, self._traceparent) as onward:
            self._traceparent = onward
            return await self._answer(receive)

    async def _answer(self, receive: Receive) -> Answer | Gone:
        source = self._collector.access.admit(self._head.key, self._head.origin)
        if isinstance(source, Rejection):
            return self._refused(source)
        if self._judge is None:
            return await self._store(source, self._pixel(source))
        body = await read_body(receive)
        match body:
            case Gone():
                return body
            case Rejection():
                return self._refused(body)
        text = decode_body(body, self._head.content_type, self._head.content_encoding)
        judgement = text if isinstance(text, Rejection) else self._judge(text, self._circumstances(source))
        if isinstance(judgement, Rejection):
            return await self._store_unreadable(source, body, judgement)
        return await self._store(source, judgement)

    def _circumstances(self, source: SourceAccess) -> Circumstances:
        head, collector = self._head, self._collector
        return Circumstances(
            source=source.name,
            received_at=self._received_at,
            address=client_address(head.peer, head.forwarded, collector.trusted_proxies),
            user_agent=head.user_agent,
            anonymize_ip=collector.privacy.anonymize_ip,
            keep_ip=not (head.private and collector.privacy.respect_gpc),
            country_of=collector.country_of,
        )

    def _pixel(self, source: SourceAccess) -> Judgement:
        query = without_key(self._head.query)
        click = read_pixel(query, self._circumstances(source))
        if isinstance(click, Rejection):
            return Judgement([], [RefusedEvent(0, query, click)], [query])
        return Judgement([(0, click)], [], [query])

    async def _store(self, source: SourceAccess, judgement: Judgement) -> Answer:
        """Clicks and dead letters into Kafka, then the answer."""
        collector, refused = self._collector, judgement.refused
        clicks = {index: collector.records.click(click, self._traceparent) for index, click in judgement.clicks}
        letters = [
            collector.records.dead_letter(r.original, r.rejection, self._received_at, source.name) for r in refused
        ]
        outcome = await collector.producer.send([*clicks.values(), *letters])
        if isinstance(outcome, Refused):
            late = [
                RefusedEvent(index, judgement.originals[index], _RECORD_TOO_LARGE)
                for index, record in clicks.items()
                if record.value in outcome.values
            ]
            refused = sorted([*refused, *late], key=lambda event: event.place)
            letters = [
                collector.records.dead_letter(r.original, r.rejection, self._received_at, source.name) for r in late
            ]
            outcome = await collector.producer.send(letters)
        if outcome is Outcome.UNAVAILABLE:
            return self._refused(answers.UNAVAILABLE)
        accepted = len(judgement.originals) - len(refused)
        if accepted:
            collector.instruments.accepted(source.name, accepted)
        for event in refused:
            collector.instruments.rejected(event.rejection.code)
            collector.instruments.dead_letter(event.rejection.code)
        if self._judge is judge_batch:
            return answers.accepted_batch(accepted, [(event.place, event.rejection) for event in refused])
        if refused:
            return answers.refusal(refused[0].rejection)
        return answers.PIXEL if self._judge is None else answers.ACCEPTED

    async def _store_unreadable(self, source: SourceAccess, body: bytes, rejection: Rejection) -> Answer:
        """The dead letter of a body that is no events at all, then the answer."""
        letter = self._collector.records.dead_letter(body, rejection, self._received_at, source.name)
        if await self._collector.producer.send([letter]) is Outcome.UNAVAILABLE:
            return self._refused(answers.UNAVAILABLE)
        self._collector.instruments.dead_letter(rejection.code)
        return self._refused(rejection)

    def _refused(self, rejection: Rejection) -> Answer:
        self._collector.instruments.rejected(rejection.code)
        return answers.refusal(rejection)
