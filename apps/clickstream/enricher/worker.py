"""The Faust application: it passes chunks and assignments to `Partitions`.

Chunks are folded in one thread and delivered in another, so that neither waits for the other; a chunk is acked when all
that follows from it is delivered. An exception in a Faust agent would ack the event and skip it, so a chunk that cannot
be processed ends the process at once, before any ack; the partition's next owner reads its records again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NoReturn

import faust

from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import Kafka
from clickstream.enricher.chunks import ChunkSchema, use_chunks
from clickstream.enricher.partitions import Partitions, Piece
from clickstream.enricher.progress import Progress
from clickstream.enricher.recovery import ChangelogPartitionsError, RecoveryError
from clickstream.enricher.source import SourceTopic
from clickstream.runtime.credentials import read_credentials
from clickstream.runtime.kafka import METADATA_SECONDS
from clickstream.runtime.topic_reader import TopicReadError

log: Final = logging.getLogger(__name__)

SESSION_TIMEOUT: Final = 12.0
"""Seconds until a killed worker's partitions are reassigned; Faust's default is 60."""

CHUNK_RECORDS: Final = 2_000
FOLDED: Final = 4
"""Pieces that may be folded and wait to be sent."""
_LOOK_SECONDS: Final = 5.0
"""Between two checks of the source topic's id."""
FATAL: Final = 70
"""Exit status after an internal error (EX_SOFTWARE)."""
MISCONFIGURED: Final = 2


class Worker:
    """One enricher process. Raises SettingsError for credentials that cannot be read.

    `source` looks up the source topic.
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
        # Threads of their own: the loop must handle commits and rebalances, and a look at Kafka must not wait for them.
        self._folding = ThreadPoolExecutor(1, "fold")
        self._delivering = ThreadPoolExecutor(1, "deliver")
        self._folded: asyncio.Queue[tuple[Piece, Any]] = asyncio.Queue(FOLDED)
        self._deliverer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Join the consumer group and work."""
        self._deliverer = asyncio.create_task(self._deliver())
        await self.app.start()

    async def stop(self) -> None:
        """Leave the group once all chunks that were begun are acked and committed."""
        await self.app.stop()
        if self._deliverer is not None:
            self._deliverer.cancel()
        self._folding.shutdown()
        self._delivering.shutdown()

    async def _enrich(self, stream: Any) -> None:
        loop = asyncio.get_running_loop()
        async for event in stream.noack().events():
            try:
                while True:
                    piece = await loop.run_in_executor(self._folding, self._partitions.fold, event.value)
                    await self._folded.put((piece, event))
                    if piece.chunk:
                        break
            except Exception:
                log.exception("a chunk could not be processed; the process shuts down, and its records are read again")
                end_now()

    async def _deliver(self) -> None:
        """Deliver what is folded, and ack what is through."""
        loop, partitions = asyncio.get_running_loop(), self._partitions
        events: deque[Any] = deque()
        while True:
            found = [] if partitions.under_way else [await self._folded.get()]
            while not self._folded.empty():
                found.append(self._folded.get_nowait())
            events.extend(event for piece, event in found if piece.chunk)
            try:
                through = await loop.run_in_executor(
                    self._delivering, partitions.deliver, [piece for piece, _ in found]
                )
            except Exception:
                log.exception("a chunk could not be delivered; the process shuts down, and its records are read again")
                end_now()
            for piece in through:
                if piece.chunk:
                    events.popleft().ack()

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        self.ready = False
        self._partitions.drop()
        self._progress.revoked()

    async def _on_rebalanced(self, *_: Any, **__: Any) -> None:
        """Recover the assigned partitions; Faust waits for this before it fetches again."""
        source = self._names.raw_clicks
        partitions = sorted(tp.partition for tp in self.app.consumer.assignment() if tp.topic == source)
        self._progress.turn()
        try:
            assigned = await asyncio.get_running_loop().run_in_executor(
                None, self._partitions.assign, partitions, self._progress.turn
            )
        except ChangelogPartitionsError as error:
            log.error("the process shuts down: %s", error)  # noqa: TRY400 - the message says it all
            end_now(MISCONFIGURED)
        except (RecoveryError, TopicReadError) as error:
            log.error(  # noqa: TRY400 - the message says it all
                "the state could not be recovered: %s; the process shuts down, and starts with the recovery again",
                error,
            )
            end_now()
        except Exception:
            log.exception(
                "the state could not be recovered; the process shuts down, and starts with the recovery again"
            )
            end_now()
        if assigned:
            self._progress.assigned()
            self.ready = True

    async def _tick(self) -> None:
        owning = self.ready and not self.app.rebalancing
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._look, owning)
        except TopicReadError as error:  # an outage: chunks and commits wait for its end, too
            self._progress.away()
            log.warning("waiting for the brokers: %s", error)
        except Exception:
            log.exception("idle sessions could not be closed; the process shuts down, and does it after its restart")
            end_now()

    def _look(self, owning: bool) -> None:  # noqa: FBT001 - called by position in another thread
        self._refuse_another_topic()
        ends = self._source.ends({partition: offset for partition, offset, _ in self._partitions.positions()})
        self._progress.answered()
        if owning:
            self._progress.seen_ends(ends)
            self._partitions.tick(ends)

    def _refuse_another_topic(self) -> None:
        """Shut down when the topic was recreated: its offsets may have passed the applied ones unnoticed."""
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        found = self._source.id()
        if self._source_id not in {None, found}:
            log.error(
                "topic %s was created anew; the process shuts down, and reads it from its beginning after its restart",
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


def end_now(status: int = FATAL) -> NoReturn:
    """Exit at once: nothing more is acked or committed, and no thread is waited for."""
    logging.shutdown()
    os._exit(status)
