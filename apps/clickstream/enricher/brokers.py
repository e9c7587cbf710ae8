"""Waits for brokers that answer and accept the credentials, before anything else starts.

The framework would fail with a traceback that does not say why the brokers refused. The wait is bounded: the process is
restarted, so that the failure shows.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

log: Final = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 5.0


class BrokersError(Exception):
    """No broker answered in time; the message has the last reason."""


def await_brokers(config: dict[str, Any], timeout: float) -> None:
    """Return once a broker returns the cluster's metadata. `config` holds librdkafka properties.

    Raises BrokersError.
    """
    troubles: list[str] = []

    def on_error(error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - says nothing that we do not know
            troubles.append(error.str())

    try:
        admin = AdminClient(config | {"log_level": 0, "error_cb": on_error})
    except KafkaException as error:
        raise BrokersError(error.args[0].str()) from error
    deadline = time.monotonic() + timeout
    while True:
        try:
            admin.list_topics("__consumer_offsets", timeout=_LOOK_SECONDS)
        except KafkaException as error:
            admin.poll(0)  # runs the error callback
            reason = troubles[-1] if troubles else error.args[0].str()
        else:
            return
        if (left := deadline - time.monotonic()) <= 0:
            raise BrokersError(reason)
        log.warning("waiting for Kafka, %.0f s left: %s", left, reason)
        time.sleep(min(1.0, left))
