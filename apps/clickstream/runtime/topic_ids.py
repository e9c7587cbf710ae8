"""The ids of topics, by which a topic is recognized that was deleted and created again under its old name.

Kafka gives it a new id, and the client does not report that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

log = logging.getLogger(__name__)

_REQUEST_SECONDS: Final = 5.0
_EVERY_SECONDS: Final = 5.0
_NONE: Final = "AAAAAAAAAAAAAAAAAAAAAA"
"""What brokers without topic ids return."""


class TopicIds:
    """Of the topics of one client, as far as the brokers report them. `config` is for a client that is not polled."""

    def __init__(self, config: dict[str, Any], topics: Iterable[str]) -> None:
        self._admin = AdminClient(config)
        self._topics = list(topics)
        self._asked: dict[str, Future[Any]] = {}
        self._asked_at = time.monotonic()
        self._known: dict[str, str] = {}
        self._others: dict[str, str] = {}

    def of(self, topic: str) -> str:
        """The topic's id, empty when it is not known."""
        return self._known.get(topic, "")

    def learn(self) -> None:
        """Ask the brokers, and wait some seconds."""
        self._ask()
        self._take()

    def changed(self) -> dict[str, str]:
        """Topics whose id has changed since the last call, with the former one.

        Asks the brokers every few seconds, and does not wait.
        """
        if self._asked and all(future.done() for future in self._asked.values()):
            self._take()
        elif not self._asked and time.monotonic() - self._asked_at >= _EVERY_SECONDS:
            self._ask()
        others, self._others = self._others, {}
        return others

    def _take(self) -> None:
        answers = self._answers()
        self._others |= {topic: self.of(topic) for topic, found in answers.items() if self.of(topic) not in {"", found}}
        self._known |= answers

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
