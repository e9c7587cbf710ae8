"""/v1/validate on a real API: it tells what the real endpoints then do, and leaves nothing in Kafka."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from clickstream.tracking_api import limits
from clickstream.tracking_api.openapi import openapi
from support.hostile import damaged, event_texts

NOW = int(time.time() * 1_000)
DOCUMENT = openapi()
ANSWERS = DOCUMENT["paths"]["/v1/validate"]["post"]["responses"]
SMALL = "wk-small"

few = settings(
    max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], print_blob=True
)
events = event_texts(NOW) | damaged(event_texts(NOW)) | st.binary(max_size=100)
batches = st.lists(event_texts(NOW) | damaged(event_texts(NOW)), max_size=4).map(
    lambda texts: b'{"events":[' + b",".join(texts) + b"]}"
)


@pytest.fixture(scope="module")
def api(start_api):
    sources = [
        {"name": "web", "writeKey": "wk-web", "allowedOrigins": ["https://shop.example"]},
        {"name": "small", "writeKey": SMALL, "limits": {"source": {"eventsPerSecond": 1, "burst": 500}}},
    ]
    categories = [{"name": "product", "page": "/products/*"}]
    funnels = [{"name": "purchase", "steps": [{"name": "Product", "page": "/products/*"}]}]
    return start_api(sources=sources, enricher={"pageCategories": categories}, funnels=funnels)


def validated(api, body: object, **headers: str):
    """The answer, after as many tries as the limit of all validations asks for."""
    while True:
        answer = api.post(body, "/v1/validate", **headers)
        assert str(answer.status) in ANSWERS, answer
        schema = ANSWERS[str(answer.status)]["content"]["application/json"]["schema"]
        Draft202012Validator(schema | {"components": DOCUMENT["components"]}).validate(answer.json)
        if answer.status != 429 or not answer.headers["ratelimit"].startswith('"validation"'):
            return answer
        time.sleep(int(answer.headers["retry-after"]))


def codes(answer: Any) -> list[str]:
    return [answer["error"]["code"]] if "error" in answer else [each["code"] for each in answer.get("rejected", [])]


@few
@given(body=events | batches | damaged(batches), compress=st.booleans())
def test_whatever_is_sent_the_verdict_is_what_the_endpoint_then_does(api, letters, clicks, body, compress):
    headers = {"Content_Encoding": "gzip"} if compress else {}
    body = gzip.compress(body) if compress else body
    answer = validated(api, body, **headers)
    assert answer.status == 200, answer
    verdict = answer.json
    assert not clicks.new(), "a validation stores nothing"
    assert not letters.new(), "not even what it refuses"

    done = api.post(body, verdict["endpoint"], **headers)
    assert (done.status, done.json) == (verdict["status"], verdict["answer"])
    refused = [each for each in verdict["events"] if not each["accepted"]]
    assert [each["error"]["code"] for each in refused] == codes(done.json)
    written = sorted((message.key(), len(message.value())) for message in clicks.new())
    told = sorted(
        (each["record"]["key"].encode(), each["record"]["bytes"]) for each in verdict["events"] if each["accepted"]
    )
    assert written == told
    assert sorted(letter.code for letter in letters.letters()) == sorted(each["error"]["code"] for each in refused)


def test_a_batch_is_told_event_by_event(api, event):
    page = "/products/item-7?utm_source=News&utm_medium=email"
    answer = validated(api, {"events": [event(page=page), event(user_id=...), event(timestamp="yesterday")]})
    verdict = answer.json
    assert (answer.status, verdict["endpoint"], verdict["status"]) == (200, "/v1/events/batch", 202)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    good, without_user, without_time = verdict["events"]
    assert good["enriched"]["fields"]["page_category"] == "product"
    assert good["enriched"]["fields"]["medium"] == "email"
    assert good["enriched"]["funnel_steps"] == [{"funnel": "purchase", "step": 1, "name": "Product"}]
    assert (without_user["error"]["code"], without_user["error"]["path"]) == ("missing_field", "$.user_id")
    assert without_time["error"]["code"] == "bad_timestamp"
    assert "2026-01-31T08:30:00.000Z" in without_time["error"]["hint"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"X_Write_Key": ""}, 401, "missing_key"),
        ({"X_Write_Key": "wrong"}, 403, "unknown_key"),
        ({"Origin": "https://evil.example"}, 403, "origin_not_allowed"),
    ],
)
def test_who_may_not_send_may_not_try(api, event, headers, status, code):
    tried, sent = validated(api, event(), **headers), api.post(event(), **headers)
    assert (tried.status, tried.json) == (sent.status, sent.json)
    assert (tried.status, tried.json["error"]["code"]) == (status, code)


def test_a_page_of_an_allowed_origin_may_read_the_verdict(api, event):
    answer = validated(api, event(), Origin="https://shop.example")
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.json["access"]["origin"] == "allowed"
    preflight = api.request("OPTIONS", "/v1/validate", headers={"Origin": "https://shop.example"})
    assert preflight.status == 204


def test_a_body_that_is_too_large_is_refused_as_elsewhere(api):
    answer = validated(api, b" " * (limits.BODY_BYTES + 1))
    assert (answer.status, answer.json["error"]["code"]) == (413, "body_too_large")


def test_a_validation_uses_up_its_sources_limit_as_its_events_would(api, event):
    batch = {"events": [event() for _ in range(300)]}
    first = validated(api, batch, X_Write_Key=SMALL)
    [left] = first.json["access"]["rate_limits"]
    assert left["limit"] == "source"
    assert 200 <= left["left"] < 300
    tried, sent = validated(api, batch, X_Write_Key=SMALL), api.post(batch, "/v1/events/batch", X_Write_Key=SMALL)
    assert tried.status == sent.status == 429
    assert tried.json == sent.json
    assert tried.headers["ratelimit"].startswith('"source"')


def test_validations_are_counted_apart_from_events(api, event):
    def figures() -> dict[str, float]:
        found = api.metrics()
        return {
            name: found.get(name, 0)
            for name in (
                'clickstream_http_validated_total{source="web",verdict="accepted"}',
                'clickstream_http_validated_total{source="web",verdict="rejected"}',
                'clickstream_events_accepted_total{source="web"}',
                'clickstream_events_rejected_total{code="missing_field"}',
                'clickstream_events_rejected_total{code="unknown_key"}',
                'clickstream_dead_letters_total{code="missing_field",stage="collect"}',
            )
        }

    before = figures()
    assert validated(api, {"events": [event(), event(), event(page=...)]}).status == 200
    assert validated(api, event(), X_Write_Key="wrong").status == 403
    assert [now - then for now, then in zip(figures().values(), before.values(), strict=True)] == [2, 1, 0, 0, 0, 0]
    durations = [name for name in api.metrics() if name.startswith("clickstream_http_request_duration_seconds_count")]
    assert any('route="POST /v1/validate"' in name and 'status="200"' in name for name in durations)


def test_after_all_that_nothing_went_wrong_inside_and_no_event_is_in_the_log(api, event):
    validated(api, json.dumps(event(title="canary7f3a")).encode())
    assert "Traceback" not in api.output
    assert "canary7f3a" not in api.output
