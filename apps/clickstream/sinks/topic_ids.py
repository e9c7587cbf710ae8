"""The ids of topics: Kafka gives a new one to a topic that is created anew under its old name, and its client does not tell."""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Iterable
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

log = logging.getLogger(__name__)

_REQUEST_SECONDS: Final = 5.0
_EVERY_SECONDS: Final = 5.0
_NONE: Final = "AAAAAAAAAAAAAAAAAAAAAA"
"""What brokers answer that know no ids."""


class TopicIds:
    """Of the topics of one consumer, as far as the brokers tell."""

    def __init__(self, config: dict[str, Any], topics: Iterable[str]) -> None:
        self._admin = AdminClient(config)
        self._topics = list(topics)
        self._asked: dict[str, Future[Any]] = {}
        self._asked_at = time.monotonic()
        self._known: dict[str, str] = {}

    def of(self, topic: str) -> str:
        """The topic's id, empty when it is not known."""
        return self._known.get(topic, "")

    def learn(self, read: Container[str]) -> None:
        """Ask, and wait some seconds. Topics that are `read` keep the id that they were begun with: see `changed`."""
        self._ask()
        self._known |= {
            topic: found for topic, found in self._answers().items() if topic not in read or not self.of(topic)
        }

    def changed(self) -> list[str]:
        """Topics that have got another id since it was learned. Asks every few seconds, and does not wait."""
        if self._asked and all(future.done() for future in self._asked.values()):
            answers = self._answers()
            others = [topic for topic, found in answers.items() if self.of(topic) not in {"", found}]
            self._known |= answers
            return others
        if not self._asked and time.monotonic() - self._asked_at >= _EVERY_SECONDS:
            self._ask()
        return []

    def _ask(self) -> None:
        self._asked_at = time.monotonic()
        try:
            self._asked = self._admin.describe_topics(TopicCollection(self._topics), request_timeout=_REQUEST_SECONDS)
        except KafkaException as error:
            log.info("the topics' ids are not known: %s", error.args[0].str())

    def _answers(self) -> dict[str, str]:
        asked, self._asked = self._asked, {}
        found: dict[str, str] = {}
        for topic, future in asked.items():
            try:
                identity = str(future.result(_REQUEST_SECONDS + 1).topic_id)
            except (KafkaException, TimeoutError) as error:
                log.info("the id of topic %s is not known: %s", topic, error)
                continue
            if identity != _NONE:
                found[topic] = identity
        return found
