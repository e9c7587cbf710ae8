"""The Faust application: it brings chunks to `Partitions` and tells it about assignment; nothing else.

An exception in a Faust agent would ack the event and skip it, so a chunk that cannot be processed ends the process at
once, before any ack; its records are read again by whoever owns the partition next.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any, Final, NoReturn

import faust

from clickstream.contracts.credentials import read_credentials
from clickstream.contracts.kafka import METADATA_SECONDS
from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import Kafka
from clickstream.enricher.chunks import ChunkSchema, use_chunks
from clickstream.enricher.partitions import Partitions
from clickstream.enricher.progress import Progress
from clickstream.enricher.source import SourceError, SourceTopic

log: Final = logging.getLogger(__name__)

SESSION_TIMEOUT: Final = 12.0
"""Seconds until a killed worker's partitions move; Faust's 60 would leave them standing still for a minute."""

CHUNK_RECORDS: Final = 2_000
_LOOK_SECONDS: Final = 5.0
"""Between two looks at the source topic's id."""
FATAL: Final = 70
"""Exit status after an internal error (EX_SOFTWARE)."""


class Worker:
    """One enricher process. Raises SettingsError for credentials that cannot be read.

    `source` asks about the source topic.
    """

    def __init__(
        self,
        names: Names,
        kafka: Kafka,
        partitions: Partitions,
        progress: Progress,
        source: SourceTopic,
        data_dir: str,
    ) -> None:
        self._names = names
        self._partitions = partitions
        self._progress = progress
        self._source = source
        self._source_id: str | None = None
        self._looked_at = 0.0
        self.ready = False
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
        use_chunks(self.app, names.raw_clicks, partitions.next_offset, source.read)
        stream = self.app.topic(names.raw_clicks, schema=ChunkSchema())
        self.app.agent(stream, name="enrich", concurrency=1)(self._enrich)
        self.app.on_partitions_revoked.connect(self._on_revoked)
        self.app.on_rebalance_complete.connect(self._on_rebalanced)
        self.app.timer(1.0, name="tick")(self._tick)

    async def _enrich(self, stream: Any) -> None:
        loop = asyncio.get_running_loop()
        async for records in stream:
            try:
                # In a thread: delivery is waited for, and the loop has commits and rebalances to look after.
                await loop.run_in_executor(None, self._partitions.process, records)
            except Exception:
                log.exception("a chunk could not be processed; the process ends, and its records are read again")
                end_now()

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        self.ready = False
        self._partitions.drop()
        self._progress.revoked()

    async def _on_rebalanced(self, *_: Any, **__: Any) -> None:
        """Faust has stopped the flow and waits for us before it fetches again."""
        source = self._names.raw_clicks
        partitions = sorted(tp.partition for tp in self.app.consumer.assignment() if tp.topic == source)
        self._progress.turn()
        try:
            assigned = await asyncio.get_running_loop().run_in_executor(
                None, self._partitions.assign, partitions, self._progress.turn
            )
        except Exception:
            log.exception("the state could not be recovered; the process ends, and starts with the recovery again")
            end_now()
        if assigned:
            self._progress.assigned()
            self.ready = True

    async def _tick(self) -> None:
        owning = self.ready and not self.app.rebalancing
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._look, owning)
        except SourceError as error:  # an outage: chunks and commits wait for its end, and so does this
            self._progress.away()
            log.warning("waiting for the brokers: %s", error)
        except Exception:
            log.exception("idle sessions could not be closed; the process ends, and does it after its restart")
            end_now()

    def _look(self, owning: bool) -> None:  # noqa: FBT001 - called by position in another thread
        self._refuse_another_topic()
        ends = self._source.ends([partition for partition, _, _ in self._partitions.positions()])
        self._progress.answered()
        if owning:
            self._progress.seen_ends(ends)
            self._partitions.tick(ends)

    def _refuse_another_topic(self) -> None:
        """End when the topic was deleted and created anew: its offsets may have passed ours before anybody saw it."""
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        found = self._source.id()
        if self._source_id not in {None, found}:
            log.error(
                "topic %s was created anew; the process ends, and reads it from its beginning after its restart",
                self._names.raw_clicks,
            )
            end_now()
        self._source_id = found


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
