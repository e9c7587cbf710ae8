"""The session record on the compacted sessions topic: key = session id, value = JSON object, no value = retracted.

`version` orders the records of one session: a store ignores a record whose version is not newer than the one it has.
A tombstone carries its version, and the id that took the session over, in headers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

VERSION_HEADER: Final = "version"
MERGED_INTO_HEADER: Final = "merged_into"


class Session(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One session as it is now. Times in ms since the epoch, UTC; `duration` = end − start in ms.

    `id` is stable: `<storage day of the first-seen click>-<hash>`, so `storage_day` never changes. `merged_ids` names
    every session that this one ever absorbed. `funnels` maps a funnel's name to the furthest step reached in order (0 =
    none, 1 = the first). `closed` sessions never change again. `bounce`: a single page view.
    """

    id: str
    user_id: str
    storage_day: str
    start: int
    end: int
    version: int
    events: int
    page_views: int
    entry_page: str
    exit_page: str
    medium: str
    device: str
    bot: bool = False
    bounce: bool = False
    closed: bool = False
    referrer_host: str | None = None
    referrer_source: str | None = None
    campaign: str | None = None
    country: str | None = None
    funnels: dict[str, int] = {}
    merged_ids: list[str] = []

    @property
    def duration(self) -> int:
        """Milliseconds from the first to the last click."""
        return self.end - self.start


class Retraction(msgspec.Struct, frozen=True):
    """A session that was absorbed by another one: its id, the record version, the survivor's id."""

    id: str
    version: int
    merged_into: str

    def headers(self) -> list[tuple[str, bytes]]:
        """The tombstone's Kafka headers."""
        return [(VERSION_HEADER, str(self.version).encode()), (MERGED_INTO_HEADER, self.merged_into.encode())]


_decoder = msgspec.json.Decoder(Session)
_encoder = msgspec.json.Encoder()


def encode_session(session: Session) -> bytes:
    """The record value on the sessions topic."""
    return _encoder.encode(session)


def decode_session(
    key: bytes, value: bytes | None, headers: Iterable[tuple[str, bytes | None]] | None
) -> Session | Retraction:
    """What a sessions record says.

    Raises msgspec.MsgspecError, KeyError or ValueError for a record that no enricher wrote, however deep its JSON is.
    """
    if value is None:
        found = {name: content or b"" for name, content in headers or []}
        return Retraction(key.decode(), int(found[VERSION_HEADER]), found[MERGED_INTO_HEADER].decode())
    try:
        return _decoder.decode(value)
    except RecursionError as error:
        msg = "JSON is nested too deeply"
        raise msgspec.DecodeError(msg) from error


def funnel_step(funnel: str, step: int) -> str:
    """One reached step (1 is the first), as `funnel_steps` of a session in Elasticsearch has it."""
    return f"{funnel}:{step}"


def storage_day_of(session_id: str) -> str:
    """The storage day (`YYYY-MM-DD` or `undated`) in a session id, so that a retraction finds its place."""
    return session_id.rpartition("-")[0]
