"""A compacted topic as a table in memory, the running side of a stream-table join.

A plain consumer with `assign()` reads every partition to its end before the first click, then a thread of its own keeps
the rows up to date, so that a changed catalogue shows in the next clicks. It is no Faust table: those keep or lose rows
across rebalances. While no broker answers the last known rows are served; `staleness` says for how long. A topic that
was deleted and created again is read from its beginning; the old rows are served until its end is reached.

A record without a value removes its row. Invalid records are counted and ignored, so that one cannot stop a pipeline.
The number of rows is deliberately unlimited: a table without some of its rows would be silently wrong (watch the `rows`
gauge).
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from clickstream.contracts.pipeline import Kafka
from clickstream.enricher.join_rows import read_key, read_row
from clickstream.enrichment.join import Row
from clickstream.runtime.kafka import NO_GROUP, client_config, reader_config

log: Final = logging.getLogger(__name__)

LOOK_SECONDS: Final = 10.0
"""Between two checks of the topic: whether a broker answers, its id, new partitions."""
_POLL_SECONDS: Final = 0.2
_REQUEST_SECONDS: Final = 5.0
_BATCH: Final = 1_000
_QUEUED_KBYTES: Final = 8_192


class JoinError(Exception):
    """A table cannot be read at the start; the message names the join and the topic."""


class JoinTable:
    """The rows of one join's topic. `load` fills it and keeps it up to date until `close`.

    Readers in other threads are safe: a row is never changed, only replaced.
    """

    def __init__(
        self, name: str, topic: str, kafka: Kafka, client_id: str, *, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self.name = name
        self.ignored = 0
        self._topic = topic
        self._topic_id = ""
        self._rows: dict[str, Row] = {}
        self._get = self._rows.get
        self._reading: dict[str, Row] | None = None
        """The rows of a topic whose end was not reached yet; readers do not see them."""
        self._ignored_told = 0
        self._ignored_last: tuple[int | None, int | None] | None = None
        self._look_seconds = look_seconds
        self._fresh_at = time.monotonic()
        self._partitions: set[int] = set()
        self._at_end: set[int] = set()
        self._reached: dict[int, int] = {}
        """The offset up to which each partition was read."""
        self._owed: dict[int, int] = {}
        """Partitions that had more at the last look, and up to where they were read then."""
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._admin = AdminClient(client_config(kafka, client_id))
        self._config = reader_config(kafka, client_id) | {
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": _QUEUED_KBYTES,
        }
        self._consumer = Consumer(self._config)

    def get(self, key: str, /) -> Row | None:
        return self._get(key)

    @property
    def rows(self) -> int:
        return len(self._rows)

    @property
    def staleness(self) -> float:
        """Seconds since the rows were last known to be all that the topic holds."""
        return time.monotonic() - self._fresh_at

    def load(self, timeout: float) -> None:
        """Read the topic to its end, then follow it in the background.

        Raises JoinError: missing, unreachable, or too slow.
        """
        deadline = time.monotonic() + timeout
        self._begin(*self._find(timeout))
        while self._reading is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise JoinError(self._message(f"not read to its end within {timeout:.0f} s"))
            self._read(min(left, _POLL_SECONDS))
        self._thread = threading.Thread(target=self._follow, name=f"join-{self.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading. Idempotent; the rows stay."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self._consumer.close()

    def _follow(self) -> None:
        look_at = time.monotonic() + self._look_seconds
        while not self._closing.is_set():
            try:
                self._read(_POLL_SECONDS)
                if time.monotonic() >= look_at:
                    self._look()
                    look_at = time.monotonic() + self._look_seconds
            except KafkaException as error:
                log.warning("join table: %s", error.args[0], extra={"fields": {"join": self.name}})
                self._closing.wait(_POLL_SECONDS)

    def _look(self) -> None:
        """Add new partitions; the table is fresh when a broker answers and every partition is at its end."""
        self._tell_ignored()
        try:
            topic_id, found = self._find(_REQUEST_SECONDS)
        except JoinError as error:
            log.warning("%s; serving the last known rows", error, extra={"fields": {"join": self.name}})
            return
        if topic_id != self._topic_id:
            log.warning(
                "join table: the topic was created anew; reading it from its beginning, serving the old rows until "
                "its end",
                extra={"fields": {"join": self.name, "topic": self._topic}},
            )
            self._begin(topic_id, found)
        elif found - self._partitions:
            self._assign(found - self._partitions)
        elif stuck := self._stuck():
            # librdkafka may stop to fetch a partition after its broker was away, without a word.
            log.warning(
                "join table: nothing was read for %.0f s from partitions that hold more; reading the topic anew",
                self._look_seconds,
                extra={"fields": {"join": self.name, "topic": self._topic, "partitions": stuck}},
            )
            self._begin(topic_id, found)
        elif self._at_end == self._partitions:
            self._fresh_at = time.monotonic()

    def _stuck(self) -> list[int]:
        """Partitions of which nothing was read since the last look, though they had more then.

        Raises KafkaException.
        """
        places = {TopicPartition(self._topic, number): OffsetSpec.latest() for number in self._partitions}
        answers = self._admin.list_offsets(
            places, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_REQUEST_SECONDS
        )
        reached, before = self._reached, self._owed
        self._owed = {
            place.partition: reached.get(place.partition, 0)
            for place, future in answers.items()
            if future.result().offset > reached.get(place.partition, 0)
        }
        return sorted(number for number, offset in self._owed.items() if before.get(number) == offset)

    def _find(self, timeout: float) -> tuple[str, set[int]]:
        """The topic's id and its partitions. Raises JoinError."""
        try:
            wanted = TopicCollection([self._topic])
            topic = self._admin.describe_topics(wanted, request_timeout=timeout)[self._topic].result(timeout + 1)
        except KafkaException as error:
            raise JoinError(self._message(error.args[0].str())) from error
        except TimeoutError as error:
            raise JoinError(self._message("no broker answers")) from error
        if not topic.partitions:
            raise JoinError(self._message("has no partitions yet"))
        return str(topic.topic_id), {partition.id for partition in topic.partitions}

    def _begin(self, topic_id: str, partitions: set[int]) -> None:
        """Read the topic from its beginning, while the current rows are served."""
        self._topic_id = topic_id
        self._reading = {}
        if self._partitions:
            # A consumer that knows the old topic may never fetch from the new one (confluentinc/librdkafka#4898).
            self._consumer.close()
            self._consumer = Consumer(self._config)
        self._partitions = set()
        self._at_end = set()
        self._reached, self._owed = {}, {}
        self._assign(partitions)

    def _serve(self) -> None:
        """Replace the rows with what was read to the end."""
        assert self._reading is not None
        self._rows, self._reading = self._reading, None
        self._get = self._rows.get
        self._fresh_at = time.monotonic()
        fields = {"join": self.name, "topic": self._topic, "rows": self.rows, "ignored": self.ignored}
        log.info("join table loaded", extra={"fields": fields})
        self._tell_ignored()

    def _assign(self, partitions: set[int]) -> None:
        self._consumer.incremental_assign(
            [TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in partitions]
        )
        self._partitions |= partitions

    def _read(self, timeout: float) -> None:
        for message in self._consumer.consume(_BATCH, timeout):
            error = message.error()
            if error is None:
                self._at_end.discard(message.partition())
                self._reached[message.partition()] = message.offset() + 1
                self._put(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's public name for it
                self._at_end.add(message.partition())
                self._reached[message.partition()] = message.offset()
            elif error.code() != NO_GROUP:
                log.warning("join table: %s", error.str(), extra={"fields": {"join": self.name}})
        if self._reading is not None and self._at_end == self._partitions:
            self._serve()

    def _put(self, message: Message) -> None:
        name, value = read_key(message.key() or b""), message.value()
        row = None if value is None else read_row(value)
        rows = self._rows if self._reading is None else self._reading
        if name is None or (value is not None and row is None):
            self.ignored += 1
            self._ignored_last = message.partition(), message.offset()
        elif row is None:
            rows.pop(name, None)
        else:
            rows[name] = row

    def _tell_ignored(self) -> None:
        """Log one line for all since the last one: a topic may hold nothing else."""
        last, self._ignored_last = self._ignored_last, None
        if last is not None:
            number, self._ignored_told = self.ignored - self._ignored_told, self.ignored
            where = {"join": self.name, "partition": last[0], "offset": last[1]}
            log.warning(
                "join table: %d records are no rows and are ignored, this the last", number, extra={"fields": where}
            )

    def _message(self, what: str) -> str:
        return f"enricher.joins.{self.name}: topic {self._topic!r}: {what}"
