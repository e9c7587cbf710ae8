"""What would become of the events of a request: the answer of `/v1/validate`. Nothing is stored.

No rule is written here. A request is parsed, and its answer made, by the endpoint that it is for; a record by
`Records`; and what the enricher would find by reading that record as the enricher does (`enrichment`). What depends on
other clicks or on servers cannot be told, and a verdict says so.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal

import msgspec

from clickstream.contracts.clicks import Click, EnrichedClick
from clickstream.contracts.dead_letters import BadRow
from clickstream.contracts.pipeline import Pipeline
from clickstream.contracts.times import iso_day, iso_time
from clickstream.enrichment.flow import Flow
from clickstream.enrichment.funnels import FunnelBook
from clickstream.enrichment.join import KeyReader
from clickstream.runtime.geoip import CountryOf
from clickstream.tracking_api import limits
from clickstream.tracking_api.answers import Answer
from clickstream.tracking_api.hints import HINTS
from clickstream.tracking_api.rate_limits import Limit, ValidationLimit
from clickstream.tracking_api.records import Record
from clickstream.tracking_api.rejections import Rejection

TIMES: Final = ("event_time",)
_OF_STATE: Final = {"session", "client_session_id", "joins"}
FOUND: Final = tuple(
    name
    for name in EnrichedClick.__struct_fields__
    if name in {"ip", "country"} or name not in {*Click.__struct_fields__, *_OF_STATE}
)
"""The fields of an enriched click that are found out without any state; those in `TIMES` are told as RFC 3339."""


class LimitLeft(msgspec.Struct, frozen=True, gc=False):
    """How many events a limit would still take, once these are sent."""

    limit: Limit
    left: int


class AccessVerdict(msgspec.Struct, frozen=True):
    """Whose request it is: a write key, an origin and a limit that refuse are answered as they would be in earnest."""

    source: str
    origin: Literal["none", "allowed"]
    rate_limits: list[LimitLeft]


class EventError(msgspec.Struct, frozen=True, gc=False):
    """The first thing that is wrong with an event; `path` is a JSON path into it, or into a body without events."""

    code: str
    path: str
    message: str
    hint: str


class RecordVerdict(msgspec.Struct, frozen=True, gc=False):
    """The record on raw-clicks; `bytes` are those of value and headers."""

    key: str
    key_bytes: int
    bytes: int


class FunnelStep(msgspec.Struct, frozen=True, gc=False):
    """A step of a funnel, counted from 1, whose page the click is a view of."""

    funnel: str
    step: int
    name: str


class JoinKey(msgspec.Struct, frozen=True, gc=False):
    """The key by which a joined topic would be asked for a row."""

    join: str
    key: str


class EnrichedVerdict(msgspec.Struct, frozen=True):
    """What the enricher would find. `clock_moved_ms`: event time less the client's own timestamp.

    `other_day`: it would be stored under another day than that of its receipt.
    """

    fields: dict[str, Any]
    clock_moved_ms: int
    other_day: bool
    funnel_steps: list[FunnelStep]
    join_keys: list[JoinKey]


class EventVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What would become of one event: either `error`, or `record` and `enriched` (or why the enricher refuses it).

    `left_out`: the answer is too large already for what the enricher would find.
    """

    index: int
    accepted: bool
    error: EventError | None = None
    dead_letter_bytes: int | None = None
    record: RecordVerdict | None = None
    enriched: EnrichedVerdict | None = None
    refused_by_enricher: EventError | None = None
    left_out: bool = False


class NotTold(msgspec.Struct, frozen=True, gc=False):
    """Something that a verdict cannot tell, and what it depends on."""

    what: str
    depends_on: str


class Verdict(msgspec.Struct, frozen=True):
    """The whole answer. `endpoint` would answer with `status` and `answer`. `events` are EventVerdicts."""

    endpoint: str
    status: int
    answer: msgspec.Raw
    access: AccessVerdict
    events: list[msgspec.Raw]
    not_told: tuple[NotTold, ...]


Judged = tuple[int, bytes]
"""The index of an event in its request, and its verdict as JSON."""

