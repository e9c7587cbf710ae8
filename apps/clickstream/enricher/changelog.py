"""The records of the enricher's state on its changelog topic, and which of them count when they are read back.

Four kinds, all MessagePack, distinguished by the first byte of the key:

- `k<key>`: the key's newest sessions and event ids, and how many more there are; no value: nothing is left of the key;
- `x<length><id><key>`: an older session of the key (a long grace keeps many); no value: it is gone;
- `b<slot><key>`: a block of the key's event ids. Slots are used again, so that a key has a bounded number of records;
- `p`: the partition: applied offset and stream time. It is written last and makes the effects of a chunk final.

Each carries, in a header, the logical source offset that it has applied. Of a key's records the one with the HIGHEST
such offset counts, not the last one: a worker that was paused and resumes after its partitions were reassigned can
still append what is older. A key's other records are written before its `k`, and count as far as that has come: so a
key is whole after a crash between any two records.

A release that knows only `k` and `p` reads the others as keys without clicks. It expects every key to have sessions or
ids in its own form, and fails to start where a key has neither: hence `_STAND_IN`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from clickstream.contracts.kafka_records import header
from clickstream.enricher.event_ids import MAX_BLOCKS
from clickstream.enricher.sessions import MAX_OFFSET, KeyState, LiveSession, PartitionState

APPLIED: Final = "applied"
"""Header: the logical source offset that a changelog record has applied, decimal."""

INLINE: Final = 4
"""Sessions of a key that are in its `k` record, the newest ones; nearly every key has fewer."""

PARTITION_KEY: Final = b"p"
_KEY: Final = b"k"
_SESSION: Final = b"x"
_BLOCK: Final = b"b"
_SLOTS: Final = 2 * MAX_BLOCKS
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that no enricher wrote."""

Headers = list[tuple[str, bytes]]
Record = tuple[bytes, bytes | None, Headers]
"""Key, value, headers."""


_STAND_IN: Final = b""
"""In place of event ids in the previous release's form, where there is no session either: no event has this digest.
With it goes the minute until which that release keeps the key."""
_NO_IDS: Final[dict[bytes, int]] = {}


class _KeyRecord(msgspec.Struct, array_like=True):
    """`legacy` are event ids as the release before wrote them; `number` is that of the block after the last one."""

    offset: int
    sessions: list[LiveSession]
    legacy: dict[bytes, int] = {}
    recent: dict[bytes, int] = {}
    number: int = 0
    legacy_until: int = -1


class _BlockRecord(msgspec.Struct, array_like=True):
    offset: int
    sessions: list[LiveSession]
    ids: dict[bytes, int]
    number: int = -1


_key_decoder = msgspec.msgpack.Decoder(_KeyRecord)
_block_decoder = msgspec.msgpack.Decoder(_BlockRecord)
_partition_decoder = msgspec.msgpack.Decoder(tuple[int, int])
_encode = msgspec.msgpack.Encoder().encode


def key_records(key: bytes, state: KeyState, horizon_minute: int) -> list[Record]:
    """The records that bring the changelog up to a key's state: its own record last, what else has changed before it.

    Forgets event ids that came before `horizon_minute`.
    """
    offset, ids, inline = state.offset, state.ids, state.sessions
    applied = _applied(offset)
    records: list[Record] = []
    if ids.first != ids.next:
        records += [(_block_key(key, number), None, applied) for number in ids.expire(horizon_minute)]
        for number, block in ids.unsaved():
            records.append((_block_key(key, number), _encode(_BlockRecord(offset, [], block, number)), applied))
    if len(inline) > INLINE or state.parked:
        inline = inline[-INLINE:]
        records += _parked(key, state, applied)
    legacy = _NO_IDS if inline else {_STAND_IN: max(ids.newest, 0)}
    # The members of a `_KeyRecord`, which need not be made for it: this is done for nearly every click.
    members = (offset, inline, legacy, ids.recent, ids.next, state.legacy_until)
    records.append((_KEY + key, _encode(members), applied))
    return records


def gone_records(key: bytes, state: KeyState, applied: int) -> list[Record]:
    """The records that delete a key, as of the partition's applied offset."""
    headers = _applied(max(applied, state.offset))
    records: list[Record] = [
        (_block_key(key, number), None, headers) for number in range(state.ids.first, state.ids.next)
    ]
    records += [(_session_key(key, session), None, headers) for session in state.parked or ()]
    records.append((_KEY + key, None, headers))
    return records


def partition_record(state: PartitionState, headers: Headers | None = None) -> Record:
    """The partition's own record, with further headers."""
    return PARTITION_KEY, _encode((state.applied, state.stream_time)), _applied(state.applied) + (headers or [])


