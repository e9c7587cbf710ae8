"""Everything in a run: the processes, the pipeline's documents, and what faults need.

Each part has a document of its own, in which Kafka and its store are proxies. `pipeline` has the servers themselves,
for the harness's own checks.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from clickstream.contracts.pipeline import (
    PageCategory,
    Pipeline,
    Sinks,
    dump_pipeline,
)
from clickstream.runtime.kafka import client_config
from clickstream.runtime.topic_reader import TopicReadError
from demo.document import create_topics, demo_pipeline, load_catalogue
from demo.drain import Lag
from demo.processes import CLICKSTREAM, PRODUCTS
from devstack.server import Server
from faults.errors import HarnessError
from faults.parts import Kubelet, Part, wait_until
from faults.servers import CLIENTS, ELASTICSEARCH, PARTS, POSTGRES, Links, Servers
from faults.settings import Settings
from faults.timeline import Timeline

_READY_SECONDS: Final = 120.0
_SAY_SECONDS: Final = 10.0
_ASK_SECONDS: Final = 0.2


class World:
    """Set up and started by construction; `close` ends the processes. Raises HarnessError, DevstackError.

    `excused` holds the ids of clicks that a fault deleted before they were read, `excused_keys` the keys of such
    records. `topics` is a lock for writers to topics other than the tracking API, and for faults that must know
    everything on a topic. `calm` is set while no fault is active.
    """

    def __init__(
        self, servers: Servers, settings: Settings, timeline: Timeline, name: str, links: Links | None = None
    ) -> None:
        self.servers, self.settings, self.timeline = servers, settings, timeline
        self._links = servers.links[0] if links is None else links
        self.rng = random.Random(settings.seed)  # noqa: S311 - faults, not secrets
        self.excused: set[str] = set()
        self.excused_keys: set[bytes] = set()
        self.topics = threading.Lock()
        self.calm = threading.Event()
        self.folder = settings.home / name
        self.folder.mkdir(parents=True)
        stack, size = servers.stack, settings.size
        made = demo_pipeline(
            name, f"{size.gap}s", stack.kafka.bootstrap_servers, stack.elasticsearch.url, stack.postgres.dsn
        )
        # A pattern for which a backtracking matcher never finishes on poison.SLOW_PAGE.
        categories = [*made.enricher.page_categories, PageCategory("item", "/*/*/*/*/*/item")]
        enricher = replace(made.enricher, grace=f"{size.grace}s", page_categories=categories)
        self.pipeline = replace(made, enricher=enricher)
        self.admin: Any = AdminClient(client_config(self.pipeline.kafka, "faults"))
        self.lag = Lag(self.pipeline)
        create_topics(self.pipeline)
        load_catalogue(self.pipeline, PRODUCTS)
        self._write_documents()
        self.set_up()
        self.parts = {part: self._part(part) for part in PARTS}
        turn = count()

        def next_api() -> int | None:
            ready = self.parts["tracking-api"].ready()
            return ready[next(turn) % len(ready)].port if ready else None

        self.door = servers.proxies.open(CLIENTS, next_api)
        self.links = {**self._links.by_name, CLIENTS: self.door}
        for part in self.parts.values():
            part.add()
        self.kubelet = Kubelet(self.parts, timeline)
        try:
            self.wait_ready()
        except HarnessError:
            self.kubelet.stop()
            raise

    @property
    def url(self) -> str:
        """The clients' address."""
        return f"http://{self.door.address}"

    def server(self, name: str) -> Server:
        """Kafka, Elasticsearch or PostgreSQL by its name."""
        return next(server for server in self.servers.stack.servers if server.name == name)

    def wait_ready(self, seconds: float = _READY_SECONDS) -> None:
        """Until every replica of every part is ready. Raises HarnessError."""
        if not wait_until(lambda: all(part.all_ready() for part in self.parts.values()), seconds):
            waiting = [name for name, part in self.parts.items() if not part.all_ready()]
            msg = f"not ready after {seconds:.0f} s: {', '.join(waiting)}"
            raise HarnessError(msg)

    def behind(self) -> dict[str, int]:
        """Records that are not processed or stored yet, by part; -1 while Kafka cannot say."""
        sinks = ("elasticsearch", "postgres")
        found = {f"sink-{sink}": self._lag(partial(Lag.sink, sink=sink)) for sink in sinks}
        return found | {"enricher": self._lag(Lag.enricher)}

    def _lag(self, ask: Callable[[Lag], int]) -> int:
        try:
            return ask(self.lag)
        except (KafkaException, TopicReadError) as error:
            self.timeline.say(f"    the lag is not known: {error}")
            return -1

    def caught_up(self, seconds: float, at_most: int = 0) -> bool:
        """Wait until no part is more than `at_most` records behind; logs the others every ten seconds."""
        began = said = time.monotonic()
        while True:
            behind = self.behind()
            if all(0 <= left <= at_most for left in behind.values()):
                return True
            now = time.monotonic()
            if now - began > seconds:
                return False
            if now - said > _SAY_SECONDS:
                said = now
                self.timeline.say(
                    f"    behind: {', '.join(f'{part} {left:,}' for part, left in behind.items() if left)}"
                )
            time.sleep(_ASK_SECONDS)

    def set_up(self) -> None:
        """`clickstream setup all`. Raises HarnessError with its output."""
        self.run_command("setup", "all")

    def run_command(self, *arguments: str) -> str:
        """Run `clickstream …` with the pipeline's document and return what it printed. Raises HarnessError."""
        command = [sys.executable, *CLICKSTREAM, *arguments, "--pipeline", str(self.folder / "pipeline.json")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)  # noqa: S603 - our own
        if done.returncode != 0:
            msg = f"clickstream {' '.join(arguments)} ended with status {done.returncode}:\n{done.stdout}{done.stderr}"
            raise HarnessError(msg)
        return done.stdout

    def close(self) -> dict[str, int]:
        """End the processes in order; the exit status of each. All links are plain again."""
        self._links.restore()
        return self.kubelet.stop()

    def _part(self, name: str) -> Part:
        document = str(self.folder / f"{name}.json")
        if name == "tracking-api":
            arguments = [
                name,
                "--pipeline",
                document,
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--port-file",
                "{port_file}",
            ]
        elif name == "enricher":
            arguments = [name, "--pipeline", document, "--ops-port-file", "{port_file}"]
        else:
            arguments = ["sink", name.removeprefix("sink-"), "--pipeline", document, "--ops-port-file", "{port_file}"]
        started = "/readyz" if name == "enricher" else "/healthz"
        return Part(name, arguments, started, self.folder, self._launcher(name))

    def _launcher(self, part: str) -> tuple[str, ...]:
        mutant = self.settings.mutant
        if mutant is not None and mutant.partition("/")[0] == part:
            return ("-m", "faults.mutants", mutant, "0")
        return CLICKSTREAM

    def _write_documents(self) -> None:
        self._write("pipeline", lambda whole: whole)
        for part in PARTS:
            self._write(part, lambda whole, part=part: self._through_proxies(part, whole))  # type: ignore[misc]

    def _write(self, name: str, change: Callable[[Pipeline], Pipeline]) -> None:
        (self.folder / f"{name}.json").write_bytes(dump_pipeline(change(self.pipeline)))

    def _through_proxies(self, part: str, whole: Pipeline) -> Pipeline:
        stack = self.servers.stack
        assert whole.sinks.elasticsearch is not None
        assert whole.sinks.postgres is not None
        sinks = Sinks(
            replace(whole.sinks.elasticsearch, url=self._links.to(ELASTICSEARCH, stack.elasticsearch.url)),
            replace(whole.sinks.postgres, dsn=self._links.to(POSTGRES, stack.postgres.dsn)),
        )
        kafka = replace(whole.kafka, bootstrap_servers=self._links.by_name[f"{part}→kafka"].address)
        return replace(whole, kafka=kafka, sinks=sinks)
