"""The API's own description, OpenAPI 3.1, made from the limits and codes that the code uses.

Made by hand, since no framework model validates here; a test asks the running API whether it does what this says.
"""

from __future__ import annotations

from typing import Any

from clickstream.contracts.dead_letters import VERSION
from clickstream.tracking_api import limits
from clickstream.tracking_api.rejections import STATUS, Code

_TIME = {"type": "string", "format": "date-time"}
_UNCOUNTED = {Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED, Code.INTERNAL}
_NOT_IN_BODIES = {
    *(Code.BODY_TIMEOUT, Code.BODY_TOO_LARGE, Code.DECOMPRESSED_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE),
    *(Code.UNSUPPORTED_ENCODING, Code.MALFORMED_GZIP, Code.MALFORMED_JSON),
}
_ONLY_BATCH = {Code.EMPTY_BATCH, Code.TOO_MANY_EVENTS, Code.UNKNOWN_FIELD}
_ONLY_PIXEL = {Code.MALFORMED_QUERY, Code.REPEATED_FIELD}
_MEANINGS = {
    400: "The body cannot be read.",
    401: "No write key.",
    403: "The write key belongs to no source, or the source does not allow the page's origin.",
    408: "The body came too slowly.",
    413: "Too large: the body, the batch or an event.",
    415: "The Content-Type is not JSON or plain text in UTF-8, or the Content-Encoding is not gzip.",
    422: "No event was accepted.",
    503: "Kafka did not take the events in time. Send the same request again, event_ids unchanged, after Retry-After.",
}


def openapi() -> dict[str, Any]:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "clickstream tracking API",
            "version": VERSION,
            "description": "A 2xx means that Kafka has the events on all in-sync replicas. Send an event again, with the "
            "same event_id, whenever no answer or a 408, 429 or 5xx came: the pipeline stores it once.",
        },
        "security": [{"writeKeyHeader": []}, {"writeKeyQuery": []}],
        "paths": {
            "/v1/events": {"post": _post("Send one event", "Event", _accepted("One event was accepted.", "Accepted"))},
            "/v1/events/batch": {
                "post": _post("Send up to 500 events", "Batch", _accepted("Some events were.", "BatchAnswer"))
            },
            "/v1/pixel.gif": {"get": _pixel()},
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
            "schemas": _schemas(),
        },
    }


def _post(summary: str, schema: str, accepted: dict[str, Any]) -> dict[str, Any]:
    batch = schema == "Batch"
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    codes = set(Code) - _UNCOUNTED - _ONLY_PIXEL - (set() if batch else _ONLY_BATCH)
    answers = _refusals(codes)
    if batch:
        either = [{"$ref": "#/components/schemas/BatchAnswer"}, {"$ref": "#/components/schemas/Refusal"}]
        answers["422"]["content"] = {"application/json": {"schema": {"oneOf": either}}}
    return {
        "summary": summary,
        "description": f"At most {limits.BODY_BYTES} bytes on the wire and {limits.DECOMPRESSED_BYTES} after gzip. "
        "text/plain is taken for JSON, so that navigator.sendBeacon needs no preflight.",
        "parameters": [
            {"name": "Content-Encoding", "in": "header", "schema": {"enum": ["gzip", "identity"]}},
            {"name": "traceparent", "in": "header", "schema": {"type": "string"}},
        ],
        "requestBody": {"required": True, "content": {"application/json": content, "text/plain": content}},
        "responses": {"202": accepted} | answers,
    }


def _pixel() -> dict[str, Any]:
    event = _schemas()["Event"]
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
        "summary": "Send one event as the query string of an image",
        "description": "properties is a JSON object; parameters without a meaning of their own become properties.",
        "parameters": fields,
        "responses": {"200": {"description": "The event was accepted.", "content": {"image/gif": {}}}}
        | _refusals(set(Code) - _UNCOUNTED - _NOT_IN_BODIES - _ONLY_BATCH),
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


def _schemas() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "Event": {
            "type": "object",
            "description": f"At most {limits.EVENT_BYTES} bytes. Lengths are bytes of UTF-8. Fields that are not listed "
            "are kept in properties: scalars as they are, objects and arrays as JSON text.",
            "required": ["event_id", "timestamp", "user_id", "session_id", "page"],
            "properties": {
                "event_id": _text(limits.EVENT_ID_BYTES, "Made by the client, kept across its retries."),
                "timestamp": _TIME | {"description": "When it happened, by the client's clock, with an offset."},
                "user_id": _text(limits.ID_BYTES, "Who."),
                "session_id": _text(limits.ID_BYTES, "The client's own session."),
                "page": _text(limits.PAGE_BYTES, "URL, path or screen name."),
                "type": _text(limits.TYPE_BYTES, "What happened.") | {"default": "page_view"},
                "sent_at": _TIME | {"description": "When it was sent, by the same clock: corrects a wrong one."},
                "referrer": text | {"maxLength": limits.STRING_BYTES},
                "title": text | {"maxLength": limits.STRING_BYTES},
                "user_agent": text
                | {"description": f"Default: the header. Cut after {limits.USER_AGENT_BYTES} bytes."},
                "ip": text
                | {"description": "Default: the client's address. Its country is looked up, then it is anonymized."},
                "properties": {
                    "type": "object",
                    "maxProperties": limits.PROPERTIES,
                    "propertyNames": {"minLength": 1, "maxLength": limits.PROPERTY_NAME_BYTES},
                    "additionalProperties": {
                        "type": ["string", "number", "boolean", "null"],
                        "maxLength": limits.STRING_BYTES,
                    },
                },
            },
            "additionalProperties": True,
        },
        "Batch": {
            "type": "object",
            "required": ["events"],
            "properties": {
                "events": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": limits.BATCH_EVENTS,
                    "items": {"$ref": "#/components/schemas/Event"},
                },
                "sent_at": _TIME | {"description": "For the events that have none."},
            },
            "additionalProperties": False,
        },
        "Accepted": {"type": "object", "required": ["accepted"], "properties": {"accepted": {"const": 1}}},
        "BatchAnswer": {
            "type": "object",
            "required": ["accepted", "rejected"],
            "properties": {
                "accepted": {"type": "integer"},
                "rejected": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["index", "code", "path", "message"],
                        "properties": {"index": {"type": "integer"}} | _reason(),
                    },
                },
            },
        },
        "Refusal": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {"type": "object", "required": ["code", "path", "message"], "properties": _reason()}
            },
        },
    }


def _text(most: int, description: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": most, "description": description}


def _reason() -> dict[str, Any]:
    return {"code": {"enum": [code.value for code in Code]}, "path": {"type": "string"}, "message": {"type": "string"}}
