"""The JSON schemas of events, batches and answers in the OpenAPI document, with the limits that the code uses."""

from __future__ import annotations

from typing import Any

import msgspec

from clickstream.contracts.clicks import EnrichedClick
from clickstream.tracking_api import limits
from clickstream.tracking_api.rejections import WITHOUT_BODY, Code
from clickstream.tracking_api.verdicts import FOUND, TIMES, EventVerdict, Verdict

_INDEX = {"type": "integer", "minimum": 0, "maximum": limits.BATCH_EVENTS - 1}
_TIME = {"type": "string", "format": "date-time"}
_OPTIONAL_TIME = {"type": ["string", "null"], "format": "date-time"}
_NAMES = {"minLength": 1, "maxLength": limits.PROPERTY_NAME_BYTES}


def schemas() -> dict[str, Any]:
    """JSON schemas by name: what is sent, and what is answered."""
    text = {"type": ["string", "null"]}
    return {
        "Event": {
            "type": "object",
            "description": f"At most {limits.EVENT_BYTES} bytes. Lengths are bytes of UTF-8. Fields that are not "
            "listed are kept in properties: scalars as they are, objects and arrays as JSON text. A field that need "
            "not be given may be null, a text also empty: the same as leaving it out. Integers fit into 64 bits, and "
            f"objects and arrays are nested at most {limits.DEPTH} deep. Of a field that is given "
            "twice the last one counts, for validation and storage alike. U+0000 and lone surrogates become U+FFFD, "
            "but for the three ids, in which they are refused (bad_character). "
            "User names and passwords in URLs (https://user:password@host/) are cut out of every text but the ids.",
            "required": ["event_id", "timestamp", "user_id", "session_id", "page"],
            "properties": {
                "event_id": _id(limits.EVENT_ID_BYTES, "Made by the client, kept across its retries."),
                "timestamp": _TIME
                | {
                    "description": "When it happened, by the client's clock, with an offset, in the years 1970 to 9999 "
                    "(UTC). Without sent_at, a time more than a minute ahead or before 2000 (a clock that was never "
                    "set) counts as the time of receipt; what was sent is kept beside it."
                },
                "user_id": _id(limits.ID_BYTES, "Who."),
                "session_id": _id(limits.ID_BYTES, "The client's own session."),
                "page": _url(limits.PAGE_BYTES, "URL, path or screen name.") | {"type": "string", "minLength": 1},
                "type": text
                | {"maxLength": limits.TYPE_BYTES, "description": "What happened.", "default": "page_view"},
                "sent_at": _OPTIONAL_TIME
                | {"description": "When it was sent, by the same clock: corrects a wrong one."},
                "referrer": _url(limits.STRING_BYTES, "Where the visitor came from."),
                "title": text | {"maxLength": limits.STRING_BYTES},
                "user_agent": text
                | {
                    "description": "The visitor's. Default: the User-Agent header, where a browser sent the request "
                    "(it has an Origin or Sec-Fetch-Site header, or is the pixel); a server's own header says nothing "
                    f"about a visitor. Cut after {limits.USER_AGENT_BYTES} bytes."
                },
                "ip": text
                | {
                    "description": "Default: the client's address: the last one in X-Forwarded-For (or Forwarded, "
                    "where X-Forwarded-For is absent) that is none of the pipeline's trustedProxies; X-Real-IP and "
                    "other headers are ignored. Its country is looked up, then it is anonymized."
                },
                "properties": {
                    "type": ["object", "null"],
                    "maxProperties": limits.PROPERTIES,
                    "propertyNames": _NAMES,
                    "additionalProperties": {
                        "type": ["string", "number", "boolean", "null"],
                        "maxLength": limits.STRING_BYTES,
                    },
                },
            },
            "propertyNames": _NAMES,
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
                "sent_at": _OPTIONAL_TIME | {"description": "For the events that have none."},
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
        "SegmentCall": _call(),
        "SegmentBatch": {
            "type": "object",
            "description": "context is merged into each call, sentAt counts for those that have none; other members "
            f"are not kept. All but the list has at most {limits.SEGMENT_ENVELOPE_BYTES} bytes.",
            "required": ["batch"],
            "properties": {
                "batch": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": limits.SEGMENT_BATCH_EVENTS,
                    "items": {"$ref": "#/components/schemas/SegmentCall"},
                },
                "sentAt": _OPTIONAL_TIME,
                "context": {"type": ["object", "null"]},
                "writeKey": {"type": "string"},
            },
        },
        "SegmentSuccess": {
            "type": "object",
            "required": ["success"],
            "properties": {"success": {"type": "boolean"}, "rejected": _rejected(limits.SEGMENT_BATCH_EVENTS)},
            "additionalProperties": False,
        },
        "SegmentRefusal": {
            "type": "object",
            "required": ["success", "code", "path", "message"],
            "properties": {"success": {"const": False}} | _reason(),
            "additionalProperties": False,
        },
        "Refusal": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": _error()},
            "additionalProperties": False,
        },
        **_verdict(),
    }


