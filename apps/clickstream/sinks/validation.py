"""What a click or a session record must satisfy to be handed to a store, beyond the types of its fields.

A topic may hold any bytes. Rejected here is what would harm more than the one record: what becomes part of the name of
an index or a partition, of an index row (2,704 bytes in PostgreSQL, 512 for an id in Elasticsearch), or the size of
something that a sink makes (a document has an entry for each step of a funnel).

To prevent thousands of day partitions, or rows that no retention ever deletes, times are compared with the brokers'
time of the record. Nothing happened after it; a click was received no longer before it than the store keeps clicks; and
its storage day is one that `storage_day` can give for a click that was received then (docs/adr/0004).
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from clickstream.contracts.clicks import EnrichedClick
from clickstream.contracts.durations import duration_ms
from clickstream.contracts.names import UNDATED
from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.session_records import Retraction, Session, storage_day_of
from clickstream.contracts.times import BELIEVED_FUTURE_MS, BELIEVED_PAST_MS, DAY_MS, MAX_MS, iso_day

MAX_EVENT_ID: Final = 64
MAX_KEY: Final = 256
"""Characters of a user id, a browser's session id, a source, a funnel's name."""
MAX_WORD: Final = 64
"""Characters of what is one of a few words: device, medium, country."""
MAX_SESSION_ID: Final = 256
MAX_SESSION_ID_BYTES: Final = 512
MAX_COUNT: Final = 2**31 - 1
MAX_VERSION: Final = 2**63 - 1
MAX_FUNNELS: Final = 1_000
MAX_STEP: Final = 32
"""As many steps as a funnel of a pipeline document may have."""
MAX_MERGED: Final = 10_000
_FIRST_YEAR: Final = 1970
CLOCKS_MS: Final = DAY_MS
"""The largest accepted difference of the clocks of brokers and pods. The enricher accepts a minute."""
_SEGMENT_MS: Final = 7 * DAY_MS
"""How much older than its retention a record may become: brokers delete whole segments (Kafka's `segment.ms`)."""

_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_days: dict[str, bool] = {}


class UnfitError(Exception):
    """The record is not fit to be stored: `reason` (without its content) and the JSON `path` of what is wrong."""

    def __init__(self, reason: str, path: str) -> None:
        super().__init__(reason)
        self.reason, self.path = reason, path


def kept_ms(pipeline: Pipeline, *retentions: str) -> int:
    """How long before its enriched record a click may have been received, in ms.

    That is the longest of the stores' `retentions` (what is older is deleted there within the hour), and the time that
    a raw click may have waited for the enricher. How far a sink lags behind does not count.
    """
    waited = duration_ms(pipeline.kafka.topics.raw_clicks.retention) + _SEGMENT_MS
    return max(map(duration_ms, retentions), default=0) + waited


def oldest_day(time_ms: int, kept: int) -> str:
    """The oldest storage day of a click that may be stored by a record of that time."""
    return iso_day(max(0, time_ms - kept - BELIEVED_PAST_MS))


def check_click(click: EnrichedClick, time_ms: int, kept: int) -> None:
    """`time_ms`: the record's own time; `kept`: see `kept_ms`. Raises UnfitError."""
    _length(click.event_id, 1, MAX_EVENT_ID, "event_id")
    _length(click.user_id, 0, MAX_KEY, "user_id")
    _length(click.client_session_id, 0, MAX_KEY, "client_session_id")
    _length(click.source, 0, MAX_KEY, "source")
    _within(click.timestamp, MAX_MS, "timestamp")
    _within(click.event_time, MAX_MS, "event_time")
    _within(click.received_at, MAX_MS, "received_at")
    if not is_storage_day(click.storage_day):
        reason = f"must be YYYY-MM-DD or {UNDATED}"
        raise UnfitError(reason, "$.storage_day")
    _not_after(click.received_at, time_ms, "received_at")
    _not_after(click.event_time, time_ms, "event_time")
    if click.storage_day == UNDATED:
        return
    if click.received_at < time_ms - kept:
        reason = "was received longer ago than the store keeps clicks"
        raise UnfitError(reason, "$.received_at")
    first = iso_day(max(0, click.received_at - BELIEVED_PAST_MS))
    if not first <= click.storage_day <= iso_day(min(MAX_MS, click.received_at + BELIEVED_FUTURE_MS)):
        reason = "must be within 30 days before and 2 days after received_at"
        raise UnfitError(reason, "$.storage_day")


def check_session(session: Session | Retraction, time_ms: int) -> None:
    """`time_ms`: the record's own time. Raises UnfitError."""
    _session_id(session.id, "$.id")
    day = storage_day_of(session.id)
    if not is_storage_day(day):
        reason = f"must start with a storage day (YYYY-MM-DD or {UNDATED})"
        raise UnfitError(reason, "$.id")
    if UNDATED != day > iso_day(min(MAX_MS, time_ms + CLOCKS_MS + BELIEVED_FUTURE_MS)):
        reason = "its storage day is more than 3 days after its record"
        raise UnfitError(reason, "$.id")
    if not 0 <= session.version <= MAX_VERSION:
        reason = "must be an offset"
        raise UnfitError(reason, "$.version")
    if isinstance(session, Retraction):
        _session_id(session.merged_into, "$.merged_into")
        return
    _within(session.end, MAX_MS, "end")
    _not_after(session.end, time_ms, "end")
    _within(session.start, session.end, "start")
    _within(session.events, MAX_COUNT, "events")
    _within(session.page_views, MAX_COUNT, "page_views")
    _length(session.user_id, 0, MAX_KEY, "user_id")
    for name in ("device", "medium", "country"):
        _length(getattr(session, name) or "", 0, MAX_WORD, name)
    _within(len(session.funnels), MAX_FUNNELS, "funnels")
    for name, step in session.funnels.items():
        _length(name, 0, MAX_KEY, "funnels")
        _within(step, MAX_STEP, "funnels[...]")
    _within(len(session.merged_ids), MAX_MERGED, "merged_ids")
    for merged in session.merged_ids:
        _session_id(merged, "$.merged_ids[...]")


def is_storage_day(text: str) -> bool:
    """Whether it is `undated` or a day of the calendar since 1970."""
    known = _days.get(text)
    if known is None:
        if len(_days) > 10_000:
            _days.clear()
        known = _days[text] = text == UNDATED or _is_date(text)
    return known


def _is_date(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        return date.fromisoformat(text).year >= _FIRST_YEAR
    except ValueError:
        return False


def _session_id(text: str, path: str) -> None:
    if not 1 <= len(text) <= MAX_SESSION_ID or len(text.encode()) > MAX_SESSION_ID_BYTES:
        reason = f"must have 1 to {MAX_SESSION_ID} characters, and at most {MAX_SESSION_ID_BYTES} bytes"
        raise UnfitError(reason, path)


def _not_after(moment: int, time_ms: int, field: str) -> None:
    if moment > time_ms + CLOCKS_MS:
        reason = "is more than a day after the record that has it"
        raise UnfitError(reason, f"$.{field}")


def _length(text: str, least: int, most: int, field: str) -> None:
    if not least <= len(text) <= most:
        reason = f"must have {least} to {most} characters"
        raise UnfitError(reason, f"$.{field}")


def _within(number: int, most: int, field: str) -> None:
    if not 0 <= number <= most:
        reason = "is larger than its limit, or negative"
        raise UnfitError(reason, f"$.{field}")
