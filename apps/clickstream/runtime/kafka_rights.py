"""Which rights (ACLs) a process lacks in Kafka, as the brokers tell it themselves.

Without this, a right that is missing shows as an error of the first request that needs it, which need not name the
right, or as a group that is never joined.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from clickstream.contracts.kafka_rights import Right
from clickstream.runtime.kafka import COORDINATOR_SECONDS

log: Final = logging.getLogger(__name__)

_REQUEST_SECONDS: Final = 5.0
DENIED: Final = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})
_OPERATIONS: Final = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
}
_AGAIN_SECONDS: Final = 10.0


def lacks(right: Right) -> str:
    """What to tell of a right that is missing."""
    return f"the Kafka user lacks a right (ACL): {right}; what needs it fails until it is granted (docs/rights.md)"


def report(
    config: dict[str, Any], rights: Iterable[Right], tell: Callable[[str], object] = log.error
) -> tuple[Right, ...]:
    """Log or `tell` each right that is missing; those of which the brokers do not say."""
    lacking, unknown = missing(config, rights)
    for right in lacking:
        tell(lacks(right))
    return unknown


def watch(config: dict[str, Any], rights: Iterable[Right]) -> None:
    """Log each right that is missing, once, from a thread that ends when the brokers have told of all of them.

    `config`: librdkafka properties of a client that is not polled.
    """
    threading.Thread(target=_watch, args=(config, tuple(rights)), name="kafka-rights", daemon=True).start()


def _watch(config: dict[str, Any], rights: tuple[Right, ...]) -> None:
    while rights:
        rights = report(config, rights)
        if rights:  # no broker answers, or topics are still to be made
            time.sleep(_AGAIN_SECONDS)


def missing(config: dict[str, Any], rights: Iterable[Right]) -> tuple[tuple[Right, ...], tuple[Right, ...]]:
    """(those of the rights that the user does not have, those of which the brokers do not say).

    Takes the operations Read, Write and Describe.
    """
    wanted = tuple(rights)
    names = {kind: list({right.name for right in wanted if right.kind == kind}) for kind in ("topic", "group")}
    answers: dict[tuple[str, str], Future[Any]] = {}
    try:
        admin = AdminClient(config)
        if topics := names["topic"]:
            found = admin.describe_topics(
                TopicCollection(topics), request_timeout=_REQUEST_SECONDS, include_authorized_operations=True
            )
            answers |= {("topic", name): answer for name, answer in found.items()}
        if groups := names["group"]:
            found = admin.describe_consumer_groups(
                groups, request_timeout=COORDINATOR_SECONDS, include_authorized_operations=True
            )
            answers |= {("group", name): answer for name, answer in found.items()}
    except KafkaException as error:
        log.debug("which rights there are is not known: %s", error)
        return (), wanted
    allowed = {what: _allowed(answer) for what, answer in answers.items()}
    unknown = tuple(right for right in wanted if allowed[right.kind, right.name] is None)
    known = [(right, found) for right in wanted if (found := allowed[right.kind, right.name]) is not None]
    return tuple(right for right, found in known if _OPERATIONS[right.operation] not in found), unknown


def _allowed(answer: Future[Any]) -> frozenset[AclOperation] | None:
    """What may be done there; None: unknown."""
    try:
        operations = answer.result(_REQUEST_SECONDS + 1).authorized_operations
    except KafkaException as error:
        return frozenset() if error.args[0].code() in DENIED else None
    except TimeoutError:
        return None
    return None if operations is None else frozenset(operations)
