"""From a dead letter to the records that are sent again, or the reason why it still cannot be sent.

What a letter holds follows from its stage: events as a client sent them (`collect`), a raw click (`enrich`), an
enriched click or a session (`sink-…`). Each is checked by the rules that rejected it, so that nothing is sent that
would come back as a new letter. A click that goes through the pipeline again keeps its event id, source and time of
receipt: sent twice it is stored once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from clickstream.contracts.clicks import Click, decode_click, encode_click
from clickstream.contracts.dead_letters import KEPT_KEY_BYTES, BadRow
from clickstream.contracts.pipeline import Pipeline
from clickstream.dead_letters.letters import Letter
from clickstream.enrichment.validation import validate
from clickstream.sinks.records import Refused, read_record
from clickstream.sinks.validation import kept_ms
from clickstream.tracking_api.redaction import redaction_of
from clickstream.tracking_api.rejections import Rejection
from clickstream.tracking_api.validation.batch import parse_batch
from clickstream.tracking_api.validation.event import RequestContext, parse_event, parse_query
from clickstream.tracking_api.validation.segment import PATHS, Calls, reader_of
from clickstream.tracking_api.validation.segment_batch import SegmentBatch, parse_segment_batch

Patch = Callable[[Any], Any]
"""From a JSON value to the repaired one. Raises PatchError."""


class PatchError(Exception):
    """The patch does not apply to this letter; the message says why."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be produced."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Repair:
    """What a letter becomes: the records, and `why` (part of) it cannot be sent; `before` and `after` the patch.

    The two are the same bytes where the patch changes nothing.
    """

    records: list[Outgoing]
    why: str | None
    before: bytes
    after: bytes


def repair(letter: Letter, patch: Patch | None, pipeline: Pipeline) -> Repair:
    """The records that the letter becomes, after the patch if one is given. Raises nothing for what a letter holds."""
    before = after = letter.row.original
    if letter.cut:
        return Repair([], "only its first bytes were kept", before, after)
    if patch is not None:
        try:
            value = msgspec.json.decode(before)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Repair([], "it is no JSON, so that no patch can be applied", before, after)
        try:
            same, patched = msgspec.json.encode(value), msgspec.json.encode(patch(value))
        except PatchError as error:
            return Repair([], str(error), before, after)
        if patched != same:
            after = patched
    stage = letter.row.stage
    if stage == "collect":
        records, why = _collected(letter.row, after, pipeline)
    elif stage == "enrich":
        records, why = _raw(letter.row, after, pipeline)
    elif stage.startswith("sink-"):
        records, why = _enriched(letter, after, pipeline)
    else:
        records, why = [], f"records of the stage {stage} are not sent again"
    return Repair(records, why, before, after)


def _collected(row: BadRow, text: bytes, pipeline: Pipeline) -> tuple[list[Outgoing], str | None]:
    found: list[Click | Rejection]
    context = RequestContext(
        source=row.source,
        received_at=row.received_at,
        redaction=redaction_of(pipeline.tracking_api.privacy),
    )
    if row.endpoint in PATHS:
        found = _calls(row.endpoint, text, context)
    elif text.lstrip()[:1] != b"{":
        found = [parse_query(text, context)]
    else:
        batch = parse_batch(text)
        if isinstance(batch, Rejection):
            found = [parse_event(text, context)]
        else:
            if batch.sent_at is not None:
                context = replace(context, sent_at=batch.sent_at)
            found = [parse_event(event, context) for event in batch.events]
    rejected = [f"{each.code}: {each.path}: {each.message}" for each in found if isinstance(each, Rejection)]
    records = []
    for click in found:
        if isinstance(click, Click):
            # The letter holds its source and time of receipt: what the enricher would reject for these is not sent.
            made, why = _raw(row, encode_click(click), pipeline)
            records += made
            rejected += [] if why is None else [why]
    return records, rejected[0] if rejected else None


def _calls(endpoint: str, text: bytes, context: RequestContext) -> list[Click | Rejection]:
    """What a request to Segment's API holds, or one of its batch's calls."""
    kind = PATHS[endpoint]
    batch = parse_segment_batch(text) if kind is None else None
    if not isinstance(batch, SegmentBatch):
        return [Calls(context, kind).read(text)]
    reader = reader_of(batch, context)
    return [reader.read(call, number) for number, call in enumerate(batch.calls)]


def _raw(row: BadRow, value: bytes, pipeline: Pipeline) -> tuple[list[Outgoing], str | None]:
    click = validate(decode_click(value, row.received_at), value, row.received_at)
    if isinstance(click, BadRow):
        return [], f"{click.code}: {click.path}: {click.reason}"
    return [_click_record(click, pipeline)], None


def _click_record(click: Click, pipeline: Pipeline) -> Outgoing:
    key = click.session_id if pipeline.enricher.group_by == "session_id" else click.user_id
    return Outgoing(pipeline.names.raw_clicks, key.encode(), encode_click(click))


def _enriched(letter: Letter, value: bytes, pipeline: Pipeline) -> tuple[list[Outgoing], str | None]:
    names, origin = pipeline.names, letter.row.origin
    if origin is None or origin.topic not in {names.enriched_clicks, names.sessions}:
        return [], "it does not say which topic it came from"
    if origin.key is None or len(origin.key) >= KEPT_KEY_BYTES:
        return [], "its key was not kept"
    content = None if not value and origin.topic == names.sessions else value  # no value: a tombstone
    sinks = (pipeline.sinks.elasticsearch, pipeline.sinks.postgres)
    kept = kept_ms(pipeline, *(sink.retention for sink in sinks if sink is not None))
    found = read_record(names, origin, content, letter.time_ms, kept)
    if isinstance(found, Refused):
        return [], f"{found.code}: {found.path}: {found.reason}"
    return [Outgoing(origin.topic, origin.key, content, origin.headers)], None
