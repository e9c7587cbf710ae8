"""A compacted topic as a table in memory, the running side of a stream-table join.

A plain consumer with `assign()` reads every partition to its end before the first click, then a thread of its own keeps
the rows up to date, so that a changed catalogue shows in the next clicks. It is no Faust table: those keep or lose rows
across rebalances. While the brokers are away the last known rows are served; `staleness` tells for how long.

A record's key is UTF-8 text, its value a JSON object; nested values are kept as compact JSON text. A record without a
value removes its row. What is neither is counted and ignored, so that one bad record cannot stop a pipeline. Deliberately absent: a limit on
the number of rows, since a table without some of its rows would be wrong in silence (watch the `rows` gauge).
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from clickstream.contracts.kafka import client_config
from clickstream.contracts.pipeline import Kafka
from clickstream.enricher.enrichments.join import Row

log: Final = logging.getLogger(__name__)

MAX_ROW: Final = 16_384
"""Bytes of a row's record: the row is written again with every click that it joins."""
LOOK_SECONDS: Final = 10.0
"""Between two looks at the topic: is a broker there, are there new partitions."""
_POLL_SECONDS: Final = 0.2
_REQUEST_SECONDS: Final = 5.0
_BATCH: Final = 1_000


class JoinError(Exception):
    """A table cannot be read at the start; the message names the join and the topic."""


class JoinTable:
    """The rows of one join's topic. Made empty; `load` fills it and keeps it so until `close`.

    Readers in other threads are safe: a row is never changed, only replaced.
    """

    def __init__(
        self, name: str, topic: str, kafka: Kafka, client_id: str, *, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self.name = name
        self.ignored = 0
        self._topic = topic
        self._rows: dict[str, Row] = {}
        self._get = self._rows.get
        self._look_seconds = look_seconds
        self._fresh_at = time.monotonic()
        self._partitions: set[int] = set()
        self._at_end: set[int] = set()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._consumer = Consumer(
            client_config(kafka, client_id)
            | {
                # Required by the client; never joined, and no offset is ever committed.
                "group.id": client_id,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": 100,
            },
            logger=log,
        )

    def get(self, key: str, /) -> Row | None:
        """The row of a key as it stands now."""
        return self._get(key)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    @property
    def staleness(self) -> float:
        """Seconds since the rows were last known to be all that the topic holds."""
        return time.monotonic() - self._fresh_at

    def load(self, timeout: float) -> None:
        """Read the topic to its end, then go on in the background. Raises JoinError: missing, unreachable, or too slow."""
        deadline = time.monotonic() + timeout
        self._assign(self._find_partitions(timeout))
        while self._at_end != self._partitions:
            left = deadline - time.monotonic()
            if left <= 0:
                raise JoinError(self._message(f"not read to its end within {timeout:.0f} s"))
            self._read(min(left, _POLL_SECONDS))
        self._fresh_at = time.monotonic()
        fields = {"join": self.name, "topic": self._topic, "rows": self.rows, "ignored": self.ignored}
        log.info("join table loaded", extra={"fields": fields})
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
        """Take new partitions in; the table is fresh when a broker answers and every partition is at its end."""
        try:
            found = self._find_partitions(_REQUEST_SECONDS)
        except JoinError as error:
            log.warning("%s; serving the last known rows", error, extra={"fields": {"join": self.name}})
            return
        if found - self._partitions:
            self._assign(found - self._partitions)
        elif self._at_end == self._partitions:
            self._fresh_at = time.monotonic()

    def _find_partitions(self, timeout: float) -> set[int]:
        try:
            found = self._consumer.list_topics(self._topic, timeout).topics[self._topic]
        except KafkaException as error:
            raise JoinError(self._message(error.args[0].str())) from error
        if found.error is not None:
            raise JoinError(self._message(found.error.str()))
        return set(found.partitions)

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
                self._put(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's public name for it
                self._at_end.add(message.partition())
            else:
                log.warning("join table: %s", error.str(), extra={"fields": {"join": self.name}})

    def _put(self, message: Message) -> None:
        key, value = message.key(), message.value()
        try:
            name = (key or b"").decode()
            row = None if value is None else read_row(value)
        except ValueError:  # also UnicodeDecodeError and msgspec's
            name, row = "", None
        if not name or (value is not None and row is None):
            self.ignored += 1
            where = {"join": self.name, "partition": message.partition(), "offset": message.offset()}
            log.warning("join table: a record is no row; ignored", extra={"fields": where})
        elif row is None:
            self._rows.pop(name, None)
        else:
            self._rows[name] = row

    def _message(self, what: str) -> str:
        return f"enricher.joins.{self.name}: topic {self._topic!r}: {what}"


def read_row(value: bytes) -> Row | None:
    """The row in a record's value, None if it is no JSON object or too large. Raises ValueError for what is no JSON."""
    if len(value) > MAX_ROW:
        return None
    try:
        found: Any = msgspec.json.decode(value)
    except RecursionError:
        return None
    if not isinstance(found, dict):
        return None
    return {_clean(name): _flat(field) for name, field in found.items()}


def _flat(field: Any) -> str | int | float | bool | None:
    if isinstance(field, dict | list):
        return _clean(msgspec.json.encode(field).decode())
    return _clean(field) if isinstance(field, str) else field


def _clean(text: str) -> str:
    """Without NUL, which PostgreSQL cannot store."""
    return text.replace("\0", "\ufffd")
