"""What was sent to a tracking API and what it answered, and whether both stores hold exactly what it accepted.

Each request is parsed here as well, by the API's own pure rules: which events are clicks, which are rejected. The
answer must say the same. So every accepted click is known, with the bytes that it came in, and every dead letter.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from clickstream.contracts.clicks import Click
from clickstream.contracts.dead_letters import KEPT_BYTES
from clickstream.contracts.times import storage_day
from clickstream.contracts.urls import bytes_without_credentials
from clickstream.tracking_api import limits
from clickstream.tracking_api.endpoints import Endpoint
from clickstream.tracking_api.rejections import Code, Rejection
from clickstream.tracking_api.requests import decode_body, without_key
from clickstream.tracking_api.validation.batch import parse_batch
from clickstream.tracking_api.validation.event import RequestContext, parse_event, parse_query

_HEADERS_BYTES = 160
"""About what the head of a pixel's request has besides its query; no query has a length that it depends on."""

_DEEP = 500
"""Brackets without which no text can be nested as deep as a parser goes."""

Key = tuple[str, str, str]
"""Source, user and event id: what a click is known by."""


@dataclass(frozen=True)
class Request:
    """One request: its `endpoint`, the `source` that its key belongs to, its query, header values and body as sent."""

    endpoint: Endpoint
    source: str
    query: bytes = b""
    body: bytes = b""
    content_type: bytes = b"application/json"
    content_encoding: bytes = b""


@dataclass(frozen=True)
class Sent:
    """An accepted click, the bytes that it came in, and when it was sent (ms)."""

    click: Click
    text: bytes
    at: int

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.click.source, self.click.user_id, self.click.event_id

    def days(self) -> set[str]:
        """Its storage day; two where a border may have come between sending and receipt."""
        return {storage_day(self.click.timestamp, self.at + late) for late in (0, 30_000)}


@dataclass
class Ledger:
    """All requests so far: the accepted clicks in order, the dead letters that there must be, the events in all."""

    accepted: list[Sent] = field(default_factory=list)
    letters: Counter[bytes] = field(default_factory=Counter)
    events: int = 0

    def take(self, request: Request, status: int, answer: bytes, at: int) -> None:
        """Note a request that was answered. Raises AssertionError where the answer is not what the rules say."""
        if len(request.body) > limits.BODY_BYTES:  # nothing is kept of what is not read to its end
            assert (status, json.loads(answer)["error"]["code"]) == (413, "body_too_large")
            return
        if len(request.query) > limits.HEAD_BYTES - _HEADERS_BYTES:  # nor of such a head
            assert status == 431
            return
        texts, results = _parse(request, at)
        self.events += len(texts)
        rejected = [(index, each) for index, each in enumerate(results) if isinstance(each, Rejection)]
        if request.endpoint is Endpoint.BATCH and not isinstance(results, _Unreadable):
            said = json.loads(answer)
            assert status == (202 if len(rejected) < len(results) else 422), (status, answer)
            told = [(each["index"], _fault(each["code"], texts[each["index"]])) for each in said["rejected"]]
            assert told == [(n, _fault(r.code, texts[n])) for n, r in rejected]
            assert said["accepted"] == len(results) - len(rejected)
        elif rejected:
            said, due = json.loads(answer)["error"]["code"], rejected[0][1]
            assert _fault(said, texts[0]) == _fault(due.code, texts[0]), (said, due.code)
            assert status == due.status or said != due.code, (status, answer)
        else:
            assert status == (200 if request.endpoint is Endpoint.PIXEL else 202), (status, answer)
        for text, each in zip(texts, results, strict=True):
            if isinstance(each, Click):
                self.accepted.append(Sent(each, text, at))
            else:
                self.letters[bytes_without_credentials(text)[:KEPT_BYTES]] += 1

    def faults(self, documents: list[dict[str, Any]], rows: list[dict[str, Any]]) -> Iterator[str]:
        """What is wrong with the clicks that the two stores hold, in the shape of an EnrichedClick, as sentences."""
        sent: dict[Key, list[Sent]] = defaultdict(list)
        for each in self.accepted:
            sent[each.key].append(each)
        found = _by_identity("Elasticsearch", documents), _by_identity("PostgreSQL", rows)
        for store in found:
            yield from store.faults
        for identity in found[0].clicks.keys() ^ found[1].clicks.keys():
            there = "Elasticsearch" if identity in found[0].clicks else "PostgreSQL"
            yield f"only {there} has {identity}; sent as {[each.text for each in sent[identity[:3]]]}"
        for identity, document in found[0].clicks.items():
            row = found[1].clicks.get(identity, document)
            differing = {name: (document[name], row[name]) for name in document if not equal(document[name], row[name])}
            if differing:
                yield f"the stores differ in {identity}: {differing}; sent as {[e.text for e in sent[identity[:3]]]}"
            if not any(_is(each, document) for each in sent[identity[:3]]):
                yield f"nobody sent what is stored as {identity}: {document}; sent: {sent[identity[:3]]}"
        stored: dict[Key, set[str]] = defaultdict(set)
        for source, user, event, day in found[0].clicks:
            stored[source, user, event].add(day)
        for key, tries in sent.items():
            # A repeated id is dropped as long as it is remembered, whatever else comes with it: the first one is kept.
            if tries and not tries[0].days() & stored[key]:
                yield f"accepted and not stored: {tries[0].text!r} of {key}, of the days {tries[0].days()}"