class Replay:
    """The records of one changelog partition, reduced to those that count. `ignored` counts foreign records."""

    def __init__(self) -> None:
        self.ignored = 0
        self.partition_headers: list[tuple[str, bytes | None]] = []
        self._partition: tuple[int, int, int] | None = None
        self._keys: dict[bytes, tuple[int, bytes | None]] = {}
        # By record key, every version by its offset: which one counts follows from the key's own record.
        self._others: dict[bytes, dict[bytes, list[tuple[int, bytes | None]]]] = {}

    def add(self, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]] | None) -> bool:
        """Add one record, in log order. False for a foreign record."""
        applied = header(headers, APPLIED)
        offset = _offset(applied)
        taken = key is not None and offset is not None and self._add(key, value, offset, headers or [])
        self.ignored += not taken
        return taken

    def restore(self, state: PartitionState) -> int:
        """Fill an empty state; returns the number of keys. The replay is empty afterwards."""
        if self._partition is not None:
            state.applied, state.stream_time = self._partition[1:]
        count = 0
        while self._keys:
            key, (offset, value) = self._keys.popitem()
            others = self._others.pop(key, {})
            if value is None:
                continue
            try:
                record = _key_decoder.decode(value)
            except _UNREADABLE:
                self.ignored += 1
                continue
            restored = self._restored(record, offset, others)
            state.restore(key, restored)
            if restored.legacy_until >= 0:
                state.dirty.add(key)
            count += 1
        self._others.clear()
        return count

    def _add(self, key: bytes, value: bytes | None, offset: int, headers: list[tuple[str, bytes | None]]) -> bool:
        if key == PARTITION_KEY:
            return self._add_partition(value, offset, headers)
        kind = key[:1]
        if kind == _KEY:
            known = self._keys.get(key[1:])
            if known is None or offset >= known[0]:
                self._keys[key[1:]] = (offset, value)
            return True
        if kind == _BLOCK and len(key) >= 3:
            owner = key[3:]
        elif kind == _SESSION and len(key) >= 2 and len(key) >= 2 + key[1]:
            owner = key[2 + key[1] :]
        else:
            return False
        self._others.setdefault(owner, {}).setdefault(key, []).append((offset, value))
        return True

    def _add_partition(self, value: bytes | None, offset: int, headers: list[tuple[str, bytes | None]]) -> bool:
        try:
            applied, stream_time = _partition_decoder.decode(value or b"")
        except _UNREADABLE:
            return False
        if not -1 <= applied < MAX_OFFSET:
            return False
        if self._partition is None or offset >= self._partition[0]:
            self._partition = (offset, applied, stream_time)
            self.partition_headers = headers
        return True

    def _restored(
        self, record: _KeyRecord, applied: int, others: dict[bytes, list[tuple[int, bytes | None]]]
    ) -> KeyState:
        state = KeyState(record.offset)
        sessions = {session.id: session for session in record.sessions}
        blocks: dict[int, dict[bytes, int]] = {}
        for key, versions in others.items():
            value = _as_of(versions, applied)
            if value is None:
                continue
            try:
                found = _block_decoder.decode(value)
            except _UNREADABLE:
                self.ignored += 1
                continue
            if key[:1] == _BLOCK:
                blocks[found.number] = found.ids
                continue
            for session in found.sessions:
                state.parked = state.parked or {}
                state.parked[session.id] = session.version
                sessions.setdefault(session.id, session)
        state.sessions = sorted(sessions.values(), key=_end)
        state.ids.restore(blocks, record.number, record.recent)
        state.legacy_until = record.legacy_until
        for digest, minute in sorted(record.legacy.items(), key=_minute):
            if digest != _STAND_IN and digest not in state.ids:
                state.ids.add(digest, minute)
                state.legacy_until = max(state.legacy_until, minute)
        return state


def _as_of(versions: list[tuple[int, bytes | None]], applied: int) -> bytes | None:
    """The newest version that is not ahead of the key's own record; of two with one offset the later one."""
    standing = [version for version in versions if version[0] <= applied]
    return max(reversed(standing), key=_by_offset, default=(0, None))[1]


def _parked(key: bytes, state: KeyState, applied: Headers) -> Iterator[Record]:
    """The records of the sessions that do not fit into the key's own, as far as they differ from what was written."""
    wanted = {session.id: session for session in state.sessions[:-INLINE]}
    parked = state.parked or {}
    for session_id in parked.keys() - wanted.keys():
        yield _session_key(key, session_id), None, applied
    for session in wanted.values():
        if parked.get(session.id) != session.version:
            yield _session_key(key, session.id), _encode(_BlockRecord(state.offset, [session], {})), applied
    state.parked = {session.id: session.version for session in wanted.values()} or None


def _block_key(key: bytes, number: int) -> bytes:
    return _BLOCK + (number % _SLOTS).to_bytes(2, "big") + key


def _session_key(key: bytes, session_id: str) -> bytes:
    name = session_id.encode()
    return _SESSION + len(name).to_bytes(1, "big") + name + key


def _applied(offset: int) -> Headers:
    return [(APPLIED, b"%d" % offset)]


def _offset(text: bytes | None) -> int | None:
    """A logical offset as a header has it; None if it is not valid."""
    if text is None or len(text) > 20:
        return None
    try:
        number = int(text)
    except ValueError:
        return None
    return number if -1 <= number < MAX_OFFSET else None


def _end(session: LiveSession) -> int:
    return session.end


def _minute(entry: tuple[bytes, int]) -> int:
    return entry[1]


def _by_offset(version: tuple[int, bytes | None]) -> int:
    return version[0]
