"""Kafka client settings that every process must share, and the headers that travel with a record.

Every producer uses `murmur2_random`, so that any Kafka client puts a user on the same partition.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from operator import methodcaller
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException

from clickstream.contracts.credentials import read_credentials
from clickstream.contracts.files import UnreadableFileError, read_text
from clickstream.contracts.pipeline import Kafka
from clickstream.contracts.settings import SettingsError
from clickstream.contracts.topics import RECORD_BYTES

TRACEPARENT: Final = "traceparent"
"""W3C trace context header, present only on records of sampled requests."""

METADATA_SECONDS: Final = 10
"""Between two looks of any client at the topics that it knows."""

Headers = list[tuple[str, bytes | None]]


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
        # How soon a topic is noticed that was created, or got partitions, after we had asked for it.
        "topic.metadata.refresh.interval.ms": METADATA_SECONDS * 1_000,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2_000,
        "socket.keepalive.enable": True,
        "log.connection.close": False,
    }
    config |= _security(kafka)
    if kafka.client_config_file is not None:
        config.update(_properties(kafka.client_config_file))
    return config


def reader_config(kafka: Kafka, client_id: str) -> dict[str, Any]:
    """A consumer that is assigned partitions by hand, and is told where each of them ends. Raises SettingsError."""
    return client_config(kafka, client_id) | {
        # Required by the client; never joined, and no offset is ever committed.
        "group.id": client_id,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
    }


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
        # librdkafka's own limit is below Kafka's: what a topic of ours takes, every producer of ours takes.
        "message.max.bytes": RECORD_BYTES,
        "compression.type": "lz4",
        "linger.ms": 5,
    }


def fingerprint(*parts: bytes | None) -> str:
    """16 hex digits by which a record, or what of it is given here, is known again."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(b"-" if part is None else b"%d:%b" % (len(part), part))
    return digest.hexdigest()


def headers_of(message: Any) -> list[tuple[str, bytes | None]]:
    """The headers of a confluent_kafka Message; in place of those that cannot be read one named `unreadable`.

    For a name that is not UTF-8 the client makes a list with holes, of which the process dies, and sets an error (seen
    with 2.16). Called from C the error is looked at, which the interpreter leaves out where a call is frequent; asked
    for a second time the client gives the list without the error.
    """
    try:
        return _read_headers(message) or []
    except (SystemError, UnicodeDecodeError):
        unreadable: list[tuple[str, bytes | None]] = [("unreadable", b"true")]
        message.set_headers(unreadable)
        return unreadable


_read_headers: Final = methodcaller("headers")


def header(headers: Iterable[tuple[str, bytes | None]] | None, name: str) -> bytes | None:
    """The first header of that name."""
    for key, value in headers or ():
        if key == name:
            return value
    return None


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
            # The enricher's framework never sees this file: its consumer would go on without.
            msg = f"kafka.clientConfigFile: {path}:{number}: {key} belongs in kafka.tls and kafka.authentication"
            raise SettingsError(msg)
        if not _is_property(key, value):
            msg = f"kafka.clientConfigFile: {path}:{number}: librdkafka has no such property, or refuses the value"
            raise SettingsError(msg)
        found[key] = value
    return found


def _is_property(key: str, value: str) -> bool:
    """Ask librdkafka, by a client that connects to nothing. Its own message would quote the value."""
    try:
        Consumer({"group.id": "none", "log_level": 0, key: value})
    except (KafkaException, TypeError, ValueError):
        return False
    return True
