"""The Faust application: it brings chunks to `Partitions` and tells it about assignment; nothing else.

An exception in a Faust agent would ack the event and skip it, so a chunk that cannot be processed ends the process at
once, before any ack; its records are read again by whoever owns the partition next.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import faust

from clickstream.contracts.credentials import read_credentials
from clickstream.contracts.kafka import METADATA_SECONDS
from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import Kafka
from clickstream.enricher.chunks import ChunkSchema, use_chunks
from clickstream.enricher.partitions import Partitions

log: Final = logging.getLogger(__name__)

SESSION_TIMEOUT: Final = 12.0
"""Seconds until a killed worker's partitions move; Faust's 60 would leave them standing still for a minute."""

CHUNK_RECORDS: Final = 2_000
FATAL: Final = 70
"""Exit status after an internal error (EX_SOFTWARE)."""


class Worker:
    """One enricher process. Raises SettingsError for credentials that cannot be read."""

    def __init__(self, names: Names, kafka: Kafka, partitions: Partitions, data_dir: str) -> None:
        self._names = names
        self._partitions = partitions
        self._ends: dict[int, int] = {}
        self.ready = False
        self.turned_at = time.monotonic()
        self.app = faust.App(
            names.enricher_group,
            broker=[f"kafka://{server.strip()}" for server in kafka.bootstrap_servers.split(",")],
            broker_credentials=faust_credentials(kafka),
            datadir=data_dir,
            broker_session_timeout=SESSION_TIMEOUT,
            broker_heartbeat_interval=3.0,
            broker_commit_interval=1.0,
            broker_max_poll_records=CHUNK_RECORDS,
            # Chunks wait in Kafka, not here: each one holds thousands of records.
            stream_buffer_maxsize=2,
            stream_wait_empty=True,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            consumer_auto_offset_reset="earliest",
            consumer_metadata_max_age_ms=METADATA_SECONDS * 1_000,
        )
        use_chunks(self.app, names.raw_clicks)
        source = self.app.topic(names.raw_clicks, schema=ChunkSchema())
        self.app.agent(source, name="enrich", concurrency=1)(self._enrich)
        self.app.on_partitions_revoked.connect(self._on_revoked)
        self.app.on_rebalance_complete.connect(self._on_rebalanced)
        self.app.timer(1.0, name="tick")(self._tick)

    def lag(self) -> Iterator[tuple[int, int, float]]:
        """(partition, records, seconds) behind the end, as of the last look at the ends (about a second ago)."""
        now = time.time() * 1_000
        for partition, position, timestamp in self._partitions.positions():
            end = self._ends.get(partition)
            records = 0 if end is None or position is None else max(0, end - position)
            yield partition, records, max(0.0, (now - timestamp) / 1_000) if records else 0.0

    async def _enrich(self, stream: Any) -> None:
        loop = asyncio.get_running_loop()
        async for records in stream:
            try:
                # In a thread: delivery is waited for, and the loop has commits and rebalances to look after.
                await loop.run_in_executor(None, self._partitions.process, records)
            except Exception:
                log.exception("a chunk could not be processed")
                end_now()
            self.turned_at = time.monotonic()

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        self.ready = False
        self._partitions.drop()

    async def _on_rebalanced(self, *_: Any, **__: Any) -> None:
        """Faust has stopped the flow and waits for us before it fetches again."""
        source = self._names.raw_clicks
        partitions = sorted(tp.partition for tp in self.app.consumer.assignment() if tp.topic == source)
        self._ends = {}
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._partitions.assign, partitions)
        except Exception:
            log.exception("the state could not be recovered")
            end_now()
        self.turned_at = time.monotonic()
        self.ready = True

    async def _tick(self) -> None:
        if not self.ready or self.app.rebalancing:
            return
        source = self._names.raw_clicks
        tps = [tp for tp in self.app.consumer.assignment() if tp.topic == source]
        if not tps:
            self.turned_at = time.monotonic()
            return
        ends = await self.app.consumer.highwaters(*tps)
        self._ends = {tp.partition: end for tp, end in ends.items() if end is not None}
        try:
            await asyncio.get_running_loop().run_in_executor(
                None, self._partitions.tick, dict(self._ends), int(time.time() * 1_000)
            )
        except Exception:
            log.exception("idle sessions could not be closed")
            end_now()
        if all(records == 0 for _, records, _ in self.lag()):
            self.turned_at = time.monotonic()


def faust_credentials(kafka: Kafka) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """The document's security as Faust hands it on to aiokafka; None for plain connections. Raises SettingsError."""
    found = read_credentials(kafka)
    if found.mechanism is not None:
        return faust.SASLCredentials(
            username=found.username,
            password=found.password,
            mechanism=found.mechanism,
            ssl_context=found.context,
        )
    return None if found.context is None else faust.SSLCredentials(found.context)


def end_now() -> NoReturn:
    """Leave at once, with exit status FATAL: nothing more is acked or committed, and no thread of Faust's is waited for."""
    logging.shutdown()
    os._exit(FATAL)
