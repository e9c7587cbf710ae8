"""The whole data plane of one pipeline as processes: tracking API, enricher, both sinks."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from clickstream.contracts.pipeline import Pipeline, dump_pipeline, parse_pipeline
from clickstream.contracts.topics import topics_of
from clickstream.setup.topics import TopicAdmin
from devstack import Stack
from support.processes import Process, clickstream, wait_for
from support.stores import Stores

KEY = "test-write-key"


def system_on(stack: Stack, folder: Path, name: str, **members: Any) -> System:
    """A pipeline of that name on these servers, with other members of its document; its topics made, all running."""
    document = {
        "namespace": "e2e",
        "name": name,
        "kafka": stack.kafka.member(),
        "sources": [{"name": "web", "writeKey": KEY}],
        "sinks": {"elasticsearch": stack.elasticsearch.member(), "postgres": {"dsn": stack.postgres.dsn}},
    } | members
    pipeline = parse_pipeline(msgspec.json.encode(document))
    TopicAdmin(pipeline.kafka).create(topics_of(pipeline))
    return System(pipeline, folder)


class System:
    """Started and ready when made; `close` ends it.

    `before_ready` is called when all run and before any must be ready.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        folder: Path,
        env: dict[str, str] | None = None,
        *,
        stores: Stores | None = None,
        before_ready: Callable[[System], object] | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.document = folder / "pipeline.json"
        self.document.write_bytes(dump_pipeline(pipeline))
        options = ["--pipeline", str(self.document)]
        subprocess.run(clickstream("setup", "all", *options), check=True, timeout=120)
        ops = ["--ops-port-file", "{ops_port_file}"]
        env = {"CLICKSTREAM_LOG_FORMAT": "text", "CLICKSTREAM_DRAIN_SECONDS": "0"} | (env or {})
        http = ["--host", "127.0.0.1", "--port", "0", "--port-file", "{port_file}"]
        self.api = Process("tracking-api", clickstream("tracking-api", *options, *http, *ops), folder, env)
        self.enricher = Process("enricher", clickstream("enricher", *options, *ops), folder, env)
        self.elasticsearch = Process("sink-es", clickstream("sink", "elasticsearch", *options, *ops), folder, env)
        self.postgres = Process("sink-pg", clickstream("sink", "postgres", *options, *ops), folder, env)
        self.processes = (self.api, self.enricher, self.elasticsearch, self.postgres)
        self.stores = stores or Stores(pipeline)
        try:
            wait_for(lambda: self.api.port > 0, "the tracking API listens", self.api)
            self.url = f"http://127.0.0.1:{self.api.port}"
            if before_ready is not None:
                before_ready(self)
            wait_for(lambda: self.get("/readyz")[0] == 200, "the tracking API is ready", self.api)
            for process in self.processes[1:]:
                process.wait_ready()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.stores.close()
        for process in self.processes:
            process.kill()

    @contextmanager
    def without_api(self) -> Iterator[None]:
        """The tracking API is killed; after the body another one listens at the same port."""
        port, folder = self.api.port, self.document.parent
        self.api.kill()
        yield
        command = clickstream("tracking-api", "--pipeline", str(self.document), "--host", "127.0.0.1")
        command += ["--port", str(port), "--port-file", "{port_file}", "--ops-port-file", "{ops_port_file}"]
        self.api = Process("tracking-api", command, folder, {"CLICKSTREAM_DRAIN_SECONDS": "0"})
        self.processes = (self.api, *self.processes[1:])
        self.api.wait_ready()

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and JSON answer of an event or a batch."""
        request = urllib.request.Request(
            self.url + path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "X-Write-Key": KEY} | (headers or {}),
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def wait_stored(self, events: int, timeout: float = 60) -> None:
        """Wait until both stores hold exactly that many clicks."""
        wait_for(
            lambda: self.stores.counts() == (events, events),
            f"both stores hold {events} clicks",
            *self.processes,
            timeout=timeout,
        )
