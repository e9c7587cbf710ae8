"""The API's own description as the source of requests, and as the judge of their answers."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
import schemathesis
from hypothesis import given, note
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from clickstream.contracts.times import MAX_MS, iso_time
from clickstream.tracking_api import limits
from clickstream.tracking_api.endpoints import Endpoint
from support.ledger import Request

CONFORMANCE = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ENDPOINTS = {endpoint.path: endpoint for endpoint in Endpoint}
SAID_IN_WORDS = {"too_long", "integer_out_of_range", "too_deep", "too_many_properties", "event_too_large"}
"""Why the API may refuse what fits its schemas: JSON Schema counts characters, not bytes, and each map by itself."""
# All that the format allows and the API does not: the years before 1970. What it makes of them is in `times`.
schemathesis.openapi.format("date-time", st.integers(0, MAX_MS).map(iso_time))


def description(fuzz: Any) -> Any:
    refusals = ["400", "413", "415", "422", "431"]
    config = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": refusals}}})
    return schemathesis.openapi.from_dict(json.loads(fuzz.system.api.get("/openapi.json", ops=True)[1]), config=config)


def prepared(case: Case[Any], url: str, key: str, mode: GenerationMode) -> requests.PreparedRequest:
    made = requests.Request(**case.as_transport_kwargs(base_url=url, headers={"X-Write-Key": key})).prepare()
    if mode.is_positive and made.headers.get("Content-Encoding") == "gzip":
        made.prepare_body(gzip.compress(_body(made)), None)
    return made


def follows_its_description(fuzz: Any, operation: str, mode: GenerationMode, cases: int) -> None:
    """Send so many cases that the operation's description allows, or that it does not, and look at each answer."""
    method, path = operation.split()
    strategy = description(fuzz)[path][method].as_strategy(generation_mode=mode)
    session = requests.Session()

    tried: Callable[[Callable[..., None]], Callable[..., None]] = fuzz.cases(cases)

    @tried
    @given(strategy, st.sampled_from(sorted(fuzz.keys)))
    def drive(case: Case[Any], source: str) -> None:
        request = prepared(case, fuzz.system.url, fuzz.keys[source], mode)
        note(f"{method} {request.url} {request.headers} {request.body!r}"[:4_000])
        url = request.url or ""
        response = fuzz.timed(url, lambda: session.send(request, timeout=15))
        fuzz.requests += 1
        case.validate_response(response, checks=CONFORMANCE)
        split = urlsplit(url)
        if method == "HEAD" or path not in ENDPOINTS or response.status_code == 431:
            assert response.status_code != 431 or head_bytes(request) > limits.HEAD_BYTES
            return
        headers = {name: request.headers.get(name, "") for name in ("Content-Type", "Content-Encoding")}
        empty = request.headers.get("Content-Encoding") in {"", b""}
        kind, encoding = (_bytes(value) for value in headers.values())
        sent = Request(ENDPOINTS[path], source, split.query.encode(), _body(request), kind, encoding)
        fuzz.ledger.take(sent, response.status_code, response.content, int(time.time() * 1_000))
        accepted = response.status_code < 300
        if mode.is_positive:
            assert accepted or set(codes(response.json())) <= SAID_IN_WORDS, response.text
        elif not (accepted and path == Endpoint.BATCH.path and response.json()["rejected"]) and not empty:
            # Of a batch the good events are taken; and a Content-Encoding that is empty is none.
            case.validate_response(response, checks=[negative_data_rejection])

    drive()


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _body(request: requests.PreparedRequest) -> bytes:
    body = request.body or b""
    assert isinstance(body, str | bytes)
    return _bytes(body)


def head_bytes(request: requests.PreparedRequest) -> int:
    line = f"{request.method} {request.path_url} HTTP/1.1\r\nHost: {urlsplit(request.url or '').netloc}\r\n\r\n"
    return len(line) + sum(len(name) + len(value) + 4 for name, value in request.headers.items())


def codes(answer: dict[str, Any]) -> list[str]:
    return [answer["error"]["code"]] if "error" in answer else [each["code"] for each in answer["rejected"]]
