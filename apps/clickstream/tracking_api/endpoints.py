"""How a request goes: who sends it, what is in it, its clicks and dead letters into Kafka, and then the answer.

Plain ASGI rather than FastAPI's request handling, which would parse the body without a limit and echo bad input in its
422.

Architecture invariant: of a request that brings events, only `RecordProducer.send` leads to a 2xx, by `DELIVERED`. What
is sent to VALIDATE goes the same way up to there, and is judged instead (`verdicts`): nothing is stored or counted.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Literal

from starlette.types import Receive, Scope, Send

from clickstream.runtime.geoip import CountryOf
from clickstream.runtime.telemetry import Telemetry
from clickstream.tracking_api import answers, rejections, segment_answers, verdicts
from clickstream.tracking_api.access import Access, SourceAccess
from clickstream.tracking_api.address import Address, Network, client_address
from clickstream.tracking_api.answers import Answer
from clickstream.tracking_api.metrics import Metrics
from clickstream.tracking_api.producer import Outcome, RecordProducer
from clickstream.tracking_api.rate_limits import Refusal, SourceLimits
from clickstream.tracking_api.records import Record, Records
from clickstream.tracking_api.redaction import Redaction
from clickstream.tracking_api.rejections import Code, Rejection
from clickstream.tracking_api.requests import (
    ClientDisconnected,
    RequestHeaders,
    basic_user,
    decode_body,
    decompress,
    most_events,
    read_body,
    read_headers,
    without_key,
)
from clickstream.tracking_api.validation.batch import is_for_batches
from clickstream.tracking_api.validation.event import RequestContext
from clickstream.tracking_api.validation.request import (
    ParsedRequest,
    RejectedEvent,
    one_event,
    parse_batch_request,
    parse_call_request,
    parse_event_request,
    parse_pixel_request,
    parse_segment_batch_request,
)
from clickstream.tracking_api.validation.segment_batch import write_key_in_body
from clickstream.tracking_api.verdicts import AccessVerdict, LimitLeft, Validator

_log = logging.getLogger(__name__)

Parse = Callable[[bytes, RequestContext], Awaitable[ParsedRequest | Rejection]]
"""From the body's text or the query string."""
MakeAnswer = Callable[[int, list[tuple[int, Rejection]], list[int]], Answer]
"""From the number of accepted events, the rejected ones by index, and the indices of those that are not stored."""

Letter = tuple[RejectedEvent, Outcome | None]
"""A rejected event and what became of its dead letter; None: over its source's budget, not written."""


def _segment(kind: str, short: str) -> tuple[tuple[str, ...], tuple[str, ...], Literal["segment"], Parse, MakeAnswer]:
    paths = (f"/v1/{kind}", f"/v1/{short}", f"/api/s/{kind}", f"/api/s/s2s/{kind}")  # the last two are Jitsu's
    return paths, ("POST",), "segment", partial(parse_call_request, kind), segment_answers.event


class Endpoint(Enum):
    """The routes that collect events: paths, methods (the first one stores), where the events are, parser, answer.

    The first path is the route's name. Where a client speaks Segment's API, the rules of its libraries hold: the key
    may be in basic authentication or in the body, the Content-Type says nothing, and the answers are others.

    VALIDATE stores nothing: it answers what EVENT or BATCH, whichever could take the body, would do.
    """

    EVENT = ("/v1/events",), ("POST",), "body", parse_event_request, answers.event
    BATCH = ("/v1/events/batch",), ("POST",), "body", parse_batch_request, answers.batch
    PIXEL = ("/v1/pixel.gif",), ("GET", "HEAD"), "query", parse_pixel_request, answers.pixel
    SEGMENT_TRACK = _segment("track", "t")
    SEGMENT_PAGE = _segment("page", "p")
    SEGMENT_SCREEN = _segment("screen", "s")
    SEGMENT_IDENTIFY = _segment("identify", "i")
    SEGMENT_ALIAS = _segment("alias", "a")
    SEGMENT_GROUP = _segment("group", "g")
    SEGMENT_BATCH = (
        ("/v1/batch", "/v1/b", "/v1/import"),
        ("POST",),
        "segment",
        parse_segment_batch_request,
        segment_answers.batch,
    )
    VALIDATE = ("/v1/validate",), ("POST",), "body", parse_event_request, answers.event

    def __init__(
        self,
        paths: tuple[str, ...],
        methods: tuple[str, ...],
        events_in: Literal["body", "query", "segment"],
        parse: Parse,
        make_answer: MakeAnswer,
    ) -> None:
        self.paths = paths
        self.path = paths[0]
        self.methods = methods
        self.in_query = events_in == "query"
        self.segment = events_in == "segment"
        self.parse = parse
        self.make_answer = make_answer
        self.answer_one = segment_answers.event if self.segment else answers.event
        self.refuse = segment_answers.refusal if self.segment else answers.rejection
        self.route = f"{methods[0]} {self.path}"
        self.allow = (b"allow", ", ".join((*methods, "OPTIONS")).encode())


