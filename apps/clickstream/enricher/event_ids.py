"""The remembered event ids of one key, which recognize a repeated click: bounded, and in blocks.

Ids are kept in the order in which they came, each with the minute of stream time at which it came. Every `BLOCK` ids
are sealed into a block, which never changes and is a changelog record of its own; the ids after the last block are
written with the key. So a click of a user with thousands of ids costs no more bytes than one of a user with a few.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Final

BLOCK: Final = 32
"""Ids in a block."""
MAX_BLOCKS: Final = 512
"""Blocks that are kept of a key: 16,384 ids. The oldest block is forgotten first."""
MINUTE_MS: Final = 60_000
"""Unit of the times at which ids came. Fixed, not made of gap and grace: state outlives a change of both."""


class EventIds:
    """The ids of one key, as 16-byte digests.

    `first` and `next` are the numbers of the oldest and of the next block; `recent` has the ids after the last block,
    with their minutes; `newest` is the minute of the last id, -1 without any.
    """

    __slots__ = ("_newest", "_sealed", "_unsaved", "first", "newest", "next", "recent")

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.next = first
        self.newest = -1
        self.recent: dict[bytes, int] = {}
        # The ids of all blocks, in order; None for the many keys that never fill one.
        self._sealed: dict[bytes, int] | None = None
        # The minute of each block's last id; and the numbers of blocks that are not on the changelog yet.
        self._newest: deque[int] | None = None
        self._unsaved: list[int] | None = None

    def __contains__(self, digest: bytes) -> bool:
        return digest in self.recent or (self._sealed is not None and digest in self._sealed)

    def __len__(self) -> int:
        return len(self.recent) + len(self._sealed or ())

    def add(self, digest: bytes, minute: int) -> int:
        """Remember a new id; minutes never go back. Returns how many ids were dropped for it."""
        self.recent[digest] = self.newest = minute
        if len(self.recent) < BLOCK:
            return 0
        self._sealed = self._sealed or {}
        self._sealed |= self.recent
        self.recent = {}
        self._newest = self._newest or deque()
        self._unsaved = self._unsaved or []
        self._newest.append(minute)
        self._unsaved.append(self.next)
        self.next += 1
        if self.next - self.first <= MAX_BLOCKS:
            return 0
        self._drop()
        return BLOCK

    def expire(self, before: int) -> list[int]:
        """Forget whole blocks whose ids all came before this minute. Returns the numbers of the forgotten blocks."""
        dropped = []
        while self._newest and self._newest[0] < before:
            dropped.append(self.first)
            self._drop()
        return dropped

    def unsaved(self) -> list[tuple[int, dict[bytes, int]]]:
        """(number, ids) of the blocks that are not on the changelog; from then on they count as written."""
        kept = [number for number in self._unsaved or () if number >= self.first]
        self._unsaved = None
        if not kept:
            return []
        start = (kept[0] - self.first) * BLOCK
        ids = islice((self._sealed or {}).items(), start, start + len(kept) * BLOCK)
        return [(number, dict(islice(ids, BLOCK))) for number in kept]

    def all_unsaved(self) -> None:
        """Make `unsaved` return every block once more."""
        if self.next > self.first:
            self._unsaved = list(range(self.first, self.next))

    def restore(self, blocks: Mapping[int, dict[bytes, int]], number: int, recent: dict[bytes, int]) -> None:
        """Fill an empty memory: saved blocks by number, the number of the block after them, and the ids after those.

        A block that is missing or damaged, and those before it, are left out: their clicks may count twice.
        """
        whole: list[dict[bytes, int]] = []
        while len(ids := blocks.get(number - len(whole) - 1, {})) == BLOCK and len(whole) < MAX_BLOCKS:
            whole.append(ids)
        sealed: dict[bytes, int] = {}
        for ids in reversed(whole):
            sealed |= ids
        if len(sealed) != BLOCK * len(whole):  # an id in two blocks: no enricher wrote that
            sealed = {}
            whole = []
        if whole:
            self._newest = deque(max(ids.values()) for ids in reversed(whole))
            self._sealed, self.newest = sealed, self._newest[-1]
        self.first, self.next = number - len(whole), number
        for digest, minute in recent.items():
            if digest not in self:
                self.add(digest, minute)

    def _drop(self) -> None:
        assert self._newest is not None
        assert self._sealed is not None
        for digest in list(islice(self._sealed, BLOCK)):
            del self._sealed[digest]
        self._newest.popleft()
        self.first += 1
