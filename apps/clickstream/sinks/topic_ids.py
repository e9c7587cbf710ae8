"""The ids of topics: Kafka gives a new one to a topic that is created anew under its old name, and its client does not tell."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

log = logging.getLogger(__name__)

_REQUEST_SECONDS: Final = 5.0
_NONE: Final = "AAAAAAAAAAAAAAAAAAAAAA"
"""What brokers answer that know no ids."""


class TopicIds:
    """Asks the brokers. An id that is not known is absent from the answers."""

    def __init__(self, config: dict[str, Any], topics: Iterable[str]) -> None:
        self._admin = AdminClient(config)
        self._topics = list(topics)
        self._asked: dict[str, Future[Any]] = {}

    def ask(self) -> None:
        """Send the question; `answer` has it when it is there. Does not wait."""
        try:
            self._asked = self._admin.describe_topics(TopicCollection(self._topics), request_timeout=_REQUEST_SECONDS)
        except KafkaException as error:
            log.info("the topics' ids are not known: %s", error.args[0].str())

    def answer(self) -> dict[str, str] | None:
        """Id by topic, once; None while there is no (new) answer."""
        if not self._asked or not all(future.done() for future in self._asked.values()):
            return None
        return self._read()

    def now(self) -> dict[str, str]:
        """Id by topic; waits some seconds."""
        self.ask()
        return self._read()

    def _read(self) -> dict[str, str]:
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