@dataclass(frozen=True, slots=True)
class Services:
    """What every endpoint needs; made once the producer exists."""

    access: Access
    limits: Mapping[str, SourceLimits]
    trusted_proxies: tuple[Network, ...]
    redaction: Redaction
    redaction_of_private: Redaction  # of who asks for privacy
    records: Records
    producer: RecordProducer
    metrics: Metrics
    telemetry: Telemetry
    country_of: CountryOf
    validator: Validator


class EndpointApp:
    """One endpoint as an ASGI application."""

    def __init__(self, endpoint: Endpoint, get_services: Callable[[], Services]) -> None:
        self._endpoint = endpoint
        self._get_services = get_services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        services, route = self._get_services(), self._endpoint.route
        headers = read_headers(scope)
        try:
            answer = await self._answer(scope["method"], services, headers, receive)
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log a stack trace
            _log.exception("%s failed", route)
            services.metrics.rejected(Code.INTERNAL)
            answer = self._endpoint.refuse(rejections.INTERNAL)
        if isinstance(answer, ClientDisconnected):
            return
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})
        services.metrics.answered(route, answer.status, time.perf_counter() - started)

    async def _answer(
        self, method: str, services: Services, headers: RequestHeaders, receive: Receive
    ) -> Answer | ClientDisconnected:
        endpoint = self._endpoint
        if method == "OPTIONS":
            answer = answers.preflight(services.access, headers.origin, headers.key).with_headers([endpoint.allow])
            if answer.status == 403:  # the browser will not send the events
                services.metrics.rejected(Code.ORIGIN_NOT_ALLOWED)
            return answer
        if method not in endpoint.methods:
            services.metrics.rejected(Code.METHOD_NOT_ALLOWED)
            return endpoint.refuse(rejections.METHOD_NOT_ALLOWED).with_headers([endpoint.allow])
        if endpoint.segment:
            headers.key = basic_user(headers.authorization) or headers.key
        handler = _RequestHandler(endpoint, services, headers)
        given = await (handler.answer_to_head() if method == "HEAD" else handler.traced_answer(receive))
        if isinstance(given, ClientDisconnected):
            return given
        refused = 400 <= given.status < 500
        return given.with_headers(answers.cors_headers(services.access, headers.origin, headers.key, refused=refused))