NOT_TOLD: Final = (
    NotTold(
        "duplicate",
        "whether the enricher or a store has a click of this source, grouping key (the record's key) and event_id",
    ),
    NotTold("session", "the other clicks of the grouping key; how far a session gets in a funnel, too"),
    NotTold("late", "fields.late is by the click's own age; one whose session has closed is late as well"),
    NotTold("joins", "the rows that the joined topics have by then"),
    NotTold("delivery", "whether Kafka takes the record: else unavailable (503), or record_too_large (413)"),
    NotTold("dead_letter", "whether the source's budget of dead letters covers it"),
)


class Validator:
    """Judges events by the pipeline's own rules. Belongs to the event loop.

    Its user agents' rules cost a quarter of a second and 25 MB, so they are made when somebody asks for the first time,
    in another thread. One event is judged at a time, whoever asks, and others have the event loop after each.
    """

    def __init__(self, pipeline: Pipeline, country_of: CountryOf) -> None:
        self.limit = ValidationLimit()
        self._pipeline = pipeline
        self._country_of = country_of
        self._turn = asyncio.Lock()
        self._flow: Flow | None = None
        self._funnels = FunnelBook(pipeline.funnels, limits.VALIDATION_CACHED)
        self._steps = {funnel.name: funnel.steps for funnel in pipeline.funnels}
        self._join_keys = KeyReader(pipeline.enricher.joins)

    async def judge(self, records: list[tuple[int, Record]], received_at: int) -> list[Judged]:
        """The verdicts on accepted events, given as the records that would be written, by index in the request."""
        verdicts: list[Judged] = []
        size = 0
        async with self._turn:
            if records and self._flow is None:
                self._flow = await asyncio.to_thread(self._make_flow)
            for index, record in records:
                written = _written(record)
                if size > limits.VERDICT_BYTES:
                    found = EventVerdict(index, accepted=True, record=written, left_out=True)
                else:
                    found = self._accepted(index, record, written, received_at)
                text = msgspec.json.encode(found)
                size += len(text)
                verdicts.append((index, text))
                await asyncio.sleep(0)
        return verdicts

    def _make_flow(self) -> Flow:
        tables: dict[str, dict[str, Any]] = {join.name: {} for join in self._pipeline.enricher.joins}
        return Flow(self._pipeline, self._country_of, tables, limits.VALIDATION_CACHED)

    def _accepted(self, index: int, record: Record, written: RecordVerdict, received_at: int) -> EventVerdict:
        assert self._flow is not None
        # The brokers' time is not known; it is that of the receipt, or some milliseconds later.
        found = self._flow.enrich(record.value, received_at)
        if isinstance(found, BadRow):
            reason = EventError(found.code, found.path, found.reason, "")
            return EventVerdict(index, accepted=True, record=written, refused_by_enricher=reason)
        return EventVerdict(index, accepted=True, record=written, enriched=self._enriched(found))

    def _enriched(self, click: EnrichedClick) -> EnrichedVerdict:
        fields = {name: getattr(click, name) for name in FOUND}
        return EnrichedVerdict(
            fields | {name: iso_time(fields[name]) for name in TIMES},
            click.event_time - click.timestamp,
            click.storage_day != iso_day(click.received_at),
            [FunnelStep(name, step, self._steps[name][step - 1].name) for name, step in self._funnels.steps_of(click)],
            [JoinKey(name, key) for name, key in self._join_keys(click.page_path)],
        )


def rejected(index: int, rejection: Rejection, dead_letter: Record) -> Judged:
    """The verdict on an event that is rejected, which would leave this dead letter behind."""
    error = EventError(rejection.code, rejection.path, rejection.message, HINTS.get(rejection.code, ""))
    verdict = EventVerdict(index, accepted=False, error=error, dead_letter_bytes=dead_letter.size)
    return index, msgspec.json.encode(verdict)


def encode(endpoint: str, answer: Answer, access: AccessVerdict, events: list[Judged]) -> bytes:
    """The answer's JSON text; `answer` is what the endpoint would answer."""
    ordered = [msgspec.Raw(text) for _, text in sorted(events)]
    return msgspec.json.encode(Verdict(endpoint, answer.status, msgspec.Raw(answer.body), access, ordered, NOT_TOLD))


def _written(record: Record) -> RecordVerdict:
    assert record.key is not None, "clicks have keys"
    return RecordVerdict(record.key.decode(), len(record.key), record.size)
