"""Records as Elasticsearch documents: one bulk action (two lines of NDJSON) each.

Clicks are created once (`_id` = event_id in the index of the storage day). A second create is a conflict, which is the
deduplication, unless the document there is another click's: two clicks are one only if source, grouping key and
event_id are equal. Then the click has a second id, which is a function of all three. Sessions are indexed under an
external version, so that an older record never overwrites a newer one. A retraction is such a document too, a small
marker that the alias hides: Elasticsearch forgets the versions of deleted documents after a minute
(`index.gc_deletes`), and a paused enricher may write an older version much later.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from clickstream.contracts.names import Names
from clickstream.contracts.session_records import Retraction, Session, funnel_step, storage_day_of
from clickstream.sinks.records import Record, StoredClick

_encode = msgspec.json.Encoder().encode


class SessionDocument(msgspec.Struct, frozen=True):
    """A session in Elasticsearch. `funnel_steps` lists each reached step (`funnel_step`), so that terms count them."""

    id: str
    version: int
    storage_day: str
    retracted: bool
    user_id: str
    start: int
    end: int
    duration: int
    events: int
    page_views: int
    entry_page: str
    exit_page: str
    referrer_host: str | None
    referrer_source: str | None
    medium: str
    campaign: str | None
    device: str
    country: str | None
    bot: bool
    bounce: bool
    closed: bool
    funnels: dict[str, int]
    funnel_steps: list[str]
    merged_ids: list[str]


class RetractedDocument(msgspec.Struct, frozen=True):
    """The marker that a session was absorbed. `retracted_at`: ms, the record's time, for the retention."""

    id: str
    version: int
    storage_day: str
    retracted: bool
    merged_into: str
    retracted_at: int


def index_of(record: Record, names: Names) -> str:
    """The index that a record belongs to."""
    content = record.content
    if isinstance(content, StoredClick):
        return names.clicks_index(content.storage_day)
    return names.sessions_index(storage_day_of(content.id))


def second_id(click: StoredClick, grouping_key: str) -> str:
    """The id of a click whose event_id is taken by another click; longer than any event_id, so that it is free."""
    identity = _encode([click.source, grouping_key, click.event_id])
    return f"{click.event_id}~{sha256(identity).hexdigest()}"


def action(record: Record, names: Names, click_id: str | None = None) -> bytes:
    """The bulk action of a record: a line that says what to do and a line with the document, each ended.

    `click_id` is a click's id where it is not its event_id.
    """
    content = record.content
    match content:
        case StoredClick():
            order: object = {"create": {"_index": index_of(record, names), "_id": click_id or content.event_id}}
            document: object = content
        case Session():
            order = _versioned(content.id, content.version, names)
            document = _session(content)
        case Retraction():
            order = _versioned(content.id, content.version, names)
            document = RetractedDocument(
                content.id, content.version, storage_day_of(content.id), True, content.merged_into, record.time_ms
            )
    return b"%b\n%b\n" % (_encode(order), _encode(document))


def replacing(click: StoredClick, index: str, click_id: str, version: int) -> bytes:
    """The bulk action that replaces a click's document by the replayed one, unless a later replay has done so."""
    order = {"index": {"_index": index, "_id": click_id, "version": version, "version_type": "external"}}
    return b"%b\n%b\n" % (_encode(order), _encode(click))


def _versioned(session_id: str, version: int, names: Names) -> object:
    index = names.sessions_index(storage_day_of(session_id))
    return {"index": {"_index": index, "_id": session_id, "version": version, "version_type": "external"}}


def _session(session: Session) -> SessionDocument:
    return SessionDocument(
        id=session.id,
        version=session.version,
        storage_day=storage_day_of(session.id),
        retracted=False,
        user_id=session.user_id,
        start=session.start,
        end=session.end,
        duration=session.duration,
        events=session.events,
        page_views=session.page_views,
        entry_page=session.entry_page,
        exit_page=session.exit_page,
        referrer_host=session.referrer_host,
        referrer_source=session.referrer_source,
        medium=session.medium,
        campaign=session.campaign,
        device=session.device,
        country=session.country,
        bot=session.bot,
        bounce=session.bounce,
        closed=session.closed,
        funnels=session.funnels,
        funnel_steps=[
            funnel_step(name, step) for name, furthest in session.funnels.items() for step in range(1, furthest + 1)
        ],
        merged_ids=session.merged_ids,
    )
