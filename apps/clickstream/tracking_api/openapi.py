"""The API's own description, OpenAPI 3.1, made from the limits and codes that the code uses.

Made by hand, since no framework model validates here; a test asks the running API whether it does what this says.
"""

from __future__ import annotations

from typing import Any

from clickstream.contracts.dead_letters import VERSION
from clickstream.tracking_api import limits
from clickstream.tracking_api.rejections import STATUS, Code
from clickstream.tracking_api.schemas import schemas

_UNCOUNTED = {Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED, Code.INTERNAL}
_NOT_IN_BODIES = {
    *(Code.BODY_TIMEOUT, Code.BODY_TOO_LARGE, Code.DECOMPRESSED_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE),
    *(Code.UNSUPPORTED_ENCODING, Code.MALFORMED_GZIP, Code.MALFORMED_JSON),
}
_NOT_IN_EVENTS = {Code.REPEATED_FIELD, Code.MALFORMED_QUERY, Code.EMPTY_BATCH, Code.TOO_MANY_EVENTS, Code.UNKNOWN_FIELD}
_NOT_IN_BATCHES = {Code.MALFORMED_QUERY}
_NOT_IN_PIXELS = {Code.EMPTY_BATCH, Code.TOO_MANY_EVENTS, Code.UNKNOWN_FIELD}
_MEANINGS = {
    400: "The body cannot be read.",
    401: "No write key.",
    403: "The write key belongs to no source, or the source does not allow the page's origin.",
    408: "The body came too slowly.",
    413: "Too large: the body, the batch or an event.",
    415: "The Content-Type is not JSON or plain text in UTF-8, or the Content-Encoding is not gzip.",
    422: "No event was accepted.",
    503: "Kafka did not take all of it in time. Send the request again, event_ids unchanged, after Retry-After.",
}


def openapi() -> dict[str, Any]:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "clickstream tracking API",
            "version": VERSION,
            "description": "A 2xx means that Kafka has the events on all in-sync replicas. Send an event again, with the "
            "same event_id, whenever no answer or a 408, 429 or 5xx came: the pipeline stores it once. What is refused "
            "although its write key is known is kept on the topic dead-letters as it was sent (decompressed, and without "
            "credentials in URLs), but for bodies over the limit or that came too slowly.",
        },
        "security": [{"writeKeyHeader": []}, {"writeKeyQuery": []}],
        "paths": {
            "/v1/events": {"post": _post("Send one event", "Event", _accepted("One event was accepted.", "Accepted"))},
            "/v1/events/batch": {
                "post": _post("Send up to 500 events", "Batch", _accepted("Some events were.", "BatchAnswer"))
            },
            "/v1/pixel.gif": {
                "get": _pixel("Send one event as the query string of an image"),
                "head": _pixel("What GET would be answered; nothing is stored or counted"),
            },
            "/healthz": {"get": _plain("Whether the process lives", {"200": "It does."})},
            "/readyz": {
                "get": _plain("Whether new traffic should come", {"200": "Yes.", "503": "Starting or ending."})
            },
            "/metrics": {"get": _plain("Metrics in Prometheus' text format", {"200": "The metrics."})},
            "/tracker.js": {"get": _script()},
        },
        "components": {
            "securitySchemes": {
                "writeKeyHeader": {"type": "apiKey", "in": "header", "name": "X-Write-Key"},
                "writeKeyQuery": {"type": "apiKey", "in": "query", "name": "key"},
            },
            "schemas": schemas(),
        },
    }


def _post(summary: str, schema: str, accepted: dict[str, Any]) -> dict[str, Any]:
    batch = schema == "Batch"
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    answers = _refusals(set(Code) - _UNCOUNTED - (_NOT_IN_BATCHES if batch else _NOT_IN_EVENTS))
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
            "others are stored, or refused for good as rejected says. To send the whole batch again is right, too. A 503 "
            "without unstored concerns all of it."
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


def _either(*schemas: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in schemas]}}}


def _pixel(summary: str) -> dict[str, Any]:
    event = schemas()["Event"]
    fields = [
        {
            "name": name,
            "in": "query",
            "required": name in event["required"],
            "schema": {"type": "string"} if name == "properties" else schema,
        }
        for name, schema in event["properties"].items()
    ]
    return {
        "summary": summary,
        "description": "properties is a JSON object; parameters without a meaning of their own become properties. A "
        "parameter that is given twice is refused. page must be given: the Referer header does not stand in for it. "
        "A refusal is JSON, not an image.",
        "parameters": fields,
        "responses": {"200": {"description": "The event was accepted.", "content": {"image/gif": {}}}}
        | _refusals(set(Code) - _UNCOUNTED - _NOT_IN_BODIES - _NOT_IN_PIXELS),
    }


def _accepted(description: str, schema: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _refusals(codes: set[Code]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, meaning in _MEANINGS.items():
        here = [code.value for code in Code if code in codes and STATUS[code] == status]
        if not here:
            continue
        answers[str(status)] = _accepted(f"{meaning} Codes: {', '.join(here)}.", "Refusal")
        if status == 503:
            answers["503"]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
    return answers


def _plain(summary: str, answers: dict[str, str]) -> dict[str, Any]:
    responses = {status: {"description": text, "content": {"text/plain": {}}} for status, text in answers.items()}
    return {"summary": summary, "security": [], "responses": responses}


def _script() -> dict[str, Any]:
    answer = {"description": "The script.", "content": {"text/javascript": {}}}
    return {"summary": "The browser's tracker", "security": [], "responses": {"200": answer}}
