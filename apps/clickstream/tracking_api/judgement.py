"""A request's body judged as a whole: which of its events are clicks, which are refused, and with which bytes.

Pure. `Rejection` stands for a body in which no events could be told apart; its dead letter is the body as it was received.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from clickstream.contracts.clicks import Click
from clickstream.tracking_api.envelope import read_batch
from clickstream.tracking_api.events import Circumstances, read_event
from clickstream.tracking_api.rejections import Code, Rejection


class RefusedEvent(NamedTuple):
    """One event that is none: its place in the batch, the client's bytes, the reason."""

    place: int
    original: bytes
    rejection: Rejection


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is in a body. `clicks` keep their place in the batch; `originals` are the client's bytes of all events."""

    clicks: list[tuple[int, Click]]
    refused: list[RefusedEvent]
    originals: list[bytes]


def judge_one(text: bytes, circumstances: Circumstances) -> Judgement | Rejection:
    """The one event that is the whole text."""
    match read_event(text, circumstances):
        case Click() as click:
            return Judgement([(0, click)], [], [text])
        case Rejection(code=Code.MALFORMED_JSON) as malformed:
            return malformed
        case Rejection() as rejection:
            return Judgement([], [RefusedEvent(0, text, rejection)], [text])


def judge_batch(text: bytes, circumstances: Circumstances) -> Judgement | Rejection:
    """The events of a batch."""
    batch = read_batch(text)
    if isinstance(batch, Rejection):
        return batch
    if batch.sent_at is not None:
        circumstances = replace(circumstances, sent_at=batch.sent_at)
    judgement = Judgement([], [], batch.events)
    for index, event in enumerate(batch.events):
        match read_event(event, circumstances):
            case Click() as click:
                judgement.clicks.append((index, click))
            case Rejection() as rejection:
                judgement.refused.append(RefusedEvent(index, event, rejection))
    return judgement
