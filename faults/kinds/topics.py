"""The topics themselves: recreated during traffic, and truncated by retention before they were read."""

from __future__ import annotations

import signal
import time
from functools import partial
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from clickstream.runtime.kafka import reader_config
from clickstream.runtime.topic_reader import TopicReadError, watermarks
from clickstream.setup.topics import TopicAdmin
from demo.document import demo_topics
from faults.errors import HarnessError
from faults.fault import Fault
from faults.parts import wait_until
from faults.topic_reading import read_all
from faults.world import World

_TIMEOUT: Final = 20.0
_READ_SECONDS: Final = 180.0
"""Longer than a consumer that makes no progress is left alone by its probe."""
_NOTICED_SECONDS: Final = 7.0
"""Consumers check a topic's id every five seconds."""


def _created_anew(world: World, seconds: float, which: str) -> None:
    with world.topics:
        _create_anew(world, seconds, which)


def _create_anew(world: World, seconds: float, which: str) -> None:
    """Producers are cut off first and consumers read the topic to its end: nothing accepted is in it."""
    names, links = world.pipeline.names, world.links
    topic = {"raw": names.raw_clicks, "enriched": names.enriched_clicks}[which]
    writer = {"raw": "tracking-api", "enriched": "enricher"}[which]
    links[f"{writer}→kafka"].refuse()
    left = (
        world.lag.enricher if which == "raw" else lambda: world.lag.sink("elasticsearch") + world.lag.sink("postgres")
    )
    if not wait_until(lambda: _zero(left), _READ_SECONDS):
        links[f"{writer}→kafka"].restore()
        msg = f"{topic} was not read to its end in {_READ_SECONDS:.0f} s: {left()} records are left"
        raise HarnessError(msg)
    world.admin.delete_topics([topic], operation_timeout=_TIMEOUT)[topic].result()
    if not wait_until(lambda: topic not in world.admin.list_topics(timeout=_TIMEOUT).topics, _TIMEOUT):
        msg = f"{topic} is not gone"
        raise HarnessError(msg)
    time.sleep(seconds / 4)
    TopicAdmin(world.pipeline.kafka).create(demo_topics(world.pipeline))
    links[f"{writer}→kafka"].restore()
    time.sleep(_NOTICED_SECONDS)
    world.wait_ready()


def _zero(left: Any) -> bool:
    try:
        return bool(left() == 0)
    except (KafkaException, TopicReadError):
        return False


def _cut_below_the_lag(world: World, seconds: float) -> None:
    with world.topics:
        _cut(world, seconds)


def _cut(world: World, seconds: float) -> None:
    """Readers are paused, records pile up, and the older half of one partition is deleted.

    What was in it is excused by id.
    """
    names = world.pipeline.names
    topic = names.raw_clicks
    replicas = list(world.parts["enricher"].replicas)
    for replica in replicas:
        replica.expected = True
        replica.ready = False
        replica.send(signal.SIGSTOP)
    time.sleep(seconds)
    partition = world.rng.randrange(len(world.admin.list_topics(topic, timeout=_TIMEOUT).topics[topic].partitions))
    place = TopicPartition(topic, partition)
    end = world.admin.list_offsets({place: OffsetSpec.latest()})[place].result().offset
    begin = _committed(world, names.enricher_group, place)
    cut = begin + (end - begin) // 2
    gone = _excuse(world, TopicPartition(topic, partition, begin), cut)
    world.admin.delete_records([TopicPartition(topic, partition, cut)])[place].result()
    world.timeline.say(f"{topic}-{partition}: offsets {begin} to {cut - 1} are deleted, {gone} clicks of them")
    for replica in replicas:
        # It must resume from what it committed: one that was only paused still has the deleted records in its buffers.
        replica.kill()
    world.wait_ready()


def _committed(world: World, group: str, place: TopicPartition) -> int:
    consumer = Consumer(reader_config(world.pipeline.kafka, "faults") | {"group.id": group})
    try:
        offset = int(consumer.committed([place], timeout=_TIMEOUT)[0].offset)
        low, _ = watermarks(consumer, place.topic, [place.partition], _TIMEOUT)[place.partition]
        return max(offset, low)
    finally:
        consumer.close()


def _excuse(world: World, start: TopicPartition, end: int) -> int:
    """Note which clicks and which poison are about to be deleted; the number of clicks."""
    clicks: set[str] = set()
    config = reader_config(world.pipeline.kafka, "faults")
    for message in read_all(config, start.topic, {start.partition: start.offset}):
        if message.offset() >= end:
            break
        world.excused_keys.add(message.key() or b"")
        try:
            clicks.add(msgspec.json.decode(message.value())["event_id"])
        except (msgspec.DecodeError, TypeError, KeyError, UnicodeDecodeError, RecursionError):
            continue  # poison
    world.excused |= clicks
    return len(clicks)


FAULTS = (
    Fault("raw-clicks is created anew", "topics", partial(_created_anew, which="raw"), frozenset({"enricher"})),
    Fault(
        "enriched-clicks is created anew",
        "topics",
        partial(_created_anew, which="enriched"),
        frozenset({"enricher", "sink-elasticsearch", "sink-postgres"}),
    ),
    Fault("raw-clicks is cut below the lag", "topics", _cut_below_the_lag),
)
