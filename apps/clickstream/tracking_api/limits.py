"""The limits of what the API accepts: validation, the OpenAPI document and the tests read them here.

Bytes are bytes of UTF-8. The lengths of ids and pages come from PostgreSQL, whose index rows have a limit.
"""

from __future__ import annotations

from typing import Final

EVENT_ID_BYTES: Final = 64
ID_BYTES: Final = 256
PAGE_BYTES: Final = 2_048
TYPE_BYTES: Final = 256
STRING_BYTES: Final = 8_192
USER_AGENT_BYTES: Final = 1_024
"""A longer user agent is cut rather than rejected: the page cannot help it."""

PROPERTIES: Final = 64
PROPERTY_NAME_BYTES: Final = 256
DEPTH: Final = 16
"""Nested objects and arrays of one event, the event itself included."""

EVENT_BYTES: Final = 32 * 1_024
LEAST_EVENT_BYTES: Final = 80
"""An event with the names of its required fields and next to nothing in them has some more."""
BATCH_EVENTS: Final = 500
SEGMENT_BATCH_EVENTS: Final = 2_500
"""Segment's own limit."""
SEGMENT_ENVELOPE_BYTES: Final = 2 * 1_024
"""Of a batch of Segment's API without its list: its context is merged into each event."""
BODY_BYTES: Final = 512 * 1_024
"""On the wire, so compressed where the client compresses."""
DECOMPRESSED_BYTES: Final = 2 * 1_024 * 1_024

HEAD_BYTES: Final = 64 * 1_024
"""Request line and headers; the pixel's event is in the request line."""

HEAD_SECONDS: Final = 10.0
BODY_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 30.0
"""How long a client may leave more answers unread than the kernel and 64 KiB hold."""
DELIVERY_SECONDS: Final = 9.0
"""How long an answer waits for the brokers; the producer itself gives up a second earlier."""
RETRY_AFTER_SECONDS: Final = 2

VALIDATED_EVENTS_PER_SECOND: Final = 50
"""Events that `/v1/validate` judges, of all sources; `BATCH_EVENTS` at once. Judging may cost more than storing."""
VERDICT_BYTES: Final = 4 * 1_024 * 1_024
"""Of verdicts in one answer; once they are more, those on further events leave out what the enricher would find."""
VALIDATION_CACHED: Final = 500
"""Values that each cache of its enrichments keeps."""
