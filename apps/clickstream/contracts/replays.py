"""What a replay writes: clicks on enriched-clicks that replace the stored ones, and sessions newer than any before.

A replayed click has the header `replay`: when the replay was started (ms), and ` keep` after it where the click is to
stay in the session that it is stored with. A store replaces a click by the replay that was started last. Sessions need
no header: their version says it. A sink of a release without replays takes such a click for a duplicate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from clickstream.contracts.kafka_records import header
from clickstream.contracts.times import MAX_MS

REPLAY: Final = "replay"

FIRST_VERSION: Final = 2**52
"""Versions of replayed sessions begin here: above every offset, and below 2^53 like every number that JSON keeps."""

_REPLAY: Final = re.compile(rb"([0-9]{1,15})( keep)?")


class Replay(NamedTuple):
    """Which replay wrote a click: when it was started (ms), and whether the click keeps its stored session."""

    started: int
    keeps_session: bool = False


def replay_header(replay: Replay) -> tuple[str, bytes]:
    """The header of a replayed click."""
    return REPLAY, b"%d%b" % (replay.started, b" keep" if replay.keeps_session else b"")


def replay_of(headers: Iterable[tuple[str, bytes | None]] | None) -> Replay | None:
    """The replay that wrote a click, None for none. Raises ValueError for a header that no replay writes."""
    text = header(headers, REPLAY)
    if text is None:
        return None
    found = _REPLAY.fullmatch(text)
    if found is None or int(found[1]) > MAX_MS:
        msg = f"the header {REPLAY} must be a time in ms"
        raise ValueError(msg)
    return Replay(int(found[1]), found[2] is not None)


def session_version(started: int) -> int:
    """The version of the session records of the replay that was started then (ms)."""
    return FIRST_VERSION + started
