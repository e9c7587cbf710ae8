"""What a chunk writes to the changelog, and from which offset of the changelog a recovery must read.

A compacted topic still holds hours of records. So every key is written again now and then, even when nothing happens to
it: in *rounds*, spread over the chunks, each of which adds no more bytes than the chunk's own changes. When a round is
over, everything that stands lies behind the offset at which the round began, and recovery reads from there: its cost
follows the size of the state, not the traffic of the day or the brokers' cleaning.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from clickstream.enricher.changelog import Headers, Record, gone_records, key_records, partition_record
from clickstream.enricher.sessions import KeyState, PartitionState

LOW: Final = "from"
"""Header of a partition's record: the changelog offset from which a recovery must read."""
MIN_BYTES: Final = 4 << 20
"""Between the end of a round and the beginning of the next: at least that much, or as much as the round wrote."""


class Journal:
    """The changelog of one owned partition. `end` is the offset of the partition's last record, None before it is known.

    `low` is where a recovery would have to begin today; None: at the beginning of the topic.
    """

    def __init__(self, state: PartitionState, low: int | None) -> None:
        self.end: int | None = None
        self.low = low
        self._state = state
        self._round_from: int | None = None
        self._waiting: dict[bytes, None] = {}
        self._bytes = 0
        self._round_bytes = 0

    def changes(self, gone: Iterable[tuple[bytes, KeyState]]) -> list[Record]:
        """The records of all keys that changed, of those that are gone, and of some whose turn it is in the round."""
        state, minute = self._state, self._state.horizon_minute
        records: list[Record] = []
        for key, was in gone:
            records += gone_records(key, was, state.applied)
            self._waiting.pop(key, None)
        for key in state.dirty:
            found = state.keys[key]
            records += key_records(key, found, minute)
            if not found.parked and found.ids.first == found.ids.next:  # one record: the key is written in full
                self._waiting.pop(key, None)
        state.dirty.clear()
        size = sum(_size(record) for record in records)
        self._bytes += size
        return records + self._next_in_round(size, minute)

    def partition(self, headers: Headers) -> Record:
        """The partition's own record, with further headers."""
        if self.low is not None:
            headers = [*headers, (LOW, b"%d" % self.low)]
        return partition_record(self._state, headers)

    def delivered(self, offset: int) -> None:
        """The partition's record, and all before it, are on the changelog; `offset` is its own."""
        self.end = offset
        if self._round_from is not None and not self._waiting:
            self.low, self._round_from = self._round_from, None
            self._bytes = 0

    def _next_in_round(self, budget: int, minute: int) -> list[Record]:
        if self._round_from is None:
            if self.end is None or self._bytes < max(MIN_BYTES, self._round_bytes):
                return []
            self._round_from, self._round_bytes = self.end + 1, 0
            self._waiting = dict.fromkeys(self._state.keys)
        records: list[Record] = []
        spent = 0
        while self._waiting and spent <= budget:
            key, _ = self._waiting.popitem()
            found = self._state.keys[key]
            found.ids.all_unsaved()
            found.parked = dict.fromkeys(found.parked, -1) if found.parked else None
            written = key_records(key, found, minute)
            spent += sum(_size(record) for record in written)
            records += written
        self._round_bytes += spent
        return records


def _size(record: Record) -> int:
    key, value, _ = record
    return len(key) + len(value or b"")
