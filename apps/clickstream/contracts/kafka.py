"""Kafka client settings that every process must share, and the headers that travel with a record.

Every producer uses `murmur2_random`, so that any Kafka client puts a user on the same partition.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from clickstream.contracts.pipeline import Kafka

TRACEPARENT: Final = "traceparent"
"""W3C trace context header, present only on records of sampled requests."""

Headers = list[tuple[str, bytes | None]]


def client_config(kafka: Kafka, client_id: str) -> dict[str, Any]:
    """Librdkafka properties that producers, consumers and admin clients share. Raises ValueError for a bad properties file."""
    config: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "client.id": client_id,
        "topic.metadata.refresh.interval.ms": 60_000,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2_000,
        "socket.keepalive.enable": True,
        "log.connection.close": False,
    }
    if kafka.client_config_file is not None:
        config.update(_properties(Path(kafka.client_config_file)))
    return config


def producer_config(kafka: Kafka, client_id: str, *, idempotent: bool) -> dict[str, Any]:
    """A producer whose delivery report means that every in-sync replica has the record.

    `idempotent` keeps the order of one partition through retries, at the price that some broker errors are fatal and
    want a new process: right for the enricher, wrong for the tracking API.
    """
    return client_config(kafka, client_id) | {
        "acks": "all",
        "enable.idempotence": idempotent,
        "partitioner": "murmur2_random",
        "message.timeout.ms": 10_000,
        "compression.type": "lz4",
        "linger.ms": 5,
    }


def header(headers: Iterable[tuple[str, bytes | None]] | None, name: str) -> bytes | None:
    """The first header of that name."""
    for key, value in headers or ():
        if key == name:
            return value
    return None


def _properties(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, sign, value = text.partition("=")
        if not sign:
            msg = f"{path}:{number}: expected key=value"
            raise ValueError(msg)
        found[key.strip()] = value.strip()
    return found
