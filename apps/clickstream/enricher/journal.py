"""What a chunk writes to the changelog, and from which offset of the changelog a recovery must read.

A compacted topic still holds hours of records. So every key is rewritten now and then, even when nothing happens to it:
in *rounds*, spread over the chunks, adding no more bytes to each than the chunk's own changes. When a round is over,
all of the state lies behind the offset at which the round began, and recovery reads from there: its cost follows the
size of the state, not the day's traffic or the brokers' compaction.

The owner before may have been paused between two records of a key. The second one may arrive at any time, also behind a
round of ours, and it needs the first one, which precedes the round. So recovery is moved only when this owner has
applied as much as that one can have been ahead: from then on its own records of the key count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from clickstream.enricher.changelog import Headers, Record, gone_records, key_records, partition_record
from clickstream.enricher.sessions import KeyState, PartitionState, Settled

LOW: Final = "from"
"""Header of a partition's record: the changelog offset from which a recovery must read."""
MIN_BYTES: Final = 4 << 20
"""Between the end of a round and the beginning of the next: at least that much, or as much as the round wrote."""
AHEAD: Final = 20_000
"""How many source records a key's record can be ahead of the partition's: what a worker has under way (worker.py)."""


class Journal:
    """The changelog of one owned partition.

    `end` is the offset of the partition's last record, None before it is known.

    `low` is where a recovery would have to begin; None: at the beginning of the topic.
    """

    def __init__(self, state: PartitionState, low: int | None) -> None:
        self.end: int | None = None
        self.low = low
        self._to_pass = AHEAD
        self._state = state
        self._round_from: int | None = None
        self._waiting: dict[bytes, None] = {}
        self._bytes = 0
        self._round_bytes = 0

    def changes(self, gone: Iterable[tuple[bytes, KeyState]], settled: Settled) -> list[Record]:
        """The records of all keys that changed or are gone, and of the round's next keys.

        `settled` may be behind the state. A recovery reads the clicks after it again: it must find the event ids that
        they are compared with, and what it makes of them counts more than a deletion of before.
        """
        if self._round_from is not None and not self._waiting and self._to_pass <= 0:
            # What ended the round precedes, on the changelog, the partition's record that is made next.
            self.low, self._round_from = self._round_from, None
            self._bytes = 0
        state, minute = self._state, self._state.horizon_minute(settled.stream_time)
        records: list[Record] = []
        for key, was in gone:
            records += gone_records(key, was, settled.applied)
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

    def passed(self, records: int) -> None:
        """So many source records that no owner before had settled are settled now; called like `delivered`."""
        self._to_pass -= records

    def delivered(self, offset: int) -> None:
        """The partition's record is on the changelog, at this offset; called while other changes may be made."""
        self.end = offset

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
