"""Whatever is sent, the answer is no 5xx, repeats nothing of it, and is one that the API's description has."""

from __future__ import annotations

import gzip
import json
from urllib.parse import quote

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from clickstream.contracts.times import MAX_MS, iso_time
from clickstream.tracking_api.openapi import openapi

CANARY = "canary7f3a"
FIELDS = ["event_id", "timestamp", "user_id", "session_id", "page", "type", "sent_at", "referrer", "user_agent", "ip"]
GOOD = {"event_id": "e", "timestamp": "2026-01-31T08:30:00Z", "user_id": "u", "session_id": "s", "page": "/"}

fuzz = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
texts = st.text(max_size=12) | st.just(CANARY) | st.sampled_from(["", "\0", "\ud83d", "1e999", "2026-01-31T08:30:00Z"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
                      max_leaves=12)  # fmt: skip
events = st.fixed_dictionaries(
    {},
    optional={name: values | st.just(GOOD.get(name, "")) for name in FIELDS} | {"properties": values, CANARY: values},
)
batches = st.fixed_dictionaries(
    {}, optional={"events": st.lists(events | values, max_size=5) | values, "sent_at": values}
)


def json_of(value: object) -> bytes:
    return json.dumps(value).encode()  # also what is not JSON: NaN, lone surrogates


@st.composite
def spoiled(draw):
    """JSON with a few bytes changed, cut or put in."""
    body = bytearray(json_of(draw(events | batches)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=3) | st.sampled_from([b"\\u", b'"', b"[", b"\\"])
        )
    return bytes(body)


DOCUMENT = openapi()


def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})


def is_calm(answer) -> None:
    assert answer.status < 500, answer
    assert CANARY.encode() not in answer.body
    assert not any(CANARY in value for value in answer.headers.values())


def is_described(answer, target: str, method: str = "post") -> None:
    is_calm(answer)
    described = DOCUMENT["paths"][target][method]["responses"]
    assert str(answer.status) in described, answer
    [(media_type, content)] = described[str(answer.status)]["content"].items()
    assert answer.headers["content-type"] == media_type
    if media_type == "application/json":
        whole = content["schema"] | {"components": DOCUMENT["components"]}
        Draft202012Validator(whole).validate(answer.json)
        if "error" in answer.json:
            assert answer.json["error"]["code"] in described[str(answer.status)]["description"]


@fuzz
@given(
    body=events.map(json_of) | spoiled() | st.binary(max_size=200),
    target=st.sampled_from(["/v1/events", "/v1/events/batch"]),
)
def test_no_body_upsets_it(api, body, target):
    is_described(api.post(body, target), target)


calls = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(["messageId", "anonymousId", "groupId", "previousId", "traits", CANARY], values)
    | {"type": st.sampled_from(["track", "page", "identify", CANARY]), "userId": values | st.just("u")}
    | {"event": texts, "context": values, "properties": values, "timestamp": values | st.just(GOOD["timestamp"])},
)
call_batches = st.fixed_dictionaries(
    {"batch": st.lists(calls | values, max_size=5) | values}, optional={"sentAt": values, "context": values}
)


@fuzz
@given(
    body=calls.map(json_of) | call_batches.map(json_of) | spoiled() | st.binary(max_size=100),
    path=st.sampled_from(["/v1/track", "/v1/page", "/v1/identify", "/v1/group", "/v1/alias", "/v1/batch"]),
)
def test_no_call_of_segments_api_upsets_it(api, body, path):
    answer = api.post(body, path)
    is_described(answer, path)
    if "code" in answer.json:
        assert answer.json["code"] in DOCUMENT["paths"][path]["post"]["responses"][str(answer.status)]["description"]


@fuzz
@given(body=batches.map(json_of) | spoiled(), compress=st.booleans(), cut=st.integers(0, 6))
def test_no_batch_upsets_it(api, body, compress, cut):
    if compress:
        body = gzip.compress(body)
        body = body[: len(body) - cut]
    headers = {"Content_Encoding": "gzip"} if compress else {}
    is_described(api.post(body, "/v1/events/batch", **headers), "/v1/events/batch")


@fuzz
@given(pairs=st.lists(st.tuples(st.sampled_from([*FIELDS, "properties", "key", CANARY]), st.binary(max_size=20)
                                | st.just(CANARY.encode())), max_size=12))  # fmt: skip
def test_no_pixel_upsets_it(api, pairs):
    query = "&".join(f"{name}={quote(value)}" for name, value in pairs)
    get = api.request("GET", f"/v1/pixel.gif?key=wk-web&{query}")
    is_described(get, "/v1/pixel.gif", "get")
    assert api.request("HEAD", f"/v1/pixel.gif?key=wk-web&{query}").status == get.status


@fuzz
@given(
    headers=st.dictionaries(
        st.sampled_from(["Content-Type", "Content-Encoding", "Origin", "X-Forwarded-For", "Forwarded",
                         "Sec-Fetch-Site", "Cookie", "Traceparent", "Sec-GPC", "User-Agent"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
        | st.just(CANARY),
    )
)  # fmt: skip
def test_no_header_upsets_it(api, headers):
    body = msgspec.json.encode(GOOD)
    answer = api.request("POST", "/v1/events?key=wk-web", body, {"Content-Type": "text/plain"} | headers)
    is_described(answer, "/v1/events")


def finite(value: object) -> bool:
    """Whether it can be told in JSON, by numbers that the API keeps."""
    if isinstance(value, dict):
        return all(finite(inner) for inner in value.values())
    if isinstance(value, list):
        return all(finite(inner) for inner in value)
    if isinstance(value, float):
        return abs(value) != float("inf") and value == value
    return not isinstance(value, int) or -(2**63) <= value < 2**63


# Events as the description allows them.
some = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)
ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=16)
moments = st.integers(0, MAX_MS).map(iso_time) | st.sampled_from(["2026-01-31T08:30:00+14:00", "2026-06-30T23:59:60Z"])
flat = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | some
)
described_events = st.fixed_dictionaries(
    {"event_id": ids, "timestamp": moments, "user_id": ids, "session_id": ids, "page": some},
    optional={
        "type": some, "sent_at": moments, "referrer": some, "title": some, "user_agent": some, "ip": some,
        "properties": st.dictionaries(some, flat, max_size=8), "unknown": values.filter(finite),
    },
)  # fmt: skip


@fuzz
@given(sent=described_events, target=st.sampled_from(["/v1/events", "/v1/events/batch"]))
def test_what_the_description_allows_is_accepted(api, sent, target):
    schema("Event").validate(sent)
    body = {"events": [sent, sent]} if target.endswith("batch") else sent
    answer = api.post(json_of(body), target)
    is_described(answer, target)
    assert answer.status == 202, answer


@fuzz
@given(
    junk=st.binary(max_size=120)
    | st.text(max_size=60).map(lambda text: f"GET /{text} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
)
def test_no_bytes_upset_it(api, junk):
    answer = api.raw(junk + b"\r\n\r\n", 0.2)
    assert not answer.startswith(b"HTTP/1.1 5"), answer


def test_after_all_that_it_lives_and_nothing_went_wrong_inside(api):
    assert api.request("GET", "/healthz").status == 200
    assert "Traceback" not in api.output
