"""What is in a request, judged as a whole: which of its events are clicks, which are refused, and with which bytes.

`Rejection` stands for a body in which no events could be told apart; its dead letter is the whole body. A batch is
judged in slices, between which the event loop has its turn: the largest one costs more time than others should wait.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from clickstream.contracts.clicks import Click
from clickstream.contracts.urls import bytes_without_credentials
from clickstream.tracking_api.envelope import read_batch
from clickstream.tracking_api.events import Circumstances, read_event
from clickstream.tracking_api.pixel import read_pixel
from clickstream.tracking_api.rejections import Code, Rejection

_SLICE_BYTES: Final = 32 * 1_024
_SLICE_EVENTS: Final = 50
_AT_ONCE_BYTES: Final = 64 * 1_024


class RefusedEvent(NamedTuple):
    """One event that is none: its place in the batch, the client's bytes (less credentials in URLs), the reason."""

    place: int
    original: bytes
    rejection: Rejection


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is in a request. `clicks` keep their place in the batch; `originals` are the client's bytes of all events."""

    clicks: list[tuple[int, Click]]
    refused: list[RefusedEvent]
    originals: list[bytes]

    async def add(self, place: int, judged: Click | Rejection) -> None:
        """Note what became of the event at this place."""
        if isinstance(judged, Click):
            self.clicks.append((place, judged))
        else:
            self.refused.append(await self.refusal(place, judged))

    async def refusal(self, place: int, rejection: Rejection) -> RefusedEvent:
        """The event at this place, refused."""
        return RefusedEvent(place, await dead_letter_of(self.originals[place]), rejection)


async def judge_event(text: bytes, circumstances: Circumstances) -> Judgement | Rejection:
    """The one event that is the whole text."""
    judged = read_event(text, circumstances)
    if isinstance(judged, Rejection) and judged.code is Code.MALFORMED_JSON:
        return judged
    judgement = Judgement([], [], [text])
    await judgement.add(0, judged)
    return judgement


async def judge_pixel(query: bytes, circumstances: Circumstances) -> Judgement:
    """The one event that is a query string (without the write key)."""
    judgement = Judgement([], [], [query])
    await judgement.add(0, read_pixel(query, circumstances))
    return judgement


async def judge_batch(text: bytes, circumstances: Circumstances) -> Judgement | Rejection:
    """The events of a batch."""
    await _turn(text)
    batch = read_batch(text)
    await _turn(text)
    if isinstance(batch, Rejection):
        return batch
    if batch.sent_at is not None:
        circumstances = replace(circumstances, sent_at=batch.sent_at)
    judgement = Judgement([], [], batch.events)
    judged_bytes = judged_events = 0
    for place, event in enumerate(batch.events):
        if judged_bytes > _SLICE_BYTES or judged_events > _SLICE_EVENTS:
            await asyncio.sleep(0)
            judged_bytes = judged_events = 0
        await judgement.add(place, read_event(event, circumstances))
        judged_bytes += len(event)
        judged_events += 1
    return judgement


async def _turn(text: bytes) -> None:
    """Let others have their turn before the next step, where the steps of a text are long ones."""
    if len(text) > _AT_ONCE_BYTES:
        await asyncio.sleep(0)


async def dead_letter_of(original: bytes) -> bytes:
    """What is kept of refused bytes: all of them, less credentials in URLs."""
    if len(original) <= _AT_ONCE_BYTES:
        return bytes_without_credentials(original)
    return await asyncio.to_thread(bytes_without_credentials, original)
