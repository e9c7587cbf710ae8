"""A whole request: which of its events are clicks, which are rejected, and the bytes that the client sent for each.

A `Rejection` in place of a `ParsedRequest` means that no events can be told apart; its dead letter is the whole body.
A batch is parsed in slices, between which the event loop runs other tasks: a large one takes longer than they should
wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from clickstream.contracts.clicks import Click
from clickstream.tracking_api.rejections import Rejection
from clickstream.tracking_api.validation.batch import parse_batch
from clickstream.tracking_api.validation.event import RequestContext, parse_event, parse_query
from clickstream.tracking_api.validation.segment import Calls, reader_of
from clickstream.tracking_api.validation.segment_batch import parse_segment_batch

_SLICE_BYTES: Final = 32 * 1_024
_SLICE_EVENTS: Final = 50
_AT_ONCE_BYTES: Final = 64 * 1_024
"""Longer texts are worth a switch to other tasks, or a thread."""


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """A rejected event: its index in the batch, what is kept of the client's bytes, and the reason."""

    index: int
    original: bytes
    rejection: Rejection


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """The events of a request: `clicks` with their indices in the batch; `originals` are the client's bytes of all.

    `kept`: what a dead letter keeps of such bytes.
    """

    clicks: list[tuple[int, Click]]
    rejected: list[RejectedEvent]
    originals: list[bytes]
    kept: Callable[[bytes], bytes]

    async def add(self, index: int, result: Click | Rejection) -> None:
        """Append the event at this index to the clicks or to the rejected ones."""
        if isinstance(result, Click):
            self.clicks.append((index, result))
        else:
            self.rejected.append(await self.rejected_event(index, result))

    async def rejected_event(self, index: int, rejection: Rejection) -> RejectedEvent:
        """The event at this index as a rejected one; appends nothing."""
        original = self.originals[index]
        if len(original) <= _AT_ONCE_BYTES:
            return RejectedEvent(index, self.kept(original), rejection)
        return RejectedEvent(index, await asyncio.to_thread(self.kept, original), rejection)


async def one_event(original: bytes, result: Click | Rejection, context: RequestContext) -> ParsedRequest:
    """A request with this one event, or with none that can be read."""
    parsed = ParsedRequest([], [], [original], context.kept)
    await parsed.add(0, result)
    return parsed


async def parse_event_request(text: bytes, context: RequestContext) -> ParsedRequest:
    """The one event that is the whole body."""
    return await one_event(text, parse_event(text, context), context)


async def parse_pixel_request(query: bytes, context: RequestContext) -> ParsedRequest:
    """The one event that is a query string (without the write key)."""
    return await one_event(query, parse_query(query, context), context)


async def parse_call_request(kind: str, text: bytes, context: RequestContext) -> ParsedRequest:
    """The one call of Segment's API that is the whole body, of a kind that its path says."""
    await _yield_if_long(text)
    return await one_event(text, Calls(context, kind).read(text), context)


async def parse_segment_batch_request(text: bytes, context: RequestContext) -> ParsedRequest | Rejection:
    """The calls of a batch of Segment's API."""
    await _yield_if_long(text)
    batch = parse_segment_batch(text)
    await _yield_if_long(text)
    if isinstance(batch, Rejection):
        return batch
    return await _parse_each(batch.calls, reader_of(batch, context).read, context)


async def parse_batch_request(text: bytes, context: RequestContext) -> ParsedRequest | Rejection:
    """The events of a batch."""
    await _yield_if_long(text)
    batch = parse_batch(text)
    await _yield_if_long(text)
    if isinstance(batch, Rejection):
        return batch
    if batch.sent_at is not None:
        context = replace(context, sent_at=batch.sent_at)
    return await _parse_each(batch.events, lambda event, _: parse_event(event, context), context)


async def _parse_each(
    events: list[bytes], parse: Callable[[bytes, int], Click | Rejection], context: RequestContext
) -> ParsedRequest:
    parsed = ParsedRequest([], [], events, context.kept)
    slice_bytes = slice_events = 0
    for index, event in enumerate(events):
        if slice_bytes > _SLICE_BYTES or slice_events > _SLICE_EVENTS:
            await asyncio.sleep(0)
            slice_bytes = slice_events = 0
        await parsed.add(index, parse(event, index))
        slice_bytes += len(event)
        slice_events += 1
    return parsed


async def _yield_if_long(text: bytes) -> None:
    if len(text) > _AT_ONCE_BYTES:
        await asyncio.sleep(0)