class _RequestHandler:
    __slots__ = ("_address", "_endpoint", "_headers", "_paid", "_received_at", "_services", "_traceparent")

    def __init__(self, endpoint: Endpoint, services: Services, headers: RequestHeaders) -> None:
        self._endpoint = endpoint
        self._services = services
        self._headers = headers
        self._received_at = time.time_ns() // 1_000_000
        self._traceparent = headers.traceparent
        self._address: Address | None = None
        self._paid = False

    async def answer_to_head(self) -> Answer:
        """What GET would be answered while Kafka is available. Nothing is stored, and no event is counted."""
        source = self._admit()
        if isinstance(source, Rejection):
            return answers.rejection(source)
        refusal = self._services.limits[source.name].refusal(self._address, 1)
        if refusal is not None:
            return answers.limited(refusal, self._endpoint.refuse)
        parsed = await parse_pixel_request(without_key(self._headers.query), self._context(source))
        return answers.pixel(len(parsed.clicks), [(each.index, each.rejection) for each in parsed.rejected], [])

    async def traced_answer(self, receive: Receive) -> Answer | ClientDisconnected:
        """The answer, within a span where the client sampled one and spans are exported."""
        telemetry = self._services.telemetry
        if self._traceparent is None or not telemetry.tracing:
            return await self._answer(receive)
        with telemetry.span(self._endpoint.route, self._traceparent) as onward:
            self._traceparent = onward
            return await self._answer(receive)

    async def _answer(self, receive: Receive) -> Answer | ClientDisconnected:
        source = self._admit()
        if isinstance(source, SourceAccess):
            refusal = self._first_look(source)
            if refusal is not None:
                return self._limit(source, refusal)
        elif self._headers.key or not self._endpoint.segment:
            return self._reject(source)
        return await self._collect(source, receive)

    def _first_look(self, source: SourceAccess) -> Refusal | None:
        """What a batch costs is in its body, which need not be read for nothing; all others pay."""
        if self._endpoint in {Endpoint.BATCH, Endpoint.SEGMENT_BATCH, Endpoint.VALIDATE}:
            return self._services.limits[source.name].refusal(self._address, most_events(self._headers))
        return self._pay(source, 1)

    def _pay(self, source: SourceAccess, events: int) -> Refusal | None:
        """Take the request's events from its source's limits, once."""
        if self._paid:
            return None
        self._paid = True
        return self._services.limits[source.name].take(self._address, events)

    async def _collect(self, source: SourceAccess | Rejection, receive: Receive) -> Answer | ClientDisconnected:
        """Read the events, and store them. A Rejection: the key may be in the body."""
        headers, endpoint = self._headers, self._endpoint
        body = without_key(headers.query) if endpoint.in_query else await read_body(receive)
        if isinstance(body, ClientDisconnected):
            return body
        if isinstance(body, Rejection):  # nothing of it is stored
            if isinstance(source, SourceAccess):
                self._pay(source, 1)
            return self._reject(body)
        text = self._text(body)
        if isinstance(source, Rejection):
            source = self._source_in(text)
            if isinstance(source, Rejection):
                return self._reject(source)
            refusal = self._first_look(source)
            if refusal is not None:
                return self._limit(source, refusal)
        judging = endpoint is Endpoint.VALIDATE
        if judging:
            endpoint = Endpoint.BATCH if isinstance(text, bytes) and is_for_batches(text) else Endpoint.EVENT
        context = self._context(source)
        parsed = text if isinstance(text, Rejection) else await endpoint.parse(text, context)
        make_answer = endpoint.make_answer
        if isinstance(parsed, Rejection):  # no events can be told apart: the whole body is refused, and kept
            parsed = await one_event(body if isinstance(text, Rejection) else text, parsed, context)
            make_answer = endpoint.answer_one
        if judging:
            return await self._judge(source, parsed, endpoint, make_answer)
        return await self._store(source, parsed, make_answer)

    def _admit(self) -> SourceAccess | Rejection:
        """The source, and whose request it is."""
        headers, services = self._headers, self._services
        source = services.access.admit(headers.key, headers.origin)
        if isinstance(source, SourceAccess):
            self._address = client_address(
                headers.peer, headers.x_forwarded_for, headers.forwarded, services.trusted_proxies
            )
        return source

    def _text(self, body: bytes) -> bytes | Rejection:
        headers, endpoint = self._headers, self._endpoint
        if endpoint.in_query:
            return body
        if endpoint.segment:
            return decompress(body, headers.content_encoding)
        return decode_body(body, headers.content_type, headers.content_encoding)

    def _source_in(self, text: bytes | Rejection) -> SourceAccess | Rejection:
        """The source of a request whose key is in its body, or why there is none."""
        key = text if isinstance(text, Rejection) else write_key_in_body(text)
        if isinstance(key, Rejection):
            return key
        self._headers.key = key
        return self._admit()

    def _context(self, source: SourceAccess) -> RequestContext:
        headers, services = self._headers, self._services
        visitor = headers.browser or self._endpoint.in_query
        return RequestContext(
            source=source.name,
            received_at=self._received_at,
            address=self._address,
            user_agent=headers.user_agent if visitor else None,
            redaction=services.redaction_of_private if headers.private else services.redaction,
            country_of=services.country_of,
            browser=visitor,
            nonce=os.urandom(16) if self._endpoint.segment else b"",
        )

    async def _judge(
        self, source: SourceAccess, parsed: ParsedRequest, endpoint: Endpoint, make_answer: MakeAnswer
    ) -> Answer:
        """What `endpoint` would do, while Kafka is available. It costs the source's limits what it would cost there."""
        services, events = self._services, len(parsed.originals)
        refusal = services.validator.limit.take(events)
        if refusal is not None:
            return answers.limited(refusal, endpoint.refuse, rejections.TOO_MANY_VALIDATIONS)
        refusal = self._pay(source, events)
        if refusal is not None:
            services.validator.limit.give_back(events)
            return self._limit(source, refusal)
        records = [(index, services.records.click(click, self._traceparent)) for index, click in parsed.clicks]
        found = await services.validator.judge(records, self._received_at)
        for event in parsed.rejected:
            letter = services.records.dead_letter(event.original, event.rejection, self._received_at, source.name)
            found.append(verdicts.rejected(event.index, event.rejection, letter))
        left = services.limits[source.name].left(self._address)
        access = AccessVerdict(
            source.name,
            "none" if self._headers.origin is None else "allowed",
            [LimitLeft(limit, events) for limit, events in left.items()],
        )
        refused = [(event.index, event.rejection) for event in parsed.rejected]
        services.metrics.validated(source.name, len(records), len(refused))
        answer = make_answer(len(records), refused, [])
        return answers.verdict(verdicts.encode(endpoint.path, answer, access, found))

    async def _store(self, source: SourceAccess, parsed: ParsedRequest, make_answer: MakeAnswer) -> Answer:
        """Clicks and dead letters into Kafka, then the answer. A request is taken as a whole, or refused by a limit."""
        services = self._services
        refusal = self._pay(source, len(parsed.originals))
        if refusal is not None:
            return self._limit(source, refusal)
        clicks = [services.records.click(click, self._traceparent) for _, click in parsed.clicks]
        outcomes, letters = await self._send(source, clicks, parsed.rejected)
        stored = dict(zip((index for index, _ in parsed.clicks), outcomes, strict=True))
        too_large = [
            await parsed.rejected_event(index, rejections.RECORD_TOO_LARGE)
            for index, outcome in stored.items()
            if outcome is Outcome.REJECTED
        ]
        if too_large:
            letters += (await self._send(source, [], too_large))[1]
        unstored = [index for index, outcome in stored.items() if outcome is Outcome.UNAVAILABLE]
        unstored += [event.index for event, outcome in letters if outcome is Outcome.UNAVAILABLE]
        accepted = sum(outcome is Outcome.DELIVERED for outcome in stored.values())
        letters = sorted((pair for pair in letters if pair[1] is not Outcome.UNAVAILABLE), key=_index)
        self._count(source, accepted, letters, unstored)
        return make_answer(accepted, [(event.index, event.rejection) for event, _ in letters], sorted(unstored))

    async def _send(
        self, source: SourceAccess, clicks: list[Record], rejected: list[RejectedEvent]
    ) -> tuple[list[Outcome], list[Letter]]:
        """The outcomes of the clicks and of the rejected events' dead letters.

        What the source's budget does not cover is not written. What the brokers did not take does not count.
        """
        services, limits = self._services, self._services.limits[source.name]
        where = (self._received_at, source.name, self._endpoint.path if self._endpoint.segment else "")
        dead_letters = [services.records.dead_letter(event.original, event.rejection, *where) for event in rejected]
        covered = [limits.take_dead_letter(letter.size) for letter in dead_letters]
        written = [letter for letter, fits in zip(dead_letters, covered, strict=True) if fits]
        outcomes = await services.producer.send([*clicks, *written])
        of_written = iter(outcomes[len(clicks) :])
        letters: list[Letter] = []
        for event, letter, fits in zip(rejected, dead_letters, covered, strict=True):
            outcome = next(of_written) if fits else None
            if outcome is Outcome.UNAVAILABLE:
                limits.dead_letters.give_back(letter.size)
            letters.append((event, outcome))
        return outcomes[: len(clicks)], letters

    def _count(self, source: SourceAccess, accepted: int, letters: list[Letter], unstored: list[int]) -> None:
        """Count the events by what became of them. A batch that is sent again as a whole counts again."""
        metrics = self._services.metrics
        if accepted:
            metrics.accepted(source.name, accepted)
        for code, times in Counter(event.rejection.code for event, _ in letters).items():
            metrics.rejected(code, times)
        if unstored:
            metrics.rejected(Code.UNAVAILABLE)
        delivered = Counter(event.rejection.code for event, outcome in letters if outcome is Outcome.DELIVERED)
        for code, times in delivered.items():
            metrics.dead_letter(code, times)
        over_budget = sum(outcome is None for _, outcome in letters)
        if over_budget:
            metrics.dead_letters_over_budget(source.name, over_budget)
        lost = len(letters) - delivered.total() - over_budget
        if lost:
            _log.error("dead-letters rejected %d records as too large: raise its max.message.bytes", lost)
            metrics.dead_letters_lost(lost)

    def _limit(self, source: SourceAccess, refusal: Refusal) -> Answer:
        if self._endpoint is not Endpoint.VALIDATE:
            self._services.metrics.limited(source.name, refusal.limit)
        return answers.limited(refusal, self._endpoint.refuse)

    def _reject(self, rejection: Rejection) -> Answer:
        if self._endpoint is not Endpoint.VALIDATE:
            self._services.metrics.rejected(rejection.code)
        return self._endpoint.refuse(rejection)


def _index(letter: Letter) -> int:
    return letter[0].index
