"""What /v1/validate tells is what the endpoints and the enricher would do; without any server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from clickstream.contracts.clicks import Click, EnrichedClick
from clickstream.contracts.pipeline import parse_pipeline
from clickstream.contracts.times import iso_time
from clickstream.enrichment.flow import Flow
from clickstream.runtime.geoip import no_country
from clickstream.runtime.telemetry import Telemetry
from clickstream.tracking_api import endpoints, limits
from clickstream.tracking_api.access import Access, SourceAccess
from clickstream.tracking_api.endpoints import Endpoint, EndpointApp, Services
from clickstream.tracking_api.hints import HINTS
from clickstream.tracking_api.metrics import Metrics
from clickstream.tracking_api.openapi import openapi
from clickstream.tracking_api.producer import Outcome
from clickstream.tracking_api.rate_limits import ValidationLimit, limits_of
from clickstream.tracking_api.records import Record, Records
from clickstream.tracking_api.redaction import redaction_of
from clickstream.tracking_api.rejections import Code, Rejection
from clickstream.tracking_api.validation.batch import is_for_batches, parse_batch
from clickstream.tracking_api.validation.event import RequestContext, parse_event
from clickstream.tracking_api.verdicts import FOUND, Validator
from support.hostile import damaged, event_texts, json_of, times

NOW = 1_769_860_800_000
DAY = 86_400_000
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
PIPELINE = parse_pipeline(
    json.dumps(
        {
            "namespace": "shop",
            "name": "web",
            "kafka": {"bootstrapServers": "unused:9092"},
            "sources": [
                {"name": "web", "writeKey": "k"},
                {"name": "small", "writeKey": "s", "limits": {"source": {"eventsPerSecond": 1, "burst": 500}}},
            ],
            "enricher": {
                "lateAfter": "2d",
                "pageCategories": [{"name": "product", "page": "/products/*"}],
                "joins": [{"name": "catalogue", "topic": "catalogue", "page": "/products/{key}"}],
            },
            "funnels": [
                {
                    "name": "purchase",
                    "steps": [
                        {"name": "Home", "page": "/"},
                        {"name": "Product", "page": "/products/*"},
                        {"name": "Checkout", "page": "/checkout"},
                    ],
                }
            ],
        }
    ).encode()
)
FLOW = Flow(PIPELINE, no_country, {"catalogue": {}})
VERDICTS = Draft202012Validator(
    {"$ref": "#/components/schemas/Verdict", "components": openapi()["components"]},
    format_checker=Draft202012Validator.FORMAT_CHECKER,
)


class Written:
    """In the place of the producer: keeps what it is given, and says that the brokers have it."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def send(self, records: list[Record]) -> list[Outcome]:
        self.records += records
        return [Outcome.DELIVERED] * len(records)