def _verdict() -> dict[str, Any]:
    """The answer of /v1/validate, as its types have it; what it quotes of other records has their types."""
    reference = "#/components/schemas/{name}"
    _, found = msgspec.json.schema_components([Verdict, EventVerdict], ref_template=reference)
    for schema in found.values():
        schema["description"] = " ".join(schema["description"].split())
        if schema.get("type") == "object":
            schema["additionalProperties"] = False
    answers = [{"$ref": reference.format(name=name)} for name in ("Accepted", "BatchAnswer", "Refusal")]
    found["Verdict"]["properties"]["events"]["items"] = {"$ref": reference.format(name="EventVerdict")}
    found["Verdict"]["properties"]["answer"] = {"anyOf": answers}
    _, clicks = msgspec.json.schema_components([EnrichedClick])
    fields = {name: clicks["EnrichedClick"]["properties"][name] for name in FOUND} | dict.fromkeys(TIMES, _TIME)
    found["EnrichedVerdict"]["properties"]["fields"] = {
        "type": "object",
        "description": "Fields of the record on enriched-clicks.",
        "required": list(FOUND),
        "properties": fields,
        "additionalProperties": False,
    }
    return found


def _url(most: int, description: str) -> dict[str, Any]:
    cut = (
        f" One of more than {most} bytes loses its fragment, then whole parameters of its query, those of the campaign "
        "(utm_…) last; it is refused only if its path is longer."
    )
    return {"type": ["string", "null"], "description": description + cut}


def _error() -> dict[str, Any]:
    return {"type": "object", "required": ["code", "path", "message"], "properties": _reason()}


def _call() -> dict[str, Any]:
    an_id = {"type": ["string", "integer", "null"]}
    names = ("messageId", "userId", "anonymousId", "groupId", "previousId")
    return {
        "type": "object",
        "description": f"At most {limits.EVENT_BYTES} bytes, with userId or anonymousId, as "
        "https://segment.com/docs/connections/spec says. What becomes of its members: docs/segment.md.",
        "properties": dict.fromkeys(names, an_id)
        | {name: {"type": ["object", "array", "null"]} for name in ("context", "properties", "traits")}
        | {"event": {"type": "string", "maxLength": limits.TYPE_BYTES}}
        | dict.fromkeys(("timestamp", "originalTimestamp", "sentAt"), _OPTIONAL_TIME),
    }


def _counts() -> dict[str, Any]:
    return {"accepted": {"type": "integer"}, "rejected": _rejected(limits.BATCH_EVENTS)}


def _rejected(events: int) -> dict[str, Any]:
    item = {
        "type": "object",
        "required": ["index", "code", "path", "message"],
        "properties": {"index": {"type": "integer", "minimum": 0, "maximum": events - 1}} | _reason(),
    }
    return {"type": "array", "items": item}


def _id(most: int, description: str) -> dict[str, Any]:
    bounds = {"minLength": 1, "maxLength": most, "pattern": r"^[^\u0000]*$"}
    return {"type": "string", **bounds, "description": description}


def _reason() -> dict[str, Any]:
    codes = [code.value for code in Code if code not in WITHOUT_BODY]
    return {"code": {"enum": codes}, "path": {"type": "string"}, "message": {"type": "string"}}
