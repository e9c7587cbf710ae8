"""Record chunks: Faust hands over all records that were fetched for a source partition as ONE message.

Faust keeps owning membership, assignment, fetching and commit; only the shape of a message and the arithmetic of its
offsets change, which is what lets Python keep up (docs/adr/0002 has the measurements). Every override here touches
internals of Faust 0.15.3 and has a contract test in tests/integration/enricher/test_enricher_chunks.py.

A chunk's offset is that of its FIRST record: Faust compares it with the committed offset to find what was read before.
Its value is the list of records, which must never reach Faust's decoding (`ChunkSchema`).
"""

# ruff: noqa: SLF001, ARG002, ASYNC109 - the signatures and the internals are Faust's
from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import aiokafka.client
import faust
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import ConsumerRecord
from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import TP

log: Final = logging.getLogger(__name__)

_UNREADABLE: Final = (UnicodeDecodeError, CorruptRecordException, UnsupportedCodecError)
"""What aiokafka raises, again and again, for a record that brokers take: a header's name that is not UTF-8, a codec."""


class ChunkSchema(faust.Schema):
    """Passes keys and values through untouched: a chunk's value is a list, not bytes."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        return message.value


class ChunkConsumer(Consumer):
    """Faust's consumer, with chunks for the topic named by the transport's `source_topic`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # (partition, first offset) → last offset, from fetch until commit.
        self._last: dict[tuple[TP, int], int] = {}
        # The next offset to hand over, which is behind aiokafka's own position after a failed fetch.
        self._next: dict[TP, int] = {}

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, list[Any]]:
        try:
            records = await super()._getmany(active_partitions, timeout)
        except _UNREADABLE as error:
            log.warning("a record of %s cannot be parsed and is read otherwise: %s", self.transport.source_topic, error)
            records = await self._read_otherwise()
        for tp, batch in records.items():
            if batch and tp.topic == self.transport.source_topic:
                self._follow_back(tp, batch[0].offset)
        return {
            tp: [self._chunk(tp, batch)] if tp.topic == self.transport.source_topic else batch
            for tp, batch in records.items()
            if batch
        }

    async def _read_otherwise(self) -> dict[TP, list[Any]]:
        """The next records of every source partition, by another client, since aiokafka would fail for ever."""
        wanted = {tp.partition: offset for tp, offset in self._next.items() if tp in self.assignment()}
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, self.transport.read, wanted)
        topic = self.transport.source_topic
        for partition, offset in wanted.items():
            batch = found.get(partition)
            # Also where nothing was found: aiokafka has dropped what it had fetched with the record.
            await self.seek_wait({TP(topic, partition): batch[-1].offset + 1 if batch else offset})
        return {TP(topic, partition): batch for partition, batch in found.items()}

    def _follow_back(self, tp: Any, offset: int) -> None:
        """Handle offsets that begin again: Faust would silently drop the records, and commit none of them."""
        read = self._read_offset[tp]
        if read is not None and offset < read:
            self._forget({TP(tp.topic, tp.partition)})
            self._read_offset[tp] = self._committed_offset[tp] = None
            self._acked[tp].clear()
            self._acked_index[tp].clear()

    async def perform_seek(self) -> None:
        """Seek to the application's next offset; where it has none, to the committed one."""
        await super().perform_seek()
        for tp in self.assignment():
            if tp.topic != self.transport.source_topic:
                continue
            offset = self.transport.next_offset(tp.partition)
            if offset is not None:
                await self.seek_wait({tp: offset})
                self._next[tp] = offset
                self._read_offset[tp] = offset or None
                if (self._committed_offset[tp] or 0) > offset:
                    self._committed_offset[tp] = None

    def _chunk(self, tp: Any, batch: list[Any]) -> ConsumerRecord:
        first, last = batch[0], batch[-1]
        self._last[TP(tp.topic, tp.partition), first.offset] = last.offset
        self._next[TP(tp.topic, tp.partition)] = last.offset + 1
        return ConsumerRecord(
            topic=first.topic,
            partition=first.partition,
            offset=first.offset,
            timestamp=last.timestamp,
            timestamp_type=last.timestamp_type,
            key=None,
            value=batch,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            headers=[],
        )

    def _new_offset(self, tp: TP) -> int | None:
        """What to commit. The stream iterator appends to `_acked` itself, so overriding `ack` would do nothing."""
        if tp.topic != self.transport.source_topic:
            return super()._new_offset(tp)  # type: ignore[no-any-return]
        acked = self._acked[tp]
        if not acked:
            return None
        # Chunks of a partition are processed and acked in order, so the highest acked one is enough.
        ends = [last for first in acked if (last := self._last.pop((tp, first), None)) is not None]
        acked.clear()
        self._acked_index[tp].clear()
        return max(ends) + 1 if ends else None

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if tp.topic != self.transport.source_topic:  # between the first offsets of two chunks nothing is missing
            await super()._add_gap(tp, offset_from, offset_to)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget chunks in flight: the next owner of the partition starts from the committed offset."""
        # Faust drops its acks before it waits for the agents, and a chunk that ends then is acked again: so do this
        # after.
        await super().on_partitions_revoked(revoked)
        self._forget(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Start every partition afresh."""
        self._forget(assigned)
        await super().on_partitions_assigned(assigned, generation_id)

    def _forget(self, tps: Iterable[TP]) -> None:
        gone = set(tps)
        self._last = {key: last for key, last in self._last.items() if key[0] not in gone}
        self._next = {tp: offset for tp, offset in self._next.items() if tp not in gone}


NextOffset = Callable[[int], int | None]
"""From a partition to the offset to resume at; None: the committed one."""


Read = Callable[[Mapping[int, int]], dict[int, list[Any]]]
"""Reads some records of partitions from these offsets on, by another client than aiokafka. Blocking."""


class ChunkTransport(Transport):
    """Makes Faust use the consumer above. The application sets the attributes before it starts."""

    Consumer = ChunkConsumer
    source_topic: str
    next_offset: NextOffset
    read: Read


def use_chunks(
    app: faust.App, source_topic: str, next_offset: NextOffset = lambda _: None, read: Read = lambda _: {}
) -> None:
    """Make `app` consume `source_topic` in chunks, and create no topic. To be called before the app starts."""

    def new_transport() -> ChunkTransport:
        transport = ChunkTransport(app.conf.broker_consumer, app)
        transport.source_topic = source_topic
        transport.next_offset = next_offset
        transport.read = read
        return transport

    app._new_transport = new_transport
    # aiokafka has no `allow.auto.create.topics`: asking for a topic would make a broker that may create it.
    aiokafka.client.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)
