r"""Records as lines of CSV for COPY, and the statements that take them from there.

A JSON array is nearly a line of CSV for PostgreSQL (QUOTE ", ESCAPE \, NULL null): strings are quoted, quotes and
backslashes are escaped the same way, null, true and numbers stand bare. Only JSON's other escapes (\n, \u0007) differ.
So a line is encoded by msgspec in one call, and only a record with a backslash in it takes the slow way.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

import msgspec

from clickstream.contracts.session_records import Retraction, Session, storage_day_of
from clickstream.sinks.records import Record, StoredClick

_encode = msgspec.json.Encoder().encode

COPY_FORMAT: Final = "(FORMAT csv, NULL 'null', QUOTE '\"', ESCAPE '\\')"

CLICK_SCALARS: Final[dict[str, str]] = {
    "event_id": "text",
    "timestamp": "bigint",
    "event_time": "bigint",
    "received_at": "bigint",
    "storage_day": "text",
    "user_id": "text",
    "client_session_id": "text",
    "page": "text",
    "page_path": "text",
    "page_category": "text",
    "source": "text",
    "type": "text",
    "session": "text",
    "late": "boolean",
    "bot": "boolean",
    "bot_kind": "text",
    "page_host": "text",
    "title": "text",
    "referrer": "text",
    "referrer_host": "text",
    "medium": "text",
    "referrer_source": "text",
    "campaign": "text",
    "campaign_source": "text",
    "campaign_medium": "text",
    "campaign_term": "text",
    "campaign_content": "text",
    "user_agent": "text",
    "browser": "text",
    "browser_version": "text",
    "os": "text",
    "device": "text",
    "ip": "inet",
    "country": "text",
}
"""Fields of a click and their types in the staging table."""

CLICK_JSON: Final = ("joins", "properties")

SESSION_SCALARS: Final[dict[str, str]] = {
    "id": "text",
    "version": "bigint",
    "storage_day": "text",
    "recorded_at": "bigint",
    "merged_into": "text",
    "user_id": "text",
    "start_ms": "bigint",
    "end_ms": "bigint",
    "events": "integer",
    "page_views": "integer",
    "entry_page": "text",
    "exit_page": "text",
    "referrer_host": "text",
    "referrer_source": "text",
    "medium": "text",
    "campaign": "text",
    "device": "text",
    "country": "text",
    "bot": "boolean",
    "bounce": "boolean",
    "closed": "boolean",
}

SESSION_JSON: Final = ("funnels", "merged_ids")

_click_scalars = attrgetter(*CLICK_SCALARS)
_session_scalars = attrgetter(*tuple(SESSION_SCALARS)[8:])


def click_line(click: StoredClick) -> bytes:
    """The click as a line for `staged_clicks`."""
    return b"%b,%b,%b\n" % (
        _scalar_fields(_click_scalars(click)),
        _json_field(click.joins),
        _json_field(click.properties),
    )


def session_line(record: Record) -> bytes:
    """A session or a retraction as a line for `staged_sessions`."""
    content = record.content
    place: tuple[Any, ...]
    match content:
        case Session():
            place = (content.id, content.version, storage_day_of(content.id), record.time_ms, None)
            scalars = (*place, content.user_id, content.start, content.end, *_session_scalars(content))
            funnels, merged = _json_field(content.funnels), _json_field(content.merged_ids)
        case Retraction():
            place = (content.id, content.version, storage_day_of(content.id), record.time_ms, content.merged_into)
            scalars = place + (None,) * (len(SESSION_SCALARS) - len(place))
            funnels = merged = b"null"
        case _:
            msg = "not a session record"
            raise TypeError(msg)
    return b"%b,%b,%b\n" % (_scalar_fields(scalars), funnels, merged)


def _scalar_fields(values: tuple[Any, ...]) -> bytes:
    line = _encode(values)
    if b"\\" in line:
        return ",".join([_slow_field(value) for value in values]).encode()
    return line[1:-1]


def _slow_field(value: str | float | None) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _encode(value).decode()


def _json_field(value: Any) -> bytes:
    return b'"' + _encode(value).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
