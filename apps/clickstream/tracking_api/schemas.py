"""The JSON schemas of events, batches and answers in the API's own description, with the limits that the code uses."""

from __future__ import annotations

from typing import Any

from clickstream.tracking_api import limits
from clickstream.tracking_api.rejections import Code

_INDEX = {"type": "integer", "minimum": 0, "maximum": limits.BATCH_EVENTS - 1}
_TIME = {"type": "string", "format": "date-time"}


def schemas() -> dict[str, Any]:
    """JSON schemas by name: what is sent, and what is answered."""
    text = {"type": "string"}
    return {
        "Event": {
            "type": "object",
            "description": f"At most {limits.EVENT_BYTES} bytes. Lengths are bytes of UTF-8. Fields that are not listed "
            "are kept in properties: scalars as they are, objects and arrays as JSON text. Of a field that is given "
            "twice the last one counts, for validation and storage alike. U+0000 and lone surrogates become U+FFFD. "
            "User names and passwords in URLs (https://user:password@host/) are cut out of every text but the ids.",
            "required": ["event_id", "timestamp", "user_id", "session_id", "page"],
            "properties": {
                "event_id": _text(limits.EVENT_ID_BYTES, "Made by the client, kept across its retries."),
                "timestamp": _TIME
                | {
                    "description": "When it happened, by the client's clock, with an offset. Without sent_at, a time "
                    "more than a minute ahead or before 2000 (a clock that was never set) counts as the time of "
                    "receipt; what was sent is kept beside it."
                },
                "user_id": _text(limits.ID_BYTES, "Who."),
                "session_id": _text(limits.ID_BYTES, "The client's own session."),
                "page": _url(limits.PAGE_BYTES, "URL, path or screen name.") | {"minLength": 1},
                "type": _text(limits.TYPE_BYTES, "What happened.") | {"default": "page_view"},
                "sent_at": _TIME | {"description": "When it was sent, by the same clock: corrects a wrong one."},
                "referrer": _url(limits.STRING_BYTES, "Where the visitor came from."),
                "title": text | {"maxLength": limits.STRING_BYTES},
                "user_agent": text
                | {
                    "description": "The visitor's. Default: the User-Agent header, where a browser sent the request (it "
                    "has an Origin or Sec-Fetch header, or is the pixel); a server's own header says nothing about a "
                    f"visitor. Cut after {limits.USER_AGENT_BYTES} bytes."
                },
                "ip": text
                | {
                    "description": "Default: the client's address: the last one in X-Forwarded-For (or Forwarded, where "
                    "X-Forwarded-For is absent) that is none of the pipeline's trustedProxies; X-Real-IP and other "
                    "headers are ignored. Its country is looked up, then it is anonymized."
                },
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
            "properties": _counts(),
            "additionalProperties": False,
        },
        "UnstoredBatch": {
            "type": "object",
            "required": ["error", "accepted", "rejected", "unstored"],
            "properties": {
                "error": _error(),
                **_counts(),
                "unstored": {"type": "array", "items": _INDEX, "minItems": 1},
            },
            "additionalProperties": False,
        },
        "Refusal": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": _error()},
            "additionalProperties": False,
        },
    }


def _url(most: int, description: str) -> dict[str, Any]:
    cut = (
        f" One of more than {most} bytes loses its fragment, then whole parameters of its query, those of the campaign "
        "(utm_…) last; it is refused only if its path is longer."
    )
    return {"type": "string", "description": description + cut}


def _error() -> dict[str, Any]:
    return {"type": "object", "required": ["code", "path", "message"], "properties": _reason()}


def _counts() -> dict[str, Any]:
    rejected = {
        "type": "object",
        "required": ["index", "code", "path", "message"],
        "properties": {"index": _INDEX} | _reason(),
    }
    return {"accepted": {"type": "integer"}, "rejected": {"type": "array", "items": rejected}}


def _text(most: int, description: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": most, "description": description}


def _reason() -> dict[str, Any]:
    return {"code": {"enum": [code.value for code in Code]}, "path": {"type": "string"}, "message": {"type": "string"}}
