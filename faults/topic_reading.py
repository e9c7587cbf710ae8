"""Reading a topic from its beginning to its current end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer

from clickstream.runtime.topic_reader import TopicReadError, marks_since, messages
from faults.errors import HarnessError

_TIMEOUT = 20.0


def read_all(config: Mapping[str, Any], topic: str, starts: Mapping[int, int] | None = None) -> Iterator[Any]:
    """Every message of a topic; with `starts` of these partitions only, from these offsets on. Raises HarnessError."""
    consumer: Any = Consumer(dict(config))
    try:
        marks = marks_since(consumer, topic, None, _TIMEOUT)
        wanted = dict.fromkeys(marks, 0) if starts is None else starts
        spans = {number: (max(marks[number][1], start), marks[number][2]) for number, start in wanted.items()}
        yield from messages(consumer, topic, spans, _TIMEOUT)
    except TopicReadError as error:
        raise HarnessError(str(error)) from error
    finally:
        consumer.close()