def _fault(code: str, text: bytes) -> str:
    """The code. What is both malformed and nested about as deep as a parser goes may be called either.

    How deep that is depends on the stack of whoever calls it, which is another one here than in the API.
    """
    either = {Code.TOO_DEEP, Code.MALFORMED_JSON}
    return " or ".join(sorted(either)) if code in either and text.count(b"[") + text.count(b"{") > _DEEP else code


class _Unreadable(list[Rejection]):
    """A body in which no events could be told apart."""


def _parse(request: Request, at: int) -> tuple[list[bytes], list[Click | Rejection] | _Unreadable]:
    here = RequestContext(source=request.source, received_at=at)
    if request.endpoint is Endpoint.PIXEL:
        query = without_key(request.query)
        return [query], [parse_query(query, here)]
    text = decode_body(request.body, request.content_type, request.content_encoding)
    if isinstance(text, Rejection):
        return [request.body], _Unreadable([text])
    if request.endpoint is Endpoint.EVENT:
        return [text], [_with_its_ids(text, parse_event(text, here))]
    batch = parse_batch(text)
    if isinstance(batch, Rejection):
        return [text], _Unreadable([batch])
    if batch.sent_at is not None:
        here = replace(here, sent_at=batch.sent_at)
    return batch.events, [_with_its_ids(event, parse_event(event, here)) for event in batch.events]


def _with_its_ids(text: bytes, result: Click | Rejection) -> Click | Rejection:
    """The same, after checking a click's ids with another parser: no two of them may become one."""
    if isinstance(result, Click):
        event = json.loads(text.removeprefix(b"\xef\xbb\xbf"))
        for name in ("event_id", "user_id", "session_id"):
            kept = event[name].encode("utf-16", "surrogatepass").decode("utf-16")  # raises for a lone surrogate
            assert getattr(result, name) == kept, (name, text)
            assert "\0" not in kept, (name, text)
    return result


@dataclass(frozen=True)
class _Store:
    clicks: dict[tuple[str, str, str, str], dict[str, Any]]
    faults: list[str]


def _by_identity(store: str, clicks: list[dict[str, Any]]) -> _Store:
    found: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    faults = []
    for click in clicks:
        identity = (click["source"], click["user_id"], click["event_id"], click["storage_day"])
        if identity in found:
            faults.append(f"{store} has {identity} twice")
        found[identity] = click
    return _Store(found, faults)


def _is(sent: Sent, stored: dict[str, Any]) -> bool:
    """Whether the stored click says what the sent one did."""
    click = sent.click
    return (
        stored["storage_day"] in sent.days()
        and stored["client_session_id"] == click.session_id
        and all(stored[name] == getattr(click, name) for name in ("timestamp", "page", "type", "title", "referrer"))
        and click.user_agent in {None, stored["user_agent"]}
        and equal(stored["properties"], click.properties)
    )


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, numbers as doubles where one of them is written as one."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if {type(one), type(other)} == {int, float}:
        return float(one) == float(other)
    return type(one) is type(other) and bool(one == other)
