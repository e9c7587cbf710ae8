"""Segment's API on a running tracking API: paths, keys, answers, and what of it is in Kafka."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
from jsonschema import Draft202012Validator

from clickstream.contracts.clicks import PAGE_VIEW
from clickstream.dead_letters.letters import Letter
from clickstream.dead_letters.main import jq_patch
from clickstream.dead_letters.repair import repair
from clickstream.tracking_api.openapi import openapi

BASIC = {"Authorization": "Basic " + base64.b64encode(b"wk-web:").decode()}
CALL = {"type": "track", "event": "Bought", "userId": "u-1", "timestamp": "2026-01-31T08:30:00Z"}
DESCRIPTION = openapi()


def post(api, path, body, **headers):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = api.request("POST", path, text, headers)
    assert answer.status < 500, answer
    return answer


def is_described(answer, path) -> None:
    responses = DESCRIPTION["paths"][path]["post"]["responses"]
    schema = responses[str(answer.status)]["content"]["application/json"]["schema"]
    Draft202012Validator(schema | {"components": DESCRIPTION["components"]}).validate(answer.json)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *((f"/v1/{kind}", kind) for kind in ("track", "page", "screen", "identify", "alias", "group")),
        *(("/v1/t", "track"), ("/v1/p", "page"), ("/v1/s", "screen")),
        *(("/v1/i", "identify"), ("/v1/a", "alias"), ("/v1/g", "group")),
        *(("/api/s/page", "page"), ("/api/s/s2s/track", "track")),
    ],
)
def test_each_path_takes_calls_of_its_kind(api, clicks, path, kind):
    answer = post(api, path, CALL | {"type": kind, "messageId": path, "groupId": "g", "previousId": "p"}, **BASIC)
    assert (answer.status, answer.body) == (200, b'{"success":true}')
    [click] = clicks.clicks()
    expected = {"track": "Bought", "page": PAGE_VIEW, "screen": PAGE_VIEW}.get(kind, kind)
    assert (click.event_id, click.source, click.type) == (path, "web", expected)


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import"])
@pytest.mark.parametrize(
    ("headers", "key", "form"),
    [
        (BASIC | {"Content-Type": "application/json"}, {}, bytes),
        (BASIC | {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}, {}, gzip.compress),
        ({"Content-Type": "text/plain"}, {"writeKey": "wk-web"}, bytes),
        ({"Content-Encoding": "gzip"}, {"writeKey": "wk-web"}, gzip.compress),
        ({"X-Write-Key": "wk-web"}, {"writeKey": "unknown"}, bytes),
        (BASIC | {"X-Write-Key": "unknown"}, {}, bytes),
    ],
)
def test_a_batch_may_come(api, clicks, path, headers, key, form):
    body = json.dumps({"batch": [CALL | {"messageId": "1"}, CALL | {"messageId": "2"}]} | key).encode()
    answer = post(api, path, form(body), **headers)
    assert (answer.status, answer.body) == (200, b'{"success":true}')
    assert [(click.event_id, click.source) for click in clicks.clicks()] == [("1", "web"), ("2", "web")]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/v1/track", CALL, {}, 401, "missing_key"),
        ("/v1/track", CALL | {"writeKey": "x"}, {}, 401, "unknown_key"),
        ("/v1/track", CALL, {"Authorization": "Basic eA=="}, 401, "unknown_key"),
        ("/v1/track", CALL, {"Authorization": "Bearer d2std2Vi"}, 401, "missing_key"),
        ("/v1/track", b"{", {}, 400, "malformed_json"),
        ("/v1/batch", b"x", {"Content-Encoding": "gzip"}, 400, "malformed_gzip"),
        ("/v1/track", CALL | {"writeKey": "wk-server"}, {"Origin": "https://shop.example"}, 403, "origin_not_allowed"),
    ],
)
def test_without_a_known_key_nothing_is_kept(api, letters, clicks, path, body, headers, status, code):
    answer = post(api, path, body, **headers)
    assert (answer.status, answer.json["code"]) == (status, code)
    is_described(answer, path)
    assert not letters.new()
    assert not clicks.new()


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/v1/track", CALL | {"userId": None}, {}, 400, "missing_field"),
        ("/v1/track", CALL | {"properties": {"a": "x" * 33_000}}, {}, 413, "event_too_large"),
        ("/v1/track", b"{", {}, 400, "malformed_json"),
        ("/v1/batch", {"batch": []}, {}, 400, "empty_batch"),
        ("/v1/batch", {"batch": [CALL] * 2_501}, {"gzip": "yes"}, 413, "too_many_events"),
        ("/v1/batch", b"{}", {"Content-Encoding": "deflate"}, 400, "unsupported_encoding"),
    ],
)
def test_what_is_refused_is_a_dead_letter(api, letters, path, body, headers, status, code):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = gzip.compress(text) if headers.get("gzip") else text
    encoding = {"Content-Encoding": "gzip"} if headers.get("gzip") else headers
    answer = post(api, path, sent, **BASIC, **encoding)
    assert (answer.status, answer.json["code"], answer.json["success"]) == (status, code, False)
    is_described(answer, path)
    [letter] = letters.letters()
    assert (letter.original, letter.code, letter.source, letter.endpoint) == (text, code, "web", path)


def test_of_a_batch_the_valid_calls_are_accepted_and_the_others_named_and_kept(api, letters, clicks):
    bad = CALL | {"timestamp": "yesterday"}
    answer = post(api, "/v1/batch", {"batch": [CALL | {"messageId": "m"}, bad, 7]}, **BASIC)
    assert answer.status == 200
    is_described(answer, "/v1/batch")
    said = [(each["index"], each["code"], each["path"]) for each in answer.json["rejected"]]
    assert said == [(1, "bad_timestamp", "$.batch[1].timestamp"), (2, "wrong_type", "$.batch[2]")]
    assert [click.event_id for click in clicks.clicks()] == ["m"]
    assert [letter.original for letter in letters.letters()] == [json.dumps(bad).encode(), b"7"]

    answer = post(api, "/v1/batch", {"batch": [bad]}, **BASIC)
    assert (answer.status, answer.json["success"]) == (400, False)
    is_described(answer, "/v1/batch")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/page", {"userId": "u", "messageId": "m", "timestamp": "2026-01-31 08:30"}),
        ("/v1/batch", {"batch": [CALL | {"messageId": "m", "timestamp": "2026-01-31 08:30"}]}),
        ("/v1/batch", {"batch": [CALL | {"messageId": "m"}], "sentAt": "2026-01-31 08:30"}),
    ],
)
def test_a_dead_letter_is_repaired_as_what_it_was_sent_as(api, letters, path, body):
    assert post(api, path, body, **BASIC).status == 400
    [row] = letters.letters()
    assert repair(Letter(0, 0, 0, row, cut=False), None, api.pipeline).why
    patch = jq_patch('(.timestamp? // .sentAt) |= sub(" "; "T") + ":00Z"' if "batch" not in body else
                     '(.. | strings | select(test("^2026.* "))) |= sub(" "; "T") + ":00Z"')  # fmt: skip
    made = repair(Letter(0, 0, 0, row, cut=False), patch, api.pipeline)
    assert made.why is None
    [record] = made.records
    click = json.loads(record.value)
    assert (click["event_id"], click["source"], record.key) == ("m", "web", click["user_id"].encode())
    again = repair(Letter(0, 0, 0, row, cut=False), patch, api.pipeline)
    assert again.records == made.records, "sent twice it is the same click"


def test_a_page_may_authenticate_and_read_the_answer(api):
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    answer = api.request("OPTIONS", "/v1/t", headers=asked | {"Access-Control-Request-Headers": "authorization"})
    assert answer.status == 204
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    answer = post(api, "/v1/t", CALL | {"writeKey": "wk-web"}, Origin="https://shop.example")
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


def test_its_requests_are_counted_under_their_route(api):
    def counted() -> float:
        return sum(n for name, n in api.metrics().items() if 'route="POST /v1/batch"' in name and "_count{" in name)

    before = counted()
    assert post(api, "/v1/import", {"batch": [CALL]}, **BASIC).status == 200
    assert counted() == before + 1
