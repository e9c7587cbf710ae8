"""What to do about a rejection: one sentence a code, for developers who try their events with `/v1/validate`."""

from __future__ import annotations

from typing import Final

from clickstream.tracking_api import limits
from clickstream.tracking_api.rejections import Code

HINTS: Final[dict[Code, str]] = {
    Code.DECOMPRESSED_TOO_LARGE: "Split the batch into several requests.",
    Code.UNSUPPORTED_MEDIA_TYPE: "Send Content-Type: application/json.",
    Code.UNSUPPORTED_ENCODING: "Send the body as it is, or gzip it and say so in one Content-Encoding header.",
    Code.MALFORMED_GZIP: "Compress the whole body once; do not cut it or append to it.",
    Code.MALFORMED_JSON: "Make the text with a JSON encoder: no comments, trailing commas or NaN; UTF-8.",
    Code.REPEATED_FIELD: "Give events and sent_at once each.",
    Code.UNKNOWN_FIELD: "Move the field into the events; there it is kept in properties.",
    Code.EMPTY_BATCH: "Send nothing where there are no events.",
    Code.TOO_MANY_EVENTS: f"Send at most {limits.BATCH_EVENTS} events in one request.",
    Code.EVENT_TOO_LARGE: "Leave out large properties; keep documents where they are and send their ids.",
    Code.TOO_DEEP: "Flatten nested objects and arrays before they are sent.",
    Code.MISSING_FIELD: "Give the field; null and an empty text count as missing.",
    Code.WRONG_TYPE: "Give a value of the type that the message names; numbers are not texts.",
    Code.EMPTY: "Give the property a name, or leave it out.",
    Code.TOO_LONG: "Shorten the text; lengths are bytes of UTF-8, so that é counts as two.",
    Code.BAD_CHARACTER: "Make ids of letters and digits, a UUID for example.",
    Code.BAD_TIMESTAMP: "Write the time as 2026-01-31T08:30:00.000Z: with T, with an offset, from 1970 on.",
    Code.NOT_FLAT: "Give each property a text, a number, true, false or null; name nested values one by one.",
    Code.TOO_MANY_PROPERTIES: f"Send at most {limits.PROPERTIES} properties, unknown fields included.",
    Code.INTEGER_OUT_OF_RANGE: "Send a number of more than 64 bits as a text.",
    Code.NUMBER_OUT_OF_RANGE: "Send a number that no float can hold as a text.",
}
"""By every code that `/v1/validate` can give an event."""
