"""Kafka client settings that every process must share.

Every producer uses `murmur2_random`, so that any Kafka client puts a user on the same partition.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException

from clickstream.contracts.pipeline import Kafka
from clickstream.contracts.topics import RECORD_BYTES
from clickstream.runtime.credentials import read_credentials
from clickstream.runtime.files import UnreadableFileError, read_text
from clickstream.runtime.settings import SettingsError

METADATA_SECONDS: Final = 10
"""Between two metadata refreshes of any client."""

COORDINATOR_SECONDS: Final = 3_600.0
"""Request timeout of admin requests about consumer groups; callers wait for their future as long as they like.

librdkafka aborts the process when such a request has timed out and its coordinator is found afterwards, as when
brokers return (confluentinc/librdkafka#4605).
"""

CLIENT_LOGGER: Final = "librdkafka"


_DOCUMENTED: Final = frozenset(
    {
        "security.protocol",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.username",
        "sasl.password",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.key.location",
    }
)


def client_config(kafka: Kafka, client_id: str) -> dict[str, Any]:
    """Librdkafka properties that producers, consumers and admin clients share, secrets included.

    Raises SettingsError for a file that cannot be used; the message names it, never what is in it.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "client.id": client_id,
        # librdkafka's producers would let the broker create what they write to, with the broker's idea of partitions.
        "allow.auto.create.topics": False,
        # How soon a topic is noticed that was created, or got partitions, after the first look.
        "topic.metadata.refresh.interval.ms": METADATA_SECONDS * 1_000,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2_000,
        "socket.keepalive.enable": True,
        "log.connection.close": False,
        # By default a client writes to standard error, twenty lines a second while no broker answers: see `polled`.
        "log_level": 2,
    }
    config |= _security(kafka)
    if kafka.client_config_file is not None:
        config.update(_properties(kafka.client_config_file))
    return config


def polled(config: dict[str, Any]) -> dict[str, Any]:
    """The same for a client that is polled regularly: its log goes to this process's log.

    A client that is not polled would keep its log in memory, without bound.
    """
    return config | {"log_level": 6, "logger": logging.getLogger(CLIENT_LOGGER)}


AS_ENRICHED: Final = {"isolation.level": "read_uncommitted"}
"""For readers of raw-clicks: the enricher's framework reads uncommitted records. Whoever asks what it has read, or has
still to read, must see the same ones, and must not wait for the end of a transaction."""


NO_GROUP: Final = KafkaError.GROUP_AUTHORIZATION_FAILED
"""What a consumer of `reader_config` may report and go on: the client looks up the group that it must be given, which
the user need not be allowed to see."""


def reader_config(kafka: Kafka, client_id: str) -> dict[str, Any]:
    """A consumer with manual assignment that reports the end of each partition. Raises SettingsError."""
    return polled(client_config(kafka, client_id)) | {
        # Required by the client; the group is never joined, and no offset is committed.
        "group.id": client_id,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
    }


def producer_config(kafka: Kafka, client_id: str, *, idempotent: bool) -> dict[str, Any]:
    """A producer whose delivery report means that every in-sync replica has the record.

    `idempotent` keeps the order of one partition through retries, but makes some broker errors fatal, so that the
    process must restart: right for the enricher, wrong for the tracking API.
    """
    return client_config(kafka, client_id) | {
        "acks": "all",
        "enable.idempotence": idempotent,
        "partitioner": "murmur2_random",
        "message.timeout.ms": 10_000,
        # librdkafka's own limit is below Kafka's: a producer accepts whatever the topic does.
        "message.max.bytes": RECORD_BYTES,
        "compression.type": "lz4",
        "linger.ms": 5,
    }


def _security(kafka: Kafka) -> dict[str, str]:
    credentials = read_credentials(kafka)
    who = kafka.authentication
    named = {
        "security.protocol": credentials.protocol,
        "sasl.mechanisms": credentials.mechanism,
        "sasl.username": credentials.username,
        "sasl.password": credentials.password,
        "ssl.ca.location": None if kafka.tls is None else kafka.tls.ca_file,
        "ssl.certificate.location": None if who is None else who.certificate_file,
        "ssl.key.location": None if who is None else who.key_file,
    }
    return {key: value for key, value in named.items() if value is not None}


def _properties(path: str) -> dict[str, str]:
    try:
        lines = read_text(path).splitlines()
    except UnreadableFileError as error:
        msg = f"kafka.clientConfigFile: {error}"
        raise SettingsError(msg) from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, sign, value = (part.strip() for part in text.partition("="))
        if not sign:
            msg = f"kafka.clientConfigFile: {path}:{number}: expected key=value"
            raise SettingsError(msg)
        if key in _DOCUMENTED:
            # The enricher's framework never sees this file: its consumer would ignore these properties.
            msg = f"kafka.clientConfigFile: {path}:{number}: {key} belongs in kafka.tls and kafka.authentication"
            raise SettingsError(msg)
        if not _is_property(key, value):
            msg = f"kafka.clientConfigFile: {path}:{number}: librdkafka has no such property, or refuses the value"
            raise SettingsError(msg)
        found[key] = value
    return found


def _is_property(key: str, value: str) -> bool:
    """Ask librdkafka, with a client that connects to nothing. Its own message would quote the value."""
    try:
        Consumer({"group.id": "none", "log_level": 0, key: value})
    except (KafkaException, TypeError, ValueError):
        return False
    return True
