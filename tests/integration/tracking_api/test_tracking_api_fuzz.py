"""Whatever is sent, the answer is no 5xx and repeats nothing of it."""

from __future__ import annotations

import gzip
import json
from urllib.parse import quote

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CANARY = "canary7f3a"
FIELDS = ["event_id", "timestamp", "user_id", "session_id", "page", "type", "sent_at", "referrer", "user_agent", "ip"]
GOOD = {"event_id": "e", "timestamp": "2026-01-31T08:30:00Z", "user_id": "u", "session_id": "s", "page": "/"}

fuzz = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
texts = st.text(max_size=12) | st.just(CANARY) | st.sampled_from(["", "\0", "\ud83d", "1e999", "2026-01-31T08:30:00Z"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12)  # fmt: skip
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


def is_calm(answer) -> None:
    assert answer.status < 500, answer
    assert CANARY.encode() not in answer.body
    assert not any(CANARY in value for value in answer.headers.values())


@fuzz
@given(
    body=events.map(json_of) | spoiled() | st.binary(max_size=200),
    target=st.sampled_from(["/v1/events", "/v1/events/batch"]),
)
def test_no_body_upsets_it(api, body, target):
    is_calm(api.post(body, target))


@fuzz
@given(body=batches.map(json_of) | spoiled(), compress=st.booleans(), cut=st.integers(0, 6))
def test_no_batch_upsets_it(api, body, compress, cut):
    if compress:
        body = gzip.compress(body)
        is_calm(api.post(body[: len(body) - cut], "/v1/events/batch", Content_Encoding="gzip"))
    else:
        is_calm(api.post(body, "/v1/events/batch"))


@fuzz
@given(pairs=st.lists(st.tuples(st.sampled_from([*FIELDS, "properties", "key", CANARY]), st.binary(max_size=20) | st.just(CANARY.encode())), max_size=12))  # fmt: skip
def test_no_pixel_upsets_it(api, pairs):
    query = "&".join(f"{name}={quote(value)}" for name, value in pairs)
    is_calm(api.request("GET", f"/v1/pixel.gif?key=wk-web&{query}"))


@fuzz
@given(
    headers=st.dictionaries(
        st.sampled_from(["Content-Type", "Content-Encoding", "Origin", "X-Forwarded-For", "Traceparent", "Sec-GPC", "User-Agent"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30) | st.just(CANARY),
    )
)  # fmt: skip
def test_no_header_upsets_it(api, headers):
    body = msgspec.json.encode(GOOD)
    answer = api.request("POST", "/v1/events?key=wk-web", body, {"Content-Type": "text/plain"} | headers)
    is_calm(answer)


@fuzz
@given(junk=st.binary(max_size=120) | st.text(max_size=60).map(lambda text: f"GET /{text} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()))  # fmt: skip
def test_no_bytes_upset_it(api, junk):
    answer = api.raw(junk + b"\r\n\r\n", 0.2)
    assert not answer.startswith(b"HTTP/1.1 5"), answer


def test_after_all_that_it_lives_and_nothing_went_wrong_inside(api):
    assert api.request("GET", "/healthz").status == 200
    assert "Traceback" not in api.output