class Api:
    """The endpoints of one tracking API, in this process."""

    def __init__(self) -> None:
        self.written = Written()
        telemetry = Telemetry("tracking-api", {}, None)
        self.services = Services(
            access=Access((SourceAccess("web", b"k", frozenset({"https://shop.example"})),
                           SourceAccess("small", b"s", frozenset()))),
            limits=limits_of(PIPELINE.sources),
            trusted_proxies=(),
            redaction=redaction_of(PIPELINE.tracking_api.privacy),
            redaction_of_private=redaction_of(PIPELINE.tracking_api.privacy).of_nobody(),
            records=Records(PIPELINE.names, by_session=False),
            producer=self.written,  # type: ignore[arg-type]
            metrics=Metrics(telemetry, lambda: 0),
            telemetry=telemetry,
            country_of=no_country,
            validator=Validator(PIPELINE, no_country),
        )  # fmt: skip

    def refill(self) -> None:
        """All validations again."""
        self.services.validator.limit = ValidationLimit()

    async def post(
        self, endpoint: Endpoint, body: bytes, key: bytes = b"k", headers: dict[bytes, bytes] | None = None
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        scope = {
            "type": "http", "method": "POST", "client": ("203.0.113.9", 1), "query_string": b"key=" + key,
            "headers": list(({b"content-type": b"application/json"} | (headers or {})).items()),
        }  # fmt: skip
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        await EndpointApp(endpoint, lambda: self.services)(scope, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """Its clock stands still, so that two requests come at the same time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoints, "time", SimpleNamespace(time_ns=lambda: NOW * 1_000_000, perf_counter=lambda: 0.0))
        yield asyncio.run(_made())


async def _made() -> Api:
    return Api()


def validated(api: Api, body: bytes, **headers: bytes) -> Any:
    given = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    status, _, text = asyncio.run(api.post(Endpoint.VALIDATE, body, headers=given))
    assert status == 200, text
    verdict = json.loads(text)
    VERDICTS.validate(verdict)
    return verdict


def event(**changes: object) -> dict[str, object]:
    fields = {"event_id": "e", "timestamp": iso_time(NOW), "user_id": "u-17", "session_id": "s", "page": "/"} | changes
    return {name: value for name, value in fields.items() if value is not ...}


ENDPOINTS = {endpoint.path: endpoint for endpoint in (Endpoint.EVENT, Endpoint.BATCH)}
texts = event_texts(NOW) | damaged(event_texts(NOW)) | st.binary(max_size=100)
batches = st.builds(
    lambda events, sent_at, rest: b'{"events":[' + b",".join(events) + b"]" + sent_at + rest + b"}",
    st.lists(event_texts(NOW) | damaged(event_texts(NOW)), max_size=4),
    st.just(b"") | times(NOW).map(lambda time: b',"sent_at":' + json_of(time)),
    st.sampled_from([b"", b"", b',"events":[]', b',"more":1', b',"event_id":"e"']),
)
kinds = st.sampled_from([b"application/json", b"text/plain;charset=utf-8", b"text/html", b""])
encodings = st.sampled_from([b"", b"", b"identity", b"gzip", b"br"])


@given(texts | batches | damaged(batches), kinds, encodings)
def test_the_verdict_on_anything_is_what_the_endpoint_does_byte_by_byte(
    api: Api, body: bytes, kind: bytes, encoding: bytes
) -> None:
    api.refill()
    api.written.records.clear()
    verdict = validated(api, body, content_type=kind, content_encoding=encoding)
    assert not api.written.records, "nothing is stored"

    headers = {b"content-type": kind, b"content-encoding": encoding}
    status, _, answer = asyncio.run(api.post(ENDPOINTS[verdict["endpoint"]], body, headers=headers))
    assert (status, json.loads(answer)) == (verdict["status"], verdict["answer"])
    clicks = [record for record in api.written.records if record.topic == PIPELINE.names.raw_clicks]
    letters = [record for record in api.written.records if record.topic == PIPELINE.names.dead_letters]
    accepted = [each for each in verdict["events"] if each["accepted"]]
    refused = [each for each in verdict["events"] if not each["accepted"]]
    assert [each["index"] for each in verdict["events"]] == list(range(len(clicks) + len(letters)))
    written = [(record.key, record.size) for record in clicks]
    assert [(each["record"]["key"].encode(), each["record"]["bytes"]) for each in accepted] == written
    assert [each["dead_letter_bytes"] for each in refused] == [record.size for record in letters]
    codes = [value.decode() for record in letters for name, value in record.headers if name == "code"]
    assert [each["error"]["code"] for each in refused] == codes
    for each, record in zip(accepted, clicks, strict=True):
        assert "refused_by_enricher" not in each
        click = FLOW.enrich(record.value, json.loads(record.value)["received_at"])
        assert isinstance(click, EnrichedClick)
        fields = {name: getattr(click, name) for name in FOUND}
        assert each["enriched"]["fields"] == fields | {"event_time": iso_time(click.event_time)}
    assert all(each["error"]["hint"] for each in refused), "every refusal says what to do"


@given(texts | batches | damaged(batches))
def test_what_is_judged_as_an_event_no_batch_could_be_and_the_other_way_round(body: bytes) -> None:
    here = RequestContext("web", NOW)
    if is_for_batches(body):
        assert isinstance(parse_event(body, here), Rejection)
    else:
        batch = parse_batch(body)
        assert isinstance(batch, Rejection)


def test_each_stage_of_an_event_is_told(api: Api) -> None:
    api.refill()
    page = "https://www.shop.example/products/item-7?utm_source=News&utm_medium=email"
    sent = event(page=page, timestamp=iso_time(NOW), user_agent=CHROME, referrer="https://www.google.com/")
    verdict = validated(api, json.dumps(sent).encode())
    assert (verdict["endpoint"], verdict["status"], verdict["answer"]) == ("/v1/events", 202, {"accepted": 1})
    assert verdict["access"] == {"source": "web", "origin": "none", "rate_limits": []}
    [judged] = verdict["events"]
    assert judged["record"]["key"] == "u-17"
    found = judged["enriched"]
    assert found["fields"]["browser"] == "Chrome"
    assert found["fields"]["device"] == "desktop"
    assert found["fields"]["bot"] is False
    assert found["fields"]["page_host"] == "www.shop.example"
    assert found["fields"]["page_category"] == "product"
    assert (found["fields"]["medium"], found["fields"]["referrer_source"]) == ("email", "news")
    assert found["fields"]["ip"] == "203.0.113.0"
    assert found["funnel_steps"] == [{"funnel": "purchase", "step": 2, "name": "Product"}]
    assert found["join_keys"] == [{"join": "catalogue", "key": "item-7"}]
    assert {each["what"] for each in verdict["not_told"]} >= {"duplicate", "session", "joins", "delivery"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"user_agent": "curl/8.0"}, {"bot": True, "device": "bot"}),
        ({"type": "add_to_cart"}, {"funnel_steps": []}),
        ({}, {"funnel_steps": [{"funnel": "purchase", "step": 1, "name": "Home"}]}),
        ({"referrer": "https://news.example/a"}, {"medium": "referral", "referrer_host": "news.example"}),
    ],
)
def test_what_a_change_makes_of_an_event_is_told(api: Api, changes: dict[str, object], told: dict[str, object]) -> None:
    api.refill()
    enriched = validated(api, json.dumps(event(**changes)).encode())["events"][0]["enriched"]
    found = enriched | enriched["fields"]
    assert {name: found[name] for name in told} == told


@pytest.mark.parametrize(
    ("days", "late", "other_day"), [(0, False, False), (1, False, True), (3, True, True), (40, True, True)]
)
def test_late_events_and_those_of_another_day_are_told(api: Api, days: int, late: bool, other_day: bool) -> None:
    api.refill()
    sent = event(timestamp=iso_time(NOW - days * DAY))
    found = validated(api, json.dumps(sent).encode())["events"][0]["enriched"]
    assert (found["fields"]["late"], found["other_day"]) == (late, other_day)
    assert (found["fields"]["storage_day"] == "undated") == (days == 40)


def test_a_clock_that_is_wrong_is_told_by_how_much_it_is_moved(api: Api) -> None:
    api.refill()
    sent = event(timestamp=iso_time(NOW - 7_200_000), sent_at=iso_time(NOW - 3_600_000))
    found = validated(api, json.dumps(sent).encode())["events"][0]["enriched"]
    assert found["clock_moved_ms"] == 3_600_000
    assert found["fields"]["event_time"] == iso_time(NOW - 3_600_000)


def test_without_a_key_or_for_a_foreign_page_it_answers_as_the_others_do(api: Api) -> None:
    body = json.dumps(event()).encode()
    for key, headers in ((b"", {}), (b"wrong", {}), (b"k", {b"origin": b"https://evil.example"})):
        tried = [
            asyncio.run(api.post(endpoint, body, key, headers)) for endpoint in (Endpoint.VALIDATE, Endpoint.EVENT)
        ]
        assert tried[0] == tried[1]
        assert tried[0][0] in {401, 403}
    status, headers, _ = asyncio.run(api.post(Endpoint.VALIDATE, body, b"k", {b"origin": b"https://shop.example"}))
    assert status == 200
    assert headers[b"access-control-allow-origin"] == b"https://shop.example"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"cache-control"] == b"no-store"


def test_a_validation_costs_its_source_what_its_events_would(api: Api) -> None:
    batch = json.dumps({"events": [event()] * 300}).encode()
    api.refill()
    status, _, text = asyncio.run(api.post(Endpoint.VALIDATE, batch, b"s"))
    assert status == 200
    [left] = json.loads(text)["access"]["rate_limits"]
    assert left["limit"] == "source"
    assert 200 <= left["left"] <= 202
    api.refill()
    status, headers, text = asyncio.run(api.post(Endpoint.VALIDATE, batch, b"s"))
    assert (status, json.loads(text)["error"]["code"]) == (429, "rate_limited")
    assert headers[b"ratelimit"].startswith(b'"source"')
    assert api.services.validator.limit.take(limits.BATCH_EVENTS) is None, "what the source refuses is given back"
    assert asyncio.run(api.post(Endpoint.BATCH, batch, b"s"))[0] == 429


def test_all_validations_together_have_a_limit_of_their_own(api: Api) -> None:
    api.refill()
    batch = json.dumps({"events": [event()] * limits.BATCH_EVENTS}).encode()
    assert asyncio.run(api.post(Endpoint.VALIDATE, batch))[0] == 200
    status, headers, text = asyncio.run(api.post(Endpoint.VALIDATE, batch))
    assert (status, json.loads(text)["error"]["code"]) == (429, "rate_limited")
    assert "validated" in json.loads(text)["error"]["message"]
    assert headers[b"ratelimit"].startswith(b'"validation"')
    assert 1 <= int(headers[b"retry-after"]) <= 10
    api.written.records.clear()
    assert asyncio.run(api.post(Endpoint.BATCH, batch))[0] == 202, "events are taken all the same"
    assert len(api.written.records) == limits.BATCH_EVENTS


def test_an_answer_is_bounded_whatever_the_pipeline_makes_of_its_events(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "VERDICT_BYTES", 2_000)
    api.refill()
    verdict = validated(api, json.dumps({"events": [event()] * 100}).encode())
    told = [each for each in verdict["events"] if "enriched" in each]
    left_out = verdict["events"][len(told) :]
    assert 1 <= len(told) <= 4
    assert verdict["events"][: len(told)] == told, "the first ones"
    assert all(each["left_out"] and each["record"]["key"] == "u-17" for each in left_out)
    assert (verdict["status"], verdict["answer"]["accepted"]) == (202, 100)


def test_the_limit_comes_again_by_the_clock() -> None:
    now = 0
    limit = ValidationLimit(lambda: now)
    assert limit.take(limits.BATCH_EVENTS) is None
    refusal = limit.take(100)
    assert refusal is not None
    assert refusal.seconds == 2
    now = 2_000_000_000
    assert limit.take(100) is None
    assert limit.take(1) is not None


def test_every_hint_is_of_a_code_that_an_event_can_meet() -> None:
    cannot = {Code.MISSING_KEY, Code.UNKNOWN_KEY, Code.ORIGIN_NOT_ALLOWED, Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED,
              Code.MALFORMED_REQUEST, Code.HEAD_TIMEOUT, Code.HEAD_TOO_LARGE, Code.BODY_TIMEOUT, Code.BODY_TOO_LARGE,
              Code.MALFORMED_QUERY, Code.RECORD_TOO_LARGE, Code.UNKNOWN_TYPE, Code.UNAVAILABLE, Code.RATE_LIMITED,
              Code.INTERNAL}  # fmt: skip
    assert set(HINTS) == set(Code) - cannot


def test_what_is_found_without_state_leaves_out_what_the_client_sent_and_what_depends_on_others() -> None:
    assert not set(FOUND) & {"session", "joins", "client_session_id"}
    assert set(FOUND) & set(Click.__struct_fields__) == {"ip", "country"}
