"""The enricher's state on its changelog topic: how it is written, and how it is read back.

Two kinds of records, both MessagePack: one a key (its KeyState; none = nothing left to remember) and one a partition
(applied offset and stream time). Each carries, in a header, the source offset that it has applied. Reading keeps, per
key, the record with the HIGHEST such offset, not the last one: a worker that was paused and wakes up after its
partitions were given away can still append what is older.

The topic is read here with a plain consumer instead of a Faust table: recovery starts anew from the beginning at every
assignment, so no table of Faust's has to agree with ours about what was already read (docs/adr/0002).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from clickstream.contracts.kafka import header
from clickstream.enricher.sessions import KeyState, PartitionState

APPLIED: Final = "applied"
"""Header: the source offset that a changelog record has applied, decimal."""

PARTITION_KEY: Final = b"p"
_KEY_PREFIX: Final = b"k"

_PASSING: Final = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT})  # noqa: SLF001
"""Errors that librdkafka gets over by itself once the brokers are back."""

Record = tuple[bytes, bytes | None, list[tuple[str, bytes]]]
"""Key, value, headers."""

_key_decoder = msgspec.msgpack.Decoder(KeyState)
_partition_decoder = msgspec.msgpack.Decoder(tuple[int, int])
_encode = msgspec.msgpack.Encoder().encode


class RecoveryError(Exception):
    """The changelog could not be read to its end, or holds what we did not write."""


def key_record(key: bytes, state: KeyState) -> Record:
    """The record that replaces the key's state."""
    return _KEY_PREFIX + key, _encode(state), _applied(state.offset)


def tombstone(key: bytes, applied: int) -> Record:
    """The record that forgets the key, as of the partition's applied offset."""
    return _KEY_PREFIX + key, None, _applied(applied)


def partition_record(state: PartitionState) -> Record:
    """The partition's own record: written last, it makes the chunk's effects final."""
    return PARTITION_KEY, _encode((state.applied, state.stream_time)), _applied(state.applied)


class Replay:
    """The records of one changelog partition, reduced to what stands."""

    def __init__(self) -> None:
        self._newest: dict[bytes, tuple[int, bytes | None]] = {}

    def add(self, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]] | None) -> None:
        """Take one record, in log order. Raises RecoveryError for a record that is not ours."""
        applied = header(headers, APPLIED)
        if key is None or applied is None:
            msg = "a changelog record without a key or an applied offset: is something else writing to the topic?"
            raise RecoveryError(msg)
        offset = int(applied)
        known = self._newest.get(key)
        if known is None or offset >= known[0]:
            self._newest[key] = (offset, value)

    def restore(self, state: PartitionState) -> int:
        """Fill an empty state; returns the number of keys. Raises RecoveryError for what cannot be decoded."""
        count = 0
        try:
            partition = self._newest.pop(PARTITION_KEY, None)
            if partition is not None and partition[1] is not None:
                state.applied, state.stream_time = _partition_decoder.decode(partition[1])
            for key, (_, value) in self._newest.items():
                if value is None:
                    continue
                state.restore(key[1:], _key_decoder.decode(value))
                count += 1
        except msgspec.MsgspecError as error:
            msg = f"a changelog record cannot be decoded ({error}): was it written by a newer version?"
            raise RecoveryError(msg) from error
        return count


def read_changelog(
    config: dict[str, Any], topic: str, partitions: Collection[int], timeout: float
) -> dict[int, Replay]:
    """Read these partitions from their beginning to their present end. Blocking.

    `config` holds librdkafka properties; `timeout` is the number of seconds without any progress after which
    RecoveryError is raised (also for a topic or partition that does not exist).
    """
    replays = {partition: Replay() for partition in partitions}
    if not partitions:
        return replays
    consumer = Consumer(
        config
        | {
            # Never joins a group nor commits; librdkafka wants a name all the same.
            "group.id": f"{topic}-recovery",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        for partition, key, value, headers in _until_ends(consumer, topic, set(partitions), timeout):
            replays[partition].add(key, value, headers)
    finally:
        consumer.close()
    return replays


def _until_ends(
    consumer: Consumer, topic: str, missing: set[int], timeout: float
) -> Iterator[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]] | None]]:
    deadline = time.monotonic() + timeout
    while missing:
        for message in consumer.consume(2_000, timeout=0.05):
            deadline = time.monotonic() + timeout
            error = message.error()
            if error is None:
                yield message.partition(), message.key(), message.value(), message.headers()
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                missing.discard(message.partition())
            elif not error.retriable() and error.code() not in _PASSING:
                msg = f"changelog {topic} cannot be read: {KafkaException(error)}"
                raise RecoveryError(msg)
        if missing and time.monotonic() > deadline:
            msg = f"changelog {topic}: no progress for {timeout:.0f} s at partitions {sorted(missing)}"
            raise RecoveryError(msg)


def _applied(offset: int) -> list[tuple[str, bytes]]:
    return [(APPLIED, b"%d" % offset)]
