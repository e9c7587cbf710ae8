"""The API's own description, OpenAPI 3.1 and a page of it, made from the limits and codes that the code uses.

Made by hand, since no framework model validates here; a test checks that the running API does what this says. Both are
served on the ops port.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clickstream.contracts.dead_letters import VERSION
from clickstream.runtime.probes import Page
from clickstream.tracking_api import limits
from clickstream.tracking_api.rejections import STATUS, WITHOUT_BODY, Code
from clickstream.tracking_api.schemas import schemas
from clickstream.tracking_api.script import FILES
from clickstream.tracking_api.segment_answers import SEGMENT_STATUS
from clickstream.tracking_api.validation.segment import PATHS as SEGMENT_PATHS

_NOT_DESCRIBED = {Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED, Code.INTERNAL, *WITHOUT_BODY}
_NOT_IN_BODIES = {
    *(Code.BODY_TIMEOUT, Code.BODY_TOO_LARGE, Code.DECOMPRESSED_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE),
    *(Code.UNSUPPORTED_ENCODING, Code.MALFORMED_GZIP, Code.MALFORMED_JSON),
}
_NOT_IN_EVENTS = {
    *(Code.REPEATED_FIELD, Code.MALFORMED_QUERY, Code.EMPTY_BATCH, Code.TOO_MANY_EVENTS, Code.UNKNOWN_FIELD),
    Code.UNKNOWN_TYPE,
}
_NOT_IN_BATCHES = {Code.MALFORMED_QUERY, Code.UNKNOWN_TYPE}
_NOT_IN_PIXELS = {Code.EMPTY_BATCH, Code.TOO_MANY_EVENTS, Code.UNKNOWN_FIELD, Code.UNKNOWN_TYPE}
_MEANINGS = {
    400: "The body cannot be read.",
    401: "No write key.",
    403: "The write key belongs to no source, or the source does not allow the page's origin.",
    408: "The body came too slowly.",
    413: "Too large: the body, the batch or an event.",
    415: "The Content-Type is not JSON or plain text in UTF-8, or the Content-Encoding is not gzip.",
    422: "No event was accepted.",
    429: "More events than the source, or one client address, may send. Nothing of the request was taken: send all of "
    "it again, event_ids unchanged, after Retry-After.",
    503: "Kafka did not take all of it in time. Send the request again, event_ids unchanged, after Retry-After.",
}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
_RATE_LIMIT = {
    "RateLimit": {
        "schema": {"type": "string"},
        "description": "Which limit refused: source, address, or (of /v1/validate) validation; r: the events that it "
        "would take now, t: Retry-After.",
    },
    "RateLimit-Policy": {
        "schema": {"type": "string"},
        "description": "The limits of the source in this pod: q events at once, which come again within w seconds.",
    },
}
_SEGMENT_MEANINGS = _MEANINGS | {
    400: "Nothing was accepted.",
    401: "No write key, or one that belongs to no source.",
    403: "The source does not allow the page's origin.",
}
_STYLE = """\
body{font:16px/1.6 system-ui,sans-serif;max-width:56rem;margin:3rem auto;padding:0 1.5rem;\
color:#1d2521;background:#fbfaf6}
h1{margin-bottom:.2em}h2{margin-top:2.4em;border-top:1px solid #ddd;padding-top:1em}\
code,pre{font:14px/1.5 ui-monospace,monospace}
h2 code{font-size:1.05rem;background:#2f5d46;color:#fff;border-radius:6px;padding:.2em .5em}\
td{padding:.25em 1.2em .25em 0;vertical-align:top}
pre{background:#fff;border:1px solid #e5e3da;border-radius:8px;padding:1em;overflow:auto}summary{cursor:pointer}"""


def openapi() -> dict[str, Any]:
    """The OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "clickstream tracking API",
            "version": VERSION,
            "description": "A 2xx means that Kafka has the events on all in-sync replicas. Send an event again, with "
            "the same event_id, whenever no answer or a 408, 429 or 5xx came: the pipeline stores it once. What is "
            "refused although its write key is known is kept on the topic dead-letters as it was sent (decompressed, "
            "and without credentials in URLs), but for bodies over the limit or that came too slowly, for what a rate "
            "limit refuses, and for what is over the source's budget of dead letters. A request line "
            f"and headers of more than {limits.HEAD_BYTES} bytes are answered with 431, and ones that take longer than "
            f"{limits.HEAD_SECONDS:.0f} s with 408, on every path.",
        },
        "security": [{"writeKeyHeader": []}, {"writeKeyQuery": []}],
        "paths": {
            "/v1/events": {"post": _post("Send one event", "Event", _accepted("One event was accepted.", "Accepted"))},
            "/v1/events/batch": {
                "post": _post("Send up to 500 events", "Batch", _accepted("Some events were.", "BatchAnswer"))
            },
            "/v1/validate": {"post": _validation()},
            **{path: {"post": _segment(kind)} for path, kind in SEGMENT_PATHS.items()},
            "/v1/pixel.gif": {
                "get": _pixel("Send one event as the query string of an image"),
                "head": _pixel("What GET would be answered; nothing is stored or counted"),
            },
            "/healthz": {"get": _plain("Whether the process lives", {"200": "It does."})},
            "/readyz": {
                "get": _plain("Whether new traffic should come", {"200": "Yes.", "503": "Starting or ending."})
            },
            **{path: {"get": _script(path)} for path in FILES},
        },
        "components": {
            "securitySchemes": {
                "writeKeyHeader": {"type": "apiKey", "in": "header", "name": "X-Write-Key"},
                "writeKeyQuery": {"type": "apiKey", "in": "query", "name": "key"},
                "writeKeyAsUser": {"type": "http", "scheme": "basic"},
            },
            "schemas": schemas(),
        },
    }


def _post(summary: str, schema: str, accepted: dict[str, Any]) -> dict[str, Any]:
    batch = schema == "Batch"
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    answers = _rejections(set(Code) - _NOT_DESCRIBED - (_NOT_IN_BATCHES if batch else _NOT_IN_EVENTS))
    description = (
        f"At most {limits.BODY_BYTES} bytes on the wire and {limits.DECOMPRESSED_BYTES} after gzip. "
        "text/plain is taken for JSON, so that navigator.sendBeacon needs no preflight. "
    )
    if batch:
        answers["422"]["content"] = _either("BatchAnswer", "Refusal")
        answers["503"]["content"] = _either("UnstoredBatch", "Refusal")
        description += (
            "events and sent_at may be given once: a batch with two lists is refused (repeated_field). "
            "A 503 may concern a part of the batch: the events at the indices in unstored are to be sent again; the "
            "others are stored, or refused for good as rejected says. To send the whole batch again is right, too. A "
            "503 without unstored concerns all of it."
        )
    return {
        "summary": summary,
        "description": description,
        "parameters": [
            {"name": "Content-Encoding", "in": "header", "schema": {"enum": ["gzip", "identity"]}},
            {"name": "traceparent", "in": "header", "schema": {"type": "string"}},
        ],
        "requestBody": {"required": True, "content": {"application/json": content, "text/plain": content}},
        "responses": {"202": accepted} | answers,
    }


def _validation() -> dict[str, Any]:
    content = {"schema": {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Event", "Batch")]}}
    codes = {Code.MISSING_KEY, Code.UNKNOWN_KEY, Code.ORIGIN_NOT_ALLOWED, Code.BODY_TIMEOUT, Code.BODY_TOO_LARGE}
    limit = "More events than the source, or one client address, may send, or than are validated of all sources."
    return {
        "summary": "Say what would become of events, and store nothing",
        "description": "Takes what /v1/events or /v1/events/batch takes: a body with events and without event_id is "
        "for the latter. The status and answer of that endpoint are in the verdict, which itself is a 200; of each "
        "event it has the error or the Kafka record, and what the enricher would find. What depends on other events or "
        "on servers is in not_told. A validation counts against the limits of its source, and all validations of a "
        f"process against one of {limits.VALIDATED_EVENTS_PER_SECOND} events a second.",
        "parameters": [{"name": "Content-Encoding", "in": "header", "schema": {"enum": ["gzip", "identity"]}}],
        "requestBody": {"required": True, "content": {"application/json": content, "text/plain": content}},
        "responses": {"200": _accepted("The verdict.", "Verdict")}
        | _rejections(codes | {Code.RATE_LIMITED}, meanings=_MEANINGS | {413: "Too large.", 429: limit}),
    }


def _segment(kind: str | None) -> dict[str, Any]:
    """One endpoint of Segment's API; `kind` is that of its calls, None for a batch."""
    others = "/v1/b and /v1/import" if kind is None else f"/v1/{kind[0]}, /api/s/{kind} and /api/s/s2s/{kind}"
    codes = set(Code) - _NOT_DESCRIBED - {Code.MALFORMED_QUERY, Code.UNKNOWN_FIELD, Code.UNSUPPORTED_MEDIA_TYPE}
    codes -= set() if kind is None else {Code.REPEATED_FIELD, Code.EMPTY_BATCH, Code.TOO_MANY_EVENTS, Code.UNKNOWN_TYPE}
    answers = _rejections(codes, SEGMENT_STATUS, "SegmentRefusal", _SEGMENT_MEANINGS)
    success = _accepted("At least one event was accepted.", "SegmentSuccess")
    limit = f"{limits.SEGMENT_BATCH_EVENTS} calls, each of at most " if kind is None else ""
    if kind is None:
        answers["400"]["content"] = _either("SegmentSuccess", "SegmentRefusal")
    content = {"schema": {"$ref": f"#/components/schemas/{'SegmentBatch' if kind is None else 'SegmentCall'}"}}
    return {
        "summary": "Send calls of Segment's API" if kind is None else f"Send a {kind} call of Segment's API",
        "description": "For the libraries of Segment, RudderStack and Jitsu (docs/segment.md). "
        f"Also {others}. The write key is the user name of basic authentication, or writeKey in the body. At most "
        f"{limit}{limits.EVENT_BYTES} bytes; the body at most {limits.BODY_BYTES} on the wire and "
        f"{limits.DECOMPRESSED_BYTES} after gzip. The Content-Type says nothing. Of a batch the valid calls are "
        "accepted; the others are in rejected, and on dead-letters.",
        "security": [{"writeKeyAsUser": []}, {"writeKeyHeader": []}, {"writeKeyQuery": []}, {}],
        "parameters": [{"name": "Content-Encoding", "in": "header", "schema": {"enum": ["gzip", "identity"]}}],
        "requestBody": {"required": True, "content": {"application/json": content, "text/plain": content}},
        "responses": {"200": success} | answers,
    }


def _either(*schemas: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in schemas]}}}


def _pixel(summary: str) -> dict[str, Any]:
    event = schemas()["Event"]
    fields = [
        {"name": name, "in": "query", "required": name in event["required"]} | _parameter(schema)
        for name, schema in event["properties"].items()
    ]
    return {
        "summary": summary,
        "description": "properties is a JSON object; parameters without a meaning of their own become properties. A "
        "parameter of the event that is given twice is refused; of several keys the first one counts. page must be "
        "given: the Referer header does not stand in for it. "
        "A refusal is JSON, not an image.",
        "parameters": fields,
        "responses": {
            "200": {"description": "The event was accepted.", "content": {"image/gif": {}}},
            "431": {"description": f"The request line and headers have more than {limits.HEAD_BYTES} bytes. No body."},
        }
        | _rejections(set(Code) - _NOT_DESCRIBED - _NOT_IN_BODIES - _NOT_IN_PIXELS),
    }


def _parameter(schema: dict[str, Any]) -> dict[str, Any]:
    """A field of an event as a parameter: an object is written as JSON, and there is no null."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    given = schema | {"type": kinds[0]}
    return {"content": {"application/json": {"schema": given}}} if kinds[0] == "object" else {"schema": given}


def _accepted(description: str, schema: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _rejections(
    codes: set[Code],
    statuses: Mapping[Code, int] = STATUS,
    schema: str = "Refusal",
    meanings: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, meaning in (meanings or _MEANINGS).items():
        here = [code.value for code in Code if code in codes and statuses[code] == status]
        if not here:
            continue
        answers[str(status)] = _accepted(f"{meaning} Codes: {', '.join(here)}.", schema)
        if status in {429, 503}:
            answers[str(status)]["headers"] = _RETRY_AFTER | (_RATE_LIMIT if status == 429 else {})
    return answers


def _plain(summary: str, answers: dict[str, str]) -> dict[str, Any]:
    responses = {status: {"description": text, "content": {"text/plain": {}}} for status, text in answers.items()}
    return {"summary": summary, "security": [], "responses": responses}


def _script(path: str) -> dict[str, Any]:
    answer = {"description": "The script.", "content": {"text/javascript": {}}}
    summary = "The browser's tracker" if path == "/tracker.js" else f"The tracker's module {Path(path).stem}"
    return {"summary": summary, "security": [], "responses": {"200": answer}}


def pages() -> dict[str, Page]:
    """The description as JSON and as a page, by path."""
    document = openapi()
    return {
        "/docs": Page("text/html; charset=utf-8", docs_page(document).encode()),
        "/openapi.json": Page("application/json", json.dumps(document).encode()),
    }


def docs_page(document: dict[str, Any]) -> str:
    """The document as one plain HTML page, which loads nothing from anywhere."""
    info = document["info"]
    operations = [
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = "".join(
        f"<details><summary><b>{html.escape(name)}</b></summary>"
        f"<pre>{html.escape(json.dumps(schema, indent=2))}</pre></details>"
        for name, schema in document["components"]["schemas"].items()
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(info['title'])}</title>"
        f"<style>{_STYLE}</style>"
        f"<h1>{html.escape(info['title'])}</h1><p>{html.escape(info['description'])}</p>"
        "<p>The write key goes into <code>X-Write-Key</code> or <code>?key=</code>. "
        "The whole document: <a href=openapi.json>openapi.json</a>.</p>"
        f"{''.join(operations)}<h2>Schemas</h2>{schemas}</html>\n"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><b>{html.escape(status)}</b><td>{html.escape(answer['description'])}"
        for status, answer in operation["responses"].items()
    )
    return (
        f"<h2><code>{html.escape(method.upper())} {html.escape(path)}</code></h2>"
        f"<p>{html.escape(operation['summary'])}. "
        f"{html.escape(operation.get('description', ''))}</p><table>{rows}</table>"
    )
