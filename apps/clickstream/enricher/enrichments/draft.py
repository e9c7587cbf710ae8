"""The click while it is being enriched: mutable, filled by one enrichment after the other, completed with its session.

A `Draft` has exactly `EnrichedClick`'s fields (a test keeps them equal) and is encoded as it is: copying forty fields
into a frozen record would cost more than decoding the click. The session fold reads it too.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from clickstream.contracts.clicks import PAGE_VIEW, EnrichedClick, Scalar

_encoder = msgspec.json.Encoder()


class Draft(msgspec.Struct, omit_defaults=True, gc=False):
    """What is known of a click so far. `late` is: older at its receipt than the pipeline's `lateAfter`."""

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

    def encode(self, session: str | None, *, late: bool) -> bytes:
        """The record value on enriched-clicks. `late`: every session that the click could belong to is closed."""
        self.session = session
        self.late = late or self.late
        return _encoder.encode(self)

    def finish(self, session: str | None, *, late: bool) -> EnrichedClick:
        """What `encode` writes, as the record that readers see."""
        self.session = session
        self.late = late or self.late
        return msgspec.convert(self, EnrichedClick, from_attributes=True)


Enrichment = Callable[[Draft], None]
"""One step of the flow: sets fields of the draft. Never raises for what a click may hold."""
