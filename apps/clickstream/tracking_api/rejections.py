"""Why something was refused: a code out of a closed list, a JSON path, and a sentence that never quotes the input.

Codes are a promise to clients and label a metric, so the list is closed; each code has exactly one status for a request.
A path names only fields that the contract knows: a client's own field names are input too, and input is never echoed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Code(StrEnum):
    """What was wrong."""

    MISSING_KEY = "missing_key"
    UNKNOWN_KEY = "unknown_key"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
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
    EMPTY = "empty"
    TOO_LONG = "too_long"
    BAD_TIMESTAMP = "bad_timestamp"
    NOT_FLAT = "not_flat"
    TOO_MANY_PROPERTIES = "too_many_properties"
    INTEGER_OUT_OF_RANGE = "integer_out_of_range"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


STATUS: Final[dict[Code, int]] = dict.fromkeys(Code, 422) | {
    Code.MISSING_KEY: 401,
    Code.UNKNOWN_KEY: 403,
    Code.ORIGIN_NOT_ALLOWED: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
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
    Code.INTERNAL: 500,
}


@dataclass(frozen=True, slots=True)
class Rejection:
    """One refusal. `path` is a JSON path into the request's body, `$` for all of it."""

    code: Code
    path: str
    message: str

    @property
    def status(self) -> int:
        """The HTTP status of a request that is refused for this."""
        return STATUS[self.code]

    def inside(self, place: str) -> Rejection:
        """The same refusal, its path seen from a document in which the event lies at `place` (`$.events[3]`)."""
        return Rejection(self.code, place + self.path[1:], self.message)
