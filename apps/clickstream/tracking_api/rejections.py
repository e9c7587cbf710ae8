"""Everything that the API rejects: a code out of a closed list, its status, a JSON path, and a sentence.

Codes are a promise to clients and label a metric, so the list is closed; each has exactly one status for a request.
Neither path nor sentence quotes the input: a path names only fields that the contract knows, since a client's own field
names are input, too. Rejections of a single field are raised where it is read (`validation.fields`, `.properties`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from clickstream.tracking_api import limits


class Code(StrEnum):
    """What was wrong."""

    MISSING_KEY = "missing_key"
    UNKNOWN_KEY = "unknown_key"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    MALFORMED_REQUEST = "malformed_request"
    HEAD_TIMEOUT = "head_timeout"
    HEAD_TOO_LARGE = "head_too_large"
    BODY_TIMEOUT = "body_timeout"
    BODY_TOO_LARGE = "body_too_large"
    DECOMPRESSED_TOO_LARGE = "decompressed_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    MALFORMED_GZIP = "malformed_gzip"
    MALFORMED_JSON = "malformed_json"
    MALFORMED_QUERY = "malformed_query"
    REPEATED_FIELD = "repeated_field"
    UNKNOWN_FIELD = "unknown_field"
    EMPTY_BATCH = "empty_batch"
    TOO_MANY_EVENTS = "too_many_events"
    EVENT_TOO_LARGE = "event_too_large"
    RECORD_TOO_LARGE = "record_too_large"
    TOO_DEEP = "too_deep"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_TYPE = "unknown_type"
    EMPTY = "empty"
    TOO_LONG = "too_long"
    BAD_CHARACTER = "bad_character"
    BAD_TIMESTAMP = "bad_timestamp"
    NOT_FLAT = "not_flat"
    TOO_MANY_PROPERTIES = "too_many_properties"
    INTEGER_OUT_OF_RANGE = "integer_out_of_range"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    INTERNAL = "internal"


WITHOUT_BODY: Final = frozenset({Code.MALFORMED_REQUEST, Code.HEAD_TIMEOUT, Code.HEAD_TOO_LARGE})
"""Refused by the HTTP server before there is a request: counted, but no answer names them."""

STATUS: Final[dict[Code, int]] = dict.fromkeys(Code, 422) | {
    Code.MISSING_KEY: 401,
    Code.UNKNOWN_KEY: 403,
    Code.ORIGIN_NOT_ALLOWED: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.MALFORMED_REQUEST: 400,
    Code.HEAD_TIMEOUT: 408,
    Code.HEAD_TOO_LARGE: 431,
    Code.BODY_TIMEOUT: 408,
    Code.BODY_TOO_LARGE: 413,
    Code.DECOMPRESSED_TOO_LARGE: 413,
    Code.TOO_MANY_EVENTS: 413,
    Code.EVENT_TOO_LARGE: 413,
    Code.RECORD_TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.UNSUPPORTED_ENCODING: 415,
    Code.MALFORMED_GZIP: 400,
    Code.MALFORMED_JSON: 400,
    Code.MALFORMED_QUERY: 400,
    Code.UNAVAILABLE: 503,
    Code.RATE_LIMITED: 429,
    Code.INTERNAL: 500,
}


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why something was rejected. `path` is a JSON path into the request's body, `$` for all of it."""

    code: Code
    path: str
    message: str

    @property
    def status(self) -> int:
        """The HTTP status of a request that is rejected for this."""
        return STATUS[self.code]

    def inside(self, parent: str) -> Rejection:
        """The same rejection, its path seen from a document that has the event at `parent` (`$.events[3]`)."""
        return Rejection(self.code, parent + self.path[1:], self.message)


class RejectionError(Exception):
    """Carries a rejection out of the reading of a field; it never leaves `validation`, which returns rejections."""

    def __init__(self, code: Code, path: str, message: str) -> None:
        super().__init__(message)
        self.rejection = Rejection(code, path, message)


# Who sends it, and to where.
MISSING_SEGMENT_KEY: Final = Rejection(
    Code.MISSING_KEY, "$", "give the write key as the user name of basic authentication or as writeKey in the body"
)
MISSING_KEY: Final = Rejection(Code.MISSING_KEY, "$", "give the write key in the X-Write-Key header or as ?key=")
UNKNOWN_KEY: Final = Rejection(Code.UNKNOWN_KEY, "$", "this write key belongs to no source")
ORIGIN_NOT_ALLOWED: Final = Rejection(
    Code.ORIGIN_NOT_ALLOWED, "$", "the source of this write key does not allow this origin"
)
ORIGIN_OF_NO_SOURCE: Final = Rejection(Code.ORIGIN_NOT_ALLOWED, "$", "no source allows this origin")
NOT_FOUND: Final = Rejection(Code.NOT_FOUND, "$", "there is nothing at this path")
METHOD_NOT_ALLOWED: Final = Rejection(Code.METHOD_NOT_ALLOWED, "$", "this path does not take this method")

