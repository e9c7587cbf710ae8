"""The click as it travels through Kafka: `Click` on raw-clicks, `EnrichedClick` on enriched-clicks, both JSON objects.

A record that is no click is data too: `decode_click` answers `Click | BadRow` and never raises for bad bytes.
The HTTP form of an event (RFC 3339 times, unknown fields) is the tracking API's business, not this module's.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.times import MAX_MS

PAGE_VIEW: Final = "page_view"

EventId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
SourceName = Annotated[str, msgspec.Meta(max_length=256)]
Page = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=MAX_MS)]
Scalar = str | int | float | bool | None


class Click(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One collected click. Times are ms since the epoch, UTC.

    `timestamp` is the client's own claim, `received_at` the tracking API's clock, `source` the source whose write key
    it came with. `ip` is anonymized unless the pipeline disables that; `country` (ISO 3166-1) was looked up by the
    whole address where the tracking API has a database. `properties` is flat.
    """

    event_id: EventId
    timestamp: Millis
    user_id: Id
    session_id: Id
    page: Page
    received_at: Millis
    source: SourceName = ""
    type: str = PAGE_VIEW
    sent_at: Millis | None = None
    referrer: str | None = None
    user_agent: str | None = None
    ip: str | None = None
    title: str | None = None
    country: str | None = None
    properties: dict[str, Scalar] = {}


class EnrichedClick(msgspec.Struct, omit_defaults=True, gc=False):
    """One click with what was found out about it; mutable, since the enrichments fill it.

    `session` is None for a click that came too late for any session.

    `client_session_id` is the browser's own session id, `session` the one that the enricher gave. `joins` maps the
    name of a join to the joined row's fields. `storage_day` is `YYYY-MM-DD` or `undated`.
    """

    event_id: str
    timestamp: int
    event_time: int
    received_at: int
    storage_day: str
    user_id: str
    client_session_id: str
    page: str
    page_path: str
    page_category: str
    source: str = ""
    type: str = PAGE_VIEW
    session: str | None = None
    late: bool = False
    bot: bool = False
    bot_kind: str | None = None
    page_host: str | None = None
    title: str | None = None
    referrer: str | None = None
    referrer_host: str | None = None
    medium: str = "direct"
    referrer_source: str | None = None
    campaign: str | None = None
    campaign_source: str | None = None
    campaign_medium: str | None = None
    campaign_term: str | None = None
    campaign_content: str | None = None
    user_agent: str | None = None
    browser: str | None = None
    browser_version: str | None = None
    os: str | None = None
    device: str = "other"
    ip: str | None = None
    country: str | None = None
    joins: dict[str, dict[str, Scalar]] = {}
    properties: dict[str, Scalar] = {}

    def finish(self, session: str | None, *, late: bool) -> EnrichedClick:
        """The same click, in its session. `late`: every session that it could belong to is closed."""
        self.session = session
        self.late = late or self.late
        return self


_click_decoder = msgspec.json.Decoder(Click)
_encoder = msgspec.json.Encoder()


def encode_click(click: Click) -> bytes:
    """The record value on raw-clicks."""
    return _encoder.encode(click)


def decode_click(value: bytes | None, received_at: int) -> Click | BadRow:
    """The click in a raw-clicks record value, or the reason why it is none.

    `received_at` (ms) is for the dead letter.
    """
    if value is None:
        return BadRow(b"", "enrich", "empty_record", "the record has no value", "$", received_at)
    try:
        return _click_decoder.decode(value)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        return BadRow(value, "enrich", "invalid_click", reason, path.strip("`") or "$", received_at)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return BadRow(value, "enrich", "malformed_json", type(error).__name__, "$", received_at)


def encode_enriched(click: EnrichedClick) -> bytes:
    """The record value on enriched-clicks."""
    return _encoder.encode(click)
