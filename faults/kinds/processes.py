"""The platform's own processes: killed, ended, paused, scaled."""

from __future__ import annotations

import signal
import time
from functools import partial
from typing import Final, Protocol

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from faults.fault import Fault
from faults.servers import ELASTICSEARCH, PARTS, POSTGRES
from faults.world import World

STORES: Final = {"sink-elasticsearch": ELASTICSEARCH, "sink-postgres": POSTGRES}
"""The link of each sink to its store."""


class _Run(Protocol):
    def __call__(self, world: World, seconds: float, /, *, part: str) -> None: ...


def _kill(world: World, _seconds: float, *, part: str) -> None:
    for replica in list(world.parts[part].replicas):
        replica.kill()
    world.wait_ready()


def _kill_again_and_again(world: World, seconds: float, *, part: str) -> None:
    """As soon as it is ready, so that recovery and hand-over are interrupted too."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        _kill(world, 0, part=part)
        time.sleep(world.rng.uniform(0.05, 1.5))


def _end(world: World, _seconds: float, *, part: str) -> None:
    """A rolling update: the new one is ready before the old one ends."""
    deployment = world.parts[part]
    old = list(deployment.replicas)
    for _ in old:
        deployment.add()
    world.wait_ready()
    for replica in old:
        deployment.remove(replica)
    world.wait_ready()


def _pause(world: World, seconds: float, *, part: str) -> None:
    replicas = list(world.parts[part].replicas)
    for replica in replicas:
        replica.send(signal.SIGSTOP)
    time.sleep(seconds)
    for replica in replicas:
        replica.send(signal.SIGCONT)
    world.wait_ready()


def _pause_one_of_two(world: World, seconds: float, *, part: str) -> None:
    """Long enough for the group to reassign its partitions to the other, which continues while the first is paused."""
    deployment = world.parts[part]
    extra = deployment.add()
    world.wait_ready()
    sleeper = deployment.replicas[0]
    sleeper.send(signal.SIGSTOP)
    time.sleep(max(seconds, 16))
    sleeper.send(signal.SIGCONT)
    world.wait_ready()
    deployment.remove(extra)
    world.wait_ready()


def _scale(world: World, seconds: float, *, part: str) -> None:
    deployment = world.parts[part]
    extra = [deployment.add(), deployment.add()]
    world.wait_ready()
    time.sleep(seconds / 2)
    for replica in extra:
        deployment.remove(replica)
    world.wait_ready()


def _kill_behind_delay(world: World, seconds: float, *, part: str) -> None:
    """Every answer is slow, so that the process is mostly between two writes: there it is killed."""
    links = [link for name, link in world.links.items() if name.startswith(f"{part}→")]
    for link in links:
        link.delay(0.2)
    time.sleep(seconds / 2)
    for replica in world.parts[part].replicas:
        replica.kill()
    for link in links:
        link.restore()
    world.wait_ready()


def _kill_after(world: World, seconds: float, *, topic: str, records: int) -> None:
    """Kill the enricher just after it has written so many records to a partition of a topic, before the answer."""
    link = world.links["enricher→kafka"]
    places = [TopicPartition(topic, number) for number in world.admin.list_topics(topic).topics[topic].partitions]

    def ends() -> list[int]:
        found = world.admin.list_offsets({place: OffsetSpec.latest() for place in places})
        return [found[place].result().offset for place in places]

    link.delay(0.2)
    time.sleep(seconds / 3)
    known, deadline = ends(), time.monotonic() + 10
    while time.monotonic() < deadline:
        now = ends()
        if any(new - old >= records for old, new in zip(known, now, strict=True)):
            break
        known = now
    for replica in world.parts["enricher"].replicas:
        replica.kill()
    link.restore()
    world.wait_ready()


def _kill_after_output(world: World, seconds: float) -> None:
    """Its clicks are written, their state is not: they are written again."""
    with world.topics:
        _kill_after(world, seconds, topic=world.pipeline.names.enriched_clicks, records=1)


def _kill_between_writes(world: World, seconds: float) -> None:
    """The state of a chunk's keys is written, the partition's own record is not."""
    with world.topics:
        _kill_after(world, seconds, topic=world.pipeline.names.enricher_changelog, records=2)


def _kill_in_silence(world: World, seconds: float, *, part: str, link: str) -> None:
    """What it has sent arrives after its death, and the answer is lost."""
    proxy = world.links[link]
    proxy.hold()
    time.sleep(seconds / 2)
    for replica in world.parts[part].replicas:
        replica.kill()
    proxy.restore()
    world.wait_ready()


def _kill_after_store(world: World, _seconds: float, *, part: str, store: str) -> None:
    """The store has taken what the sink read, and no offset is committed: the sink reads and writes it again."""
    to_store, to_kafka, replicas = world.links[store], world.links[f"{part}→kafka"], world.parts[part].replicas

    def stored() -> float:
        return sum(replica.total("clickstream_events_stored_total") for replica in replicas)

    to_store.hold()  # what is read meanwhile waits
    time.sleep(1)
    to_kafka.hold()
    known, deadline = stored(), time.monotonic() + 10
    to_store.restore()
    while stored() == known and time.monotonic() < deadline:
        time.sleep(0.02)
    for replica in replicas:
        replica.kill()
    to_kafka.cut()
    to_kafka.restore()
    world.wait_ready()


def _each(name: str, run: _Run, *, wakes: bool = False) -> list[Fault]:
    # One that resumes after too long a pause gives up its partitions by exiting, as designed.
    return [
        Fault(name.format(part), "processes", partial(run, part=part), frozenset({part} if wakes else ()))
        for part in PARTS
    ]


FAULTS = (
    *_each("{} is killed", _kill),
    *_each("{} is killed as soon as it is back", _kill_again_and_again),
    *_each("{} is killed behind a slow link", _kill_behind_delay),
    *(
        Fault(f"{part} is killed while {link} is silent", "processes", partial(_kill_in_silence, part=part, link=link))
        for part, link in (
            *((part, f"{part}→kafka") for part in PARTS),
            *STORES.items(),
        )
    ),
    *(
        Fault(
            f"{part} is killed after its store has taken clicks",
            "processes",
            partial(_kill_after_store, part=part, store=store),
        )
        for part, store in STORES.items()
    ),
    Fault("enricher is killed after its output", "processes", _kill_after_output),
    Fault("enricher is killed between two writes", "processes", _kill_between_writes),
    *_each("{} is replaced", _end),
    *_each("{} is paused", _pause, wakes=True),
    *_each("one of two of {} is paused", _pause_one_of_two, wakes=True),
    *_each("{} is scaled to 3 and back", _scale),
)