# The body.
BODY_TOO_LARGE: Final = Rejection(Code.BODY_TOO_LARGE, "$", f"a body has at most {limits.BODY_BYTES} bytes")
BODY_TIMEOUT: Final = Rejection(Code.BODY_TIMEOUT, "$", f"the body did not arrive within {limits.BODY_SECONDS:.0f} s")
UNSUPPORTED_MEDIA_TYPE: Final = Rejection(
    Code.UNSUPPORTED_MEDIA_TYPE, "$", "the Content-Type must be application/json or text/plain, in UTF-8"
)
UNSUPPORTED_ENCODING: Final = Rejection(
    Code.UNSUPPORTED_ENCODING, "$", "the Content-Encoding must be gzip, identity or absent"
)
MALFORMED_GZIP: Final = Rejection(Code.MALFORMED_GZIP, "$", "the body is not exactly one whole gzip member")
DECOMPRESSED_TOO_LARGE: Final = Rejection(
    Code.DECOMPRESSED_TOO_LARGE, "$", f"a body has at most {limits.DECOMPRESSED_BYTES} bytes after decompression"
)

# JSON.
TOO_DEEP: Final = Rejection(Code.TOO_DEEP, "$", "objects and arrays are nested too deeply")
NUMBER_OUT_OF_RANGE: Final = Rejection(Code.NUMBER_OUT_OF_RANGE, "$", "a number is too large to be represented")
NOT_UTF8: Final = Rejection(Code.MALFORMED_JSON, "$", "the text is not UTF-8")

# A batch.
BATCH_NOT_AN_OBJECT: Final = Rejection(Code.WRONG_TYPE, "$", "a batch is an object with an array named events")
BATCH_WITHOUT_EVENTS: Final = Rejection(Code.MISSING_FIELD, "$.events", "this field must be given")
EVENTS_NOT_AN_ARRAY: Final = Rejection(Code.WRONG_TYPE, "$.events", "must be an array")
UNKNOWN_BATCH_FIELD: Final = Rejection(
    Code.UNKNOWN_FIELD, "$.*", "a batch has events and sent_at only; other fields belong to an event"
)
REPEATED_BATCH_FIELD: Final = Rejection(
    Code.REPEATED_FIELD, "$", "a batch has events and sent_at once each, their names without escapes"
)
EMPTY_BATCH: Final = Rejection(Code.EMPTY_BATCH, "$.events", "a batch has at least one event")
TOO_MANY_EVENTS: Final = Rejection(
    Code.TOO_MANY_EVENTS, "$.events", f"a batch has at most {limits.BATCH_EVENTS} events"
)

# A batch of Segment's API.
SEGMENT_BATCH_NOT_AN_OBJECT: Final = Rejection(Code.WRONG_TYPE, "$", "a batch is an object with an array named batch")
SEGMENT_BATCH_WITHOUT_CALLS: Final = Rejection(Code.MISSING_FIELD, "$.batch", "this field must be given")
SEGMENT_BATCH_NOT_AN_ARRAY: Final = Rejection(Code.WRONG_TYPE, "$.batch", "must be an array")
SEGMENT_ENVELOPE_TOO_LARGE: Final = Rejection(
    Code.TOO_LONG, "$", f"what a batch has besides its list has at most {limits.SEGMENT_ENVELOPE_BYTES} bytes"
)
SEGMENT_REPEATED_MEMBER: Final = Rejection(
    Code.REPEATED_FIELD, "$", "a batch has each member once, its name without escapes"
)
EMPTY_SEGMENT_BATCH: Final = Rejection(Code.EMPTY_BATCH, "$.batch", "a batch has at least one event")
TOO_MANY_CALLS: Final = Rejection(
    Code.TOO_MANY_EVENTS, "$.batch", f"a batch has at most {limits.SEGMENT_BATCH_EVENTS} events"
)

# A query string.
MALFORMED_QUERY: Final = Rejection(Code.MALFORMED_QUERY, "$", "the query string is not UTF-8")
REPEATED_PARAMETER: Final = Rejection(Code.REPEATED_FIELD, "$", "a parameter is given more than once")
TOO_MANY_PARAMETERS: Final = Rejection(
    Code.TOO_MANY_PROPERTIES,
    "$.properties",
    f"at most {limits.PROPERTIES} properties, parameters without a meaning included",
)

# An event.
EVENT_TOO_LARGE: Final = Rejection(Code.EVENT_TOO_LARGE, "$", f"an event has at most {limits.EVENT_BYTES} bytes")
EVENT_NOT_AN_OBJECT: Final = Rejection(Code.WRONG_TYPE, "$", "an event is an object")
RECORD_TOO_LARGE: Final = Rejection(Code.RECORD_TOO_LARGE, "$", "the event is larger than the brokers take")

# Too many at once.
RATE_LIMITED: Final = Rejection(
    Code.RATE_LIMITED,
    "$",
    "the source, or this address, may not send as many events: send all of them again after Retry-After, ids unchanged",
)

TOO_MANY_VALIDATIONS: Final = Rejection(
    Code.RATE_LIMITED,
    "$",
    f"at most {limits.VALIDATED_EVENTS_PER_SECOND} events a second are validated here, of all sources: try again after "
    "Retry-After",
)

# Our own trouble.
UNAVAILABLE: Final = Rejection(Code.UNAVAILABLE, "$", "the events could not be stored: send them again, ids unchanged")
PARTLY_UNAVAILABLE: Final = Rejection(
    Code.UNAVAILABLE, "$", "the events in unstored could not be stored: send these again, or all, ids unchanged"
)
INTERNAL: Final = Rejection(
    Code.INTERNAL, "$", "something went wrong on our side: send the events again, ids unchanged"
)
