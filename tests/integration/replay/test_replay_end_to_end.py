"""Traffic through the enrichment of yesterday; then another one is rolled out, and what is stored is replayed through
it.

The oracle is a fresh run of the new enrichment over the whole raw topic, without servers.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from clickstream.contracts.clicks import Click
from clickstream.contracts.pipeline import Pipeline, dump_pipeline, parse_pipeline
from clickstream.enricher.processing import Processing
from clickstream.enricher.sessions import PartitionState
from clickstream.enricher.source import committed_offsets
from clickstream.enrichment.flow import Flow
from clickstream.enrichment.funnels import FunnelBook
from clickstream.replay.rewriting import Raw
from clickstream.runtime.geoip import GeoIP
from devstack import Stack
from support.processes import Process, clickstream, wait_for
from support.replay_model import Store
from support.stores import Stores
from support.topics import end_offsets, feed, read_all
from support.traffic import GAP, MINUTE, START, clicks

OLDER = Path(__file__).parent / "older_enricher.py"
MONITOR = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 Monitoring"
CATALOGUE = "replay.catalogue"
ROWS = {"item-1": {"price": 10}, "item-2": {"price": 20}}
BEGIN = int(time.time() * 1_000) - 7 * 60 * MINUTE
"""When the traffic begins (ms). It ends before now, to which the clock moves stream time when a partition is idle."""
NEW_ROWS = {"item-1": {"price": 11}, "item-2": {"price": 20}}


class Plane:
    """Enricher and sinks of a pipeline as processes, its document, and eyes on both stores."""

    def __init__(self, pipeline: Pipeline, folder: Path) -> None:
        self.pipeline = pipeline
        self.document = folder / "pipeline.json"
        self._folder = folder
        self.declare(pipeline)
        self.stores = Stores(pipeline)
        self.enricher = self._process("enricher-old", [sys.executable, str(OLDER)])
        self.elasticsearch = self._process("sink-es", clickstream("sink", "elasticsearch"))
        self.postgres = self._process("sink-pg", clickstream("sink", "postgres"))

    def declare(self, pipeline: Pipeline) -> None:
        """Write the document, and set the stores up for it."""
        self.pipeline = pipeline
        self.document.write_bytes(dump_pipeline(pipeline))
        subprocess.run(clickstream("setup", "all", "--pipeline", str(self.document)), check=True, timeout=120)

    def roll_out(self, pipeline: Pipeline) -> None:
        """Another document, and the enricher of today."""
        self.declare(pipeline)
        assert self.enricher.stop() == 0
        self.enricher = self._process("enricher", clickstream("enricher"))

    def _process(self, name: str, command: list[str]) -> Process:
        options = ["--pipeline", str(self.document), "--ops-port-file", "{ops_port_file}"]
        return Process(name, [*command, *options], self._folder, {"CLICKSTREAM_LOG_FORMAT": "text"})

    @property
    def processes(self) -> tuple[Process, ...]:
        """All that run."""
        return self.enricher, self.elasticsearch, self.postgres

    def settled(self) -> None:
        """Wait until nothing is on its way."""
        names = self.pipeline.names
        wait_for(lambda: self._come(names.enricher_group, names.raw_clicks), "all is enriched", *self.processes)
        for sink in ("elasticsearch", "postgres"):
            for topic in (names.enriched_clicks, names.sessions):
                there = partial(self._come, names.sink_group(sink), topic)
                wait_for(there, f"{sink} has all of {topic}", *self.processes, timeout=180)

    def _come(self, group: str, topic: str) -> bool:
        """Whether a consumer group has committed all that is on a topic."""
        consumer = Consumer({"bootstrap.servers": self.pipeline.kafka.bootstrap_servers, "group.id": "test-ends"})
        ends = {number: high for number, (_, high) in end_offsets(consumer, topic).items()}
        consumer.close()
        found = committed_offsets(self.pipeline.kafka, group, topic, list(ends))
        return {number: max(0, offset) for number, offset in found.items()} == ends

    def replay(self, *arguments: str) -> dict[str, Any]:
        """Run the command; its figures."""
        command = clickstream("replay", "--pipeline", str(self.document), *arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]

    def check(self) -> None:
        """`clickstream check` finds no difference."""
        command = clickstream("check", "--settle", "0", "--pipeline", str(self.document))
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def clicks(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Clicks by event id as Elasticsearch and as PostgreSQL hold them, in Elasticsearch's terms; none is double."""
        documents = self.stores.clicks_es()
        rows = self.stores.sql("SELECT * FROM {s}.clicks")
        found = {d["event_id"]: d for d in documents}, {row["event_id"]: as_document(row) for row in rows}
        assert (len(found[0]), len(found[1])) == (len(documents), len(rows))
        return found

    def sessions(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Standing sessions by id, without their versions."""
        columns = {"start": "started_at", "end": "ended_at"}
        names = [
            "user_id",
            "start",
            "end",
            "events",
            "page_views",
            "entry_page",
            "exit_page",
            "medium",
            "device",
            "country",
            "bot",
            "bounce",
            "closed",
            "funnels",
        ]
        documents = {d["id"]: {name: d[name] for name in names} for d in self.stores.sessions_es()}
        rows = {
            row["session_id"]: {name: ms(row[columns.get(name, name)]) for name in names}
            for row in self.stores.sql("SELECT * FROM {s}.sessions")
        }
        return documents, rows

    def close(self) -> None:
        """End all."""
        self.stores.close()
        for process in self.processes:
            process.kill()


def ms(value: Any) -> Any:
    return round(value.timestamp() * 1_000) if isinstance(value, datetime) else value


def as_document(row: dict[str, Any]) -> dict[str, Any]:
    found = {name: ms(value) for name, value in row.items() if name not in {"replayed_at", "ip"}}
    found["timestamp"] = found.pop("client_timestamp")
    found["session"] = found.pop("session_id")
    found["storage_day"] = row["storage_day"].isoformat()
    return found


def traffic(seed: int, count: int, hours: float) -> list[Click]:
    """Clicks with addresses; some users call themselves a monitor always, some now and then."""
    chance = random.Random(seed)
    found: list[Click] = []
    agents: dict[str, str] = {}
    for click in clicks(count, seed=seed, users=60, hours=hours):
        number = int(click.user_id.rpartition("-")[2])
        monitor = number % 5 == 0 or (number % 5 == 1 and chance.random() < 0.3)
        agent = agents.setdefault(click.event_id, MONITOR if monitor else click.user_agent or "")
        found.append(shifted(msgspec.structs.replace(click, user_agent=agent, ip=f"203.0.113.{number}"), BEGIN - START))
    return found


def shifted(click: Click, by: int) -> Click:
    return msgspec.structs.replace(click, timestamp=click.timestamp + by, received_at=click.received_at + by)


def closers(after_minutes: float) -> list[Click]:
    """Somebody on every partition, so much later that all who came before are gone."""
    at = BEGIN + int(after_minutes * MINUTE)
    return [
        Click(f"closer-{at}-{n}", at, f"closer-{n}", "browser", "/", at + 1_000, "web", ip="203.0.113.7")
        for n in range(60)
    ]


def fresh_run(pipeline: Pipeline) -> Store:
    """What the enrichment of the pipeline makes of everything on the raw topic."""
    geoip = GeoIP(pipeline.enricher.geoip)
    flow = Flow(pipeline, geoip.country_of, {"product": NEW_ROWS})
    processing, store = Processing(flow, "user_id"), Store()
    states: dict[int, PartitionState] = defaultdict(lambda: PartitionState(GAP, GAP, FunnelBook(pipeline.funnels)))
    for message in read_all(pipeline.kafka.bootstrap_servers, pipeline.names.raw_clicks):
        state = states[message.partition()]
        while (effects := processing.close(state)) is not None:
            store.take([], effects.sessions)
        effects = processing.chunk(state, [_Fetched(message.offset(), message.timestamp()[1], message.value())])
        store.take(effects.enriched, effects.sessions)
    for state in states.values():
        while (effects := processing.close(state)) is not None:
            store.take([], effects.sessions)
    geoip.close()
    return store


class _Fetched(Raw):
    headers = ()
    topic, partition, key = "", 0, None


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    writer = MMDBWriter(4, "Test-Country", languages=["en"])
    writer.insert_network(IPSet(["203.0.113.0/27"]), {"country": {"iso_code": "DE"}})
    writer.insert_network(IPSet(["203.0.113.32/27"]), {"country": {"iso_code": "GB"}})
    path = str(tmp_path_factory.mktemp("geoip") / "countries.mmdb")
    writer.to_db_file(path)
    return path


@pytest.fixture(scope="module")
def catalogue(stack: Stack) -> Callable[[dict[str, Any]], None]:
    servers = {"bootstrap.servers": stack.kafka.bootstrap_servers}
    admin = AdminClient(servers)
    admin.create_topics([NewTopic(CATALOGUE, 1, 1)])[CATALOGUE].result(30)

    def put(rows: dict[str, Any]) -> None:
        producer = Producer(servers)
        for key, row in rows.items():
            producer.produce(CATALOGUE, json.dumps(row).encode(), key.encode())
        assert producer.flush(10) == 0

    put(ROWS)
    return put


@pytest.fixture
def plane(new_pipeline: Callable[..., Pipeline], catalogue: Callable[..., None], tmp_path: Path) -> Iterator[Plane]:
    join = {"name": "product", "topic": CATALOGUE, "page": "/products/{key}"}
    started = Plane(new_pipeline(enricher={"joins": [join]}), tmp_path)
    yield started
    started.close()


def changed(pipeline: Pipeline, database: str) -> Pipeline:
    """Other categories, another way through the funnel, and countries."""
    document = msgspec.json.decode(dump_pipeline(pipeline))
    document["enricher"] |= {"geoip": database, "pageCategories": [{"name": "shop", "page": "/products*"}]}
    pages = {"Shop": "/products", "Item": "/products/*", "Cart": "/cart"}
    document["funnels"] = [{"name": "checkout", "steps": [{"name": n, "page": p} for n, p in pages.items()]}]
    return parse_pipeline(msgspec.json.encode(document))


def agree(plane: Plane, fresh: Store) -> None:
    """Both stores hold what a fresh run would have stored: each click once, each session, and rollups that follow."""
    expected = {click.event_id: click for click in fresh.clicks.values()}
    for found in plane.clicks():
        assert found.keys() == expected.keys(), "none lost, none made up"
        for event_id, click in expected.items():
            wanted = msgspec.to_builtins(click)
            assert {name: found[event_id].get(name) for name in wanted if name != "ip"} == {
                name: value for name, value in wanted.items() if name != "ip"
            }
    standing = fresh.standing()
    for sessions in plane.sessions():
        assert sessions.keys() == standing.keys()
        for session_id, found in sessions.items():
            assert found == {name: getattr(standing[session_id], name) for name in found}
    plane.check()


def test_stored_clicks_and_sessions_become_those_of_todays_enrichment_while_traffic_goes_on_and_sinks_die(
    plane: Plane, database: str, catalogue: Callable[..., None]
) -> None:
    pipeline = plane.pipeline
    servers, topic = pipeline.kafka.bootstrap_servers, pipeline.names.raw_clicks
    plane.enricher.wait_ready()
    feed(servers, topic, traffic(1, 4_000, hours=6))
    feed(servers, topic, closers(6.5 * 60))
    plane.settled()
    before = plane.clicks()[1]
    people = plane.stores.sql("SELECT count(*) AS n FROM {s}.active_users_day WHERE NOT bot")[0]["n"]
    plane.check()

    catalogue(NEW_ROWS)
    plane.roll_out(changed(pipeline, database))
    plane.enricher.wait_ready()
    tried = plane.replay("--from", "1h", "--dry-run")
    assert tried["clicks"] + tried["kept"] == len(before)
    assert tried["kept"] <= 60, "only the last visits may be open"
    assert tried["sessions_changed"] > 100
    assert tried["retracted"] > 20
    assert plane.clicks()[1] == before, "nothing is sent"

    now = int(time.time() * 1_000)
    live = [
        msgspec.structs.replace(click, user_id=f"live-{click.user_id}", timestamp=now + n * 5, received_at=now + n * 5)
        for n, click in enumerate(traffic(2, 1_500, hours=1))
    ]
    going_on = threading.Thread(target=feed, args=(servers, topic, live, 150))
    going_on.start()
    killers = [
        threading.Thread(target=kill_in_the_middle, args=(sink,)) for sink in (plane.elasticsearch, plane.postgres)
    ]
    for killer in killers:
        killer.start()
    done = plane.replay("--from", "1h", "--rate", "500")
    for killer in killers:
        killer.join(120)
    assert done["sessions"] > 100
    going_on.join(60)
    plane.settled()
    fresh = fresh_run(plane.pipeline)
    agree(plane, fresh)
    flags = [click.bot for click in fresh.clicks.values()]
    assert 300 < sum(flags) < len(flags) / 2
    left = plane.stores.sql("SELECT count(*) AS n FROM {s}.active_users_day WHERE NOT bot AND user_id LIKE 'user-%%'")
    assert left[0]["n"] < people, "who was a monitor all along is nobody's user any more"
    funnel = plane.stores.sql("SELECT DISTINCT version FROM {s}.funnel_sessions WHERE session_id = ANY(%s)", [
        session.id for session in fresh.standing().values() if session.user_id.startswith("user-")
    ])  # fmt: skip
    assert [row["version"] for row in funnel] == [2]

    # Once more: nothing is changed.
    counted = [replaced_by(sink) for sink in (plane.elasticsearch, plane.postgres)]
    again = plane.replay("--from", "1h")
    assert (again["sessions_new"], again["sessions_changed"], again["retracted"]) == (0, 0, 0)
    plane.settled()
    assert [replaced_by(sink) for sink in (plane.elasticsearch, plane.postgres)] == counted
    agree(plane, fresh)


def replaced_by(sink: Process) -> float:
    return sink.metric("clickstream_events_replaced_total")


def kill_in_the_middle(sink: Process) -> None:
    wait_for(lambda: replaced_by(sink) > 200, f"{sink.name} is at it", sink)
    sink.kill()
    assert replaced_by(sink) == 0
    sink.start()


def test_a_part_of_the_time_is_replayed_with_the_visits_that_reach_into_it(plane: Plane, database: str) -> None:
    pipeline = plane.pipeline
    servers, topic = pipeline.kafka.bootstrap_servers, pipeline.names.raw_clicks
    plane.enricher.wait_ready()
    whole = traffic(3, 3_000, hours=4)
    times = []
    for start in range(0, 3_000, 1_000):
        feed(servers, topic, whole[start : start + 1_000])
        time.sleep(1.1)  # record times of the parts differ
        times.append(datetime.now(UTC).isoformat(timespec="milliseconds"))
        time.sleep(0.1)
    feed(servers, topic, closers(5 * 60))
    # What is no click and no session, however deep it is, is nobody's end.
    producer = Producer({"bootstrap.servers": servers})
    for each in (topic, pipeline.names.enriched_clicks, pipeline.names.sessions):
        producer.produce(each, b'{"a":' * 1_100 + b"1" + b"}" * 1_100, b"somebody")
    assert producer.flush(10) == 0
    plane.settled()
    before = plane.clicks()[1]
    plane.roll_out(changed(pipeline, database))
    figures = plane.replay("--from", times[0], "--to", times[1])
    assert figures["kept"] == 0
    assert 1_000 < figures["clicks"] < 1_600, "and the clicks of visits that reach in or out"
    plane.settled()
    plane.check()
    fresh = {click.event_id: click for click in fresh_run(plane.pipeline).clicks.values()}
    in_range = {click.event_id for click in whole[1_000:2_000]} - {click.event_id for click in whole[:1_000]}
    for found in plane.clicks():
        assert found.keys() == before.keys()
        new = {event_id for event_id, click in found.items() if click["country"] is not None}
        assert new >= in_range
        assert len(new) == figures["clicks"]
        for event_id, click in found.items():
            wanted = fresh[event_id] if event_id in new else None
            for name in ("country", "bot", "session", "page_category"):
                assert click[name] == (before[event_id][name] if wanted is None else getattr(wanted, name))
