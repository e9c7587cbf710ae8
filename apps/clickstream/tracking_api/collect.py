"""The way of a request: who is it, what does it bring, into Kafka with it, and only then the answer.

This is the shell; each decision is made by a pure module. Plain ASGI rather than FastAPI's request handling, which
would parse the body without a limit and echo bad input in its 422.

Architecture invariant: no path leads to a 2xx except through `RecordProducer.send` answering `DELIVERED`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from starlette.types import Receive, Scope, Send

from clickstream.contracts.geoip import CountryOf
from clickstream.contracts.pipeline import Privacy
from clickstream.contracts.telemetry import Telemetry
from clickstream.tracking_api import answers, cors
from clickstream.tracking_api.access import Access, SourceAccess
from clickstream.tracking_api.address import Network, client_address
from clickstream.tracking_api.admission import Record
from clickstream.tracking_api.answers import Answer
from clickstream.tracking_api.body import Gone, decode_body, read_body
from clickstream.tracking_api.events import Circumstances
from clickstream.tracking_api.head import Head, read_head
from clickstream.tracking_api.instruments import Instruments
from clickstream.tracking_api.judgement import (
    Judgement,
    RefusedEvent,
    dead_letter_of,
    judge_batch,
    judge_event,
    judge_pixel,
)
from clickstream.tracking_api.pixel import without_key
from clickstream.tracking_api.producer import Outcome, RecordProducer
from clickstream.tracking_api.records import Records
from clickstream.tracking_api.rejections import Code, Rejection

_log = logging.getLogger(__name__)

_RECORD_TOO_LARGE = Rejection(Code.RECORD_TOO_LARGE, "$", "the event is larger than the brokers take")


class Form(Enum):
    """How a request holds its events, by the path that it is sent to."""

    EVENT = "/v1/events"
    BATCH = "/v1/events/batch"
    PIXEL = "/v1/pixel.gif"

    @property
    def method(self) -> str:
        """The one method that collects; the pixel answers HEAD, too."""
        return "GET" if self is Form.PIXEL else "POST"


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
    """One route as an ASGI application."""

    def __init__(self, form: Form, collector: Callable[[], Collector]) -> None:
        self._form = form
        self._methods = ("GET", "HEAD") if form is Form.PIXEL else (form.method,)
        self._allow = (b"allow", ", ".join((*self._methods, "OPTIONS")).encode())
        self._route = f"{form.method} {form.value}"
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
            return cors.preflight(collector.access, head.origin, head.key).with_headers([self._allow])
        if method not in self._methods:
            return answers.refusal(answers.METHOD_NOT_ALLOWED).with_headers([self._allow])
        visit = _Visit(collector, head, self._form)
        answer = await (visit.answer_to_head() if method == "HEAD" else visit.traced_answer(self._route, receive))
        if answer is Gone.GONE:
            return answer
        return answer.with_headers(cors.readable(collector.access, head.origin, head.key))


class _Visit:
    """One request on its way."""

    __slots__ = ("_collector", "_form", "_head", "_received_at", "_traceparent")

    def __init__(self, collector: Collector, head: Head, form: Form) -> None:
        self._collector = collector
        self._head = head
        self._form = form
        self._received_at = collector.clock()
        self._traceparent = head.traceparent

    async def answer_to_head(self) -> Answer:
        """What GET would be answered while Kafka takes records. Nothing is stored, and no event is counted."""
        source = self._collector.access.admit(self._head.key, self._head.origin)
        if isinstance(source, Rejection):
            return answers.refusal(source)
        refused = (await judge_pixel(without_key(self._head.query), self._circumstances(source))).refused
        return answers.refusal(refused[0].rejection) if refused else answers.PIXEL

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
        if self._form is Form.PIXEL:
            query = without_key(self._head.query)
            return await self._store(source, await judge_pixel(query, self._circumstances(source)))
        body = await read_body(receive)
        match body:
            case Gone():
                return body
            case Rejection():
                return self._refused(body)
        return await self._take(source, body)

    async def _take(self, source: SourceAccess, body: bytes) -> Answer:
        text = decode_body(body, self._head.content_type, self._head.content_encoding)
        if isinstance(text, Rejection):
            return await self._store_unreadable(source, body, text)
        circumstances, batch = self._circumstances(source), self._form is Form.BATCH
        judgement = await (judge_batch(text, circumstances) if batch else judge_event(text, circumstances))
        if isinstance(judgement, Rejection):
            return await self._store_unreadable(source, text, judgement)
        return await self._store(source, judgement)

    def _circumstances(self, source: SourceAccess) -> Circumstances:
        head, collector = self._head, self._collector
        visitor = head.browser or self._form is Form.PIXEL
        return Circumstances(
            source=source.name,
            received_at=self._received_at,
            address=client_address(head.peer, head.x_forwarded_for, head.forwarded, collector.trusted_proxies),
            user_agent=head.user_agent if visitor else None,
            anonymize_ip=collector.privacy.anonymize_ip,
            keep_ip=not (head.private and collector.privacy.respect_gpc),
            country_of=collector.country_of,
        )

    async def _store(self, source: SourceAccess, judgement: Judgement) -> Answer:
        """Clicks and dead letters into Kafka, then the answer."""
        collector, refused = self._collector, judgement.refused
        clicks = [collector.records.click(click, self._traceparent) for _, click in judgement.clicks]
        outcomes = await collector.producer.send([*clicks, *self._letters(source, refused)])
        places = dict(zip((place for place, _ in judgement.clicks), outcomes, strict=False))
        letters = list(zip(refused, outcomes[len(clicks) :], strict=True))
        late = [
            await judgement.refusal(place, _RECORD_TOO_LARGE)
            for place, outcome in places.items()
            if outcome is Outcome.REFUSED
        ]
        letters += zip(late, await collector.producer.send(self._letters(source, late)), strict=True)
        unstored = [place for place, outcome in places.items() if outcome is Outcome.UNAVAILABLE]
        unstored += [event.place for event, outcome in letters if outcome is Outcome.UNAVAILABLE]
        accepted = sum(outcome is Outcome.DELIVERED for outcome in places.values())
        letters = sorted((pair for pair in letters if pair[1] is not Outcome.UNAVAILABLE), key=_place)
        self._count(source, accepted, letters, unstored)
        rejected = [(event.place, event.rejection) for event, _ in letters]
        if self._form is Form.BATCH:
            return answers.batch(accepted, rejected, sorted(unstored))
        if unstored:
            return answers.refusal(answers.UNAVAILABLE)
        if rejected:
            return answers.refusal(rejected[0][1])
        return answers.PIXEL if self._form is Form.PIXEL else answers.ACCEPTED

    async def _store_unreadable(self, source: SourceAccess, body: bytes, rejection: Rejection) -> Answer:
        """The dead letter of a body that is no events at all, then the answer."""
        event = RefusedEvent(0, await dead_letter_of(body), rejection)
        [outcome] = await self._collector.producer.send(self._letters(source, [event]))
        if outcome is Outcome.UNAVAILABLE:
            return self._refused(answers.UNAVAILABLE)
        self._count(source, 0, [(event, outcome)], [])
        return answers.refusal(rejection)

    def _letters(self, source: SourceAccess, refused: list[RefusedEvent]) -> list[Record]:
        made = self._collector.records.dead_letter
        return [made(event.original, event.rejection, self._received_at, source.name) for event in refused]

    def _count(
        self, source: SourceAccess, accepted: int, letters: list[tuple[RefusedEvent, Outcome]], unstored: list[int]
    ) -> None:
        """What became of the events. A batch that is sent again as a whole counts again."""
        instruments = self._collector.instruments
        if accepted:
            instruments.accepted(source.name, accepted)
        for code, times in Counter(event.rejection.code for event, _ in letters).items():
            instruments.rejected(code, times)
        if unstored:
            instruments.rejected(Code.UNAVAILABLE)
        kept = Counter(event.rejection.code for event, outcome in letters if outcome is Outcome.DELIVERED)
        for code, times in kept.items():
            instruments.dead_letter(code, times)
        lost = len(letters) - kept.total()
        if lost:
            _log.error("dead-letters does not take %d records for their size: raise its max.message.bytes", lost)
            instruments.lost_letter(lost)

    def _refused(self, rejection: Rejection) -> Answer:
        self._collector.instruments.rejected(rejection.code)
        return answers.refusal(rejection)


def _place(letter: tuple[RefusedEvent, Outcome]) -> int:
    return letter[0].place
