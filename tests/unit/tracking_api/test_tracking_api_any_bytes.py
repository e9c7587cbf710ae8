"""Whatever bytes a request is made of, its parts are read or refused; what is read, every later stage takes."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from ipaddress import ip_network
from urllib.parse import quote_from_bytes

from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.clicks import Click, EnrichedClick, decode_click, encode_click, encode_enriched
from clickstream.contracts.dead_letters import Origin
from clickstream.contracts.pipeline import Kafka, Pipeline
from clickstream.contracts.times import MAX_MS, parse_rfc3339
from clickstream.contracts.topics import RECORD_BYTES
from clickstream.enrichment.flow import Flow
from clickstream.enrichment.validation import validate
from clickstream.runtime.geoip import no_country
from clickstream.sinks.records import Record, read_record
from clickstream.sinks.validation import kept_ms
from clickstream.tracking_api import limits
from clickstream.tracking_api.address import Address, client_address, stored_form
from clickstream.tracking_api.redaction import NOTHING
from clickstream.tracking_api.rejections import STATUS, Rejection
from clickstream.tracking_api.requests import decode_body, read_headers, without_key, write_key_in
from clickstream.tracking_api.validation.batch import Batch, parse_batch
from clickstream.tracking_api.validation.event import RequestContext, parse_event, parse_query
from clickstream.tracking_api.validation.segment import KINDS, Calls, reader_of
from clickstream.tracking_api.validation.segment_batch import parse_segment_batch, write_key_in_body
from support.hostile import (
    addresses,
    agents,
    damaged,
    deep,
    event_texts,
    json_of,
    names,
    nested,
    scalars,
    texts,
    times,
    urls,
)

NOW = 1_769_860_800_000
PIPELINE = Pipeline("shop", "clicks", Kafka("unused:9092"))
FLOW = Flow(PIPELINE, no_country, {})

circumstances = st.builds(
    RequestContext,
    source=st.just("s" * 256),
    received_at=st.just(NOW),
    address=st.none() | st.ip_addresses(),
    user_agent=st.none() | agents.map(lambda text: text.encode("utf-8", "replace").decode()),
    sent_at=st.none() | st.integers(0, MAX_MS),
    redaction=st.sampled_from([NOTHING, NOTHING.of_nobody(), replace(NOTHING, address="whole")]),
)


def is_taken_by_all(judged: Click | Rejection) -> None:
    """A refusal has a status; a click is read back as it is, enriched, and fit for both stores."""
    if isinstance(judged, Rejection):
        assert 400 <= STATUS[judged.code] < 500
        return
    value = encode_click(judged)
    assert len(value) < RECORD_BYTES - 10_000
    assert validate(decode_click(value, NOW), value, NOW) == judged
    draft = FLOW.enrich(value, NOW)
    assert isinstance(draft, EnrichedClick), draft
    enriched = encode_enriched(draft.finish(f"{draft.storage_day}-{'f' * 24}", late=False))
    assert len(enriched) < RECORD_BYTES - 10_000
    found = read_record(
        PIPELINE.names, Origin(PIPELINE.names.enriched_clicks, 0, 0, b"u"), enriched, NOW, kept_ms(PIPELINE)
    )
    assert isinstance(found, Record), found


@given(event_texts(NOW) | damaged(event_texts(NOW)) | st.binary(max_size=100), circumstances)
def test_any_bytes_are_an_event_or_refused(text: bytes, here: RequestContext) -> None:
    is_taken_by_all(parse_event(text, here))


segment_members = st.fixed_dictionaries(
    {"messageId": texts | st.just("m"), "userId": scalars | st.just("u")},
    optional={
        "type": st.sampled_from([*KINDS, "delete"]) | scalars,
        "event": texts,
        "name": scalars,
        "timestamp": times(NOW),
        "sentAt": times(NOW),
        "anonymousId": scalars,
        "groupId": scalars,
        "previousId": scalars,
        "properties": st.dictionaries(names, nested | deep, max_size=4) | nested,
        "traits": st.dictionaries(names, nested, max_size=4) | scalars,
        "integrations": nested,
        "context": nested
        | st.fixed_dictionaries(
            {},
            optional={
                "page": st.dictionaries(st.sampled_from(["url", "path", "search", "title", "referrer"]), texts | urls)
                | nested,
                "campaign": st.dictionaries(st.sampled_from(["name", "source", "medium", "x"]), scalars) | nested,
                "screen": st.dictionaries(st.sampled_from(["width", "height"]), scalars) | scalars,
                "ip": addresses | scalars,
                "userAgent": agents | scalars,
                "device": nested,
                "traits": nested,
                "sessionId": scalars,
                "locale": scalars,
            },
        ),
    },
)
segment_calls = segment_members.map(json_of)
shared = st.sampled_from([b"", b'{"ip":"::1","page":{"url":"/","path":"/"},"screen":{"width":1,"height":2}}'])


@given(
    segment_calls | damaged(segment_calls) | event_texts(NOW), circumstances, st.sampled_from([None, *KINDS]), shared
)
def test_any_bytes_are_a_call_of_segments_api_or_refused(
    text: bytes, here: RequestContext, kind: str | None, shared: bytes
) -> None:
    found = Calls(here, kind, shared).read(text)
    is_taken_by_all(found)
    assert Calls(here, kind, shared).read(text) == found, "a call that is sent again is the same click"


@given(st.lists(segment_calls | st.binary(max_size=8), max_size=4), segment_calls, st.binary(max_size=8))
def test_any_bytes_are_a_batch_of_calls_or_refused(calls: list[bytes], context: bytes, junk: bytes) -> None:
    list_of_calls = b'"batch":[' + b" , ".join(calls) + b"]"
    for text in (b"{" + list_of_calls + b',"context": ' + context + b"}", b"{" + junk + list_of_calls + b"}", junk):
        write_key_in_body(text)
        batch = parse_segment_batch(text)
        if isinstance(batch, Rejection):
            is_taken_by_all(batch)
            continue
        assert batch.calls == calls
        for number, call in enumerate(batch.calls):
            is_taken_by_all(reader_of(batch, RequestContext("web", NOW)).read(call, number))


batches = st.builds(
    lambda events, sent_at, first: (
        b"{"
        + b",".join([b'"events":[' + b", ".join(events) + b"]", b'"sent_at" : ' + sent_at][:: -1 if first else 1])
        + b"}"
    ),
    st.lists(event_texts(NOW) | st.binary(max_size=8), max_size=4),
    times(NOW).map(json_of) | texts.map(json_of),
    st.booleans(),
)


@given(batches | damaged(batches) | st.binary(max_size=100))
def test_any_bytes_are_a_batch_of_events_that_lie_in_it_or_refused(text: bytes) -> None:
    batch = parse_batch(text)
    if isinstance(batch, Rejection):
        assert 400 <= STATUS[batch.code] < 500
        return
    assert 1 <= len(batch.events) <= limits.BATCH_EVENTS
    position = 0
    for event in batch.events:
        position = text.index(event, position) + len(event)
    assert parse_batch(b'{"events":[' + b",".join(batch.events) + b"]}") == Batch(batch.events, None)


queries = st.lists(
    st.tuples(
        names
        | st.sampled_from(["event_id", "timestamp", "user_id", "session_id", "page", "properties", "key", "sent_at"]),
        texts | scalars | times(NOW),
    ),
    max_size=8,
).map(lambda pairs: b"&".join(b"%b=%b" % (_quoted(name), _quoted(value)) for name, value in pairs))
GOOD = b"event_id=e&timestamp=2026-01-31T08:30:00Z&user_id=u&session_id=s&page=/&"


def _quoted(value: object) -> bytes:
    text = value if isinstance(value, str) else json_of(value).decode()
    return quote_from_bytes(text.encode("utf-8", "surrogatepass")).encode()


@given(queries | damaged(queries) | st.binary(max_size=60), st.booleans(), circumstances)
def test_any_query_is_a_click_or_refused_and_gives_its_key_away_once(
    query: bytes, good: bool, here: RequestContext
) -> None:
    query = GOOD + query if good else query
    key, rest = write_key_in(query), without_key(query)
    assert (key is None) == (b"key" not in {pair.partition(b"=")[0] for pair in query.split(b"&")})
    assert not any(pair.startswith(b"key=") for pair in rest.split(b"&"))
    is_taken_by_all(parse_query(rest, here))


HEADERS = [
    "x-write-key", "origin", "sec-fetch-site", "content-type", "content-encoding", "user-agent", "x-forwarded-for",
    "forwarded", "traceparent", "sec-gpc", "dnt",
]  # fmt: skip
hops = st.lists(addresses, max_size=4).map(lambda each: ", ".join(each).encode("latin-1", "replace"))
values = (
    st.binary(max_size=40)
    | hops
    | hops.map(lambda each: b'for="' + each.replace(b", ", b'", for="') + b'"')
    | st.sampled_from(
        [b"gzip", b"application/json; charset=utf-8", b"1", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"]
    )
)
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("::/0"))


@given(st.lists(st.tuples(st.sampled_from(HEADERS), values), max_size=8), st.binary(max_size=20))
def test_any_headers_are_read_and_name_an_address_that_can_be_stored_or_none(
    headers: list[tuple[str, bytes]], query: bytes
) -> None:
    lines = [(name.encode(), value) for name, value in headers]
    head = read_headers({"query_string": query, "client": ("10.0.0.1", 1), "headers": lines})
    if head.origin is not None:
        assert head.origin.encode("latin-1") in {value for name, value in headers if name == "origin"}
    found = client_address(head.peer, head.x_forwarded_for, head.forwarded, TRUSTED)
    assert isinstance(found, Address)
    assert "%" not in stored_form(found, anonymize=False)
    here = RequestContext("web", NOW, found, head.user_agent)
    is_taken_by_all(parse_event(json.dumps({"event_id": "e", "timestamp": "2026-01-31T08:30:00Z", "user_id": "u",
                                           "session_id": "s", "page": "/"}).encode(), here))  # fmt: skip


@given(st.binary(max_size=200), values, values, st.integers(0, 30))
def test_any_body_is_a_text_of_bounded_size_or_refused(body: bytes, kind: bytes, encoding: bytes, cut: int) -> None:
    packed = gzip.compress(body)
    for content in (body, packed, packed[: max(0, len(packed) - cut)], packed + body):
        text = decode_body(content, kind, encoding)
        if isinstance(text, Rejection):
            assert STATUS[text.code] in {400, 413, 415}
        else:
            assert text in {content, body}
            assert len(text) <= limits.DECOMPRESSED_BYTES


@given(texts | times(NOW).filter(lambda each: isinstance(each, str)) | st.text("0123456789-:.TtZz +", max_size=40))
def test_any_text_is_a_time_within_the_years_or_a_value_error(text: str) -> None:
    try:
        found = parse_rfc3339(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - any other error fails the test
    else:
        assert 0 <= found <= MAX_MS
