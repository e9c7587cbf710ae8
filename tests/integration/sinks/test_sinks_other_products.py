"""Elasticsearch 8 and OpenSearch are refused, by name and version, before anything is sent to them.

Stand-ins that answer as those do: to `GET /`, and to the media type of the client of Elasticsearch 9.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from clickstream.contracts.pipeline import Pipeline, dump_pipeline
from clickstream.setup.exit_codes import ExitCode
from support.processes import Process, clickstream, wait_for

ELASTICSEARCH_8 = (
    {"X-elastic-product": "Elasticsearch"},
    {
        "name": "a",
        "cluster_name": "b",
        "version": {"number": "8.19.3", "build_flavor": "default"},
        "tagline": "You Know",
    },
    400,
    {"error": {"type": "media_type_header_exception", "reason": "Invalid media-type value on headers [Accept]"}},
)
OPENSEARCH = (
    {},
    {"name": "a", "cluster_name": "b", "version": {"distribution": "opensearch", "number": "3.2.0"}},
    406,
    {"error": "Content-Type header [application/vnd.elasticsearch+json] is not supported", "status": 406},
)
SOMETHING = ({}, {"hello": "world"}, 404, {})

EXPECTED = [
    (ELASTICSEARCH_8, "the server is Elasticsearch 8.19.3, which is not supported: 9 or later is needed"),
    (OPENSEARCH, "the server is OpenSearch 3.2.0, which is not supported: Elasticsearch 9 or later is needed"),
    (SOMETHING, "the server is not Elasticsearch of an unknown version, which is not supported"),
]
IDS = ["elasticsearch-8", "opensearch", "something-else"]


@pytest.fixture
def at(pipeline: Pipeline, tmp_path) -> Iterator[Callable[..., tuple[str, list[str]]]]:
    """Starts a stand-in: the document of a pipeline that has it as its store, and what was asked of it."""
    servers: list[ThreadingHTTPServer] = []

    def start(answers: tuple[dict[str, str], dict[str, Any], int, dict[str, Any]]) -> tuple[str, list[str]]:
        headers, hello, status, error = answers
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                asked.append(f"{self.command} {self.path}")
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                ours = (self.command, self.path) == ("GET", "/") and "vnd.elasticsearch" not in self.headers["Accept"]
                body = json.dumps(hello if ours else error).encode()
                self.send_response_only(200 if ours else status)
                for name, value in {**headers, "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        document = msgspec.json.decode(dump_pipeline(pipeline))
        document["sinks"]["elasticsearch"]["url"] = f"http://127.0.0.1:{server.server_address[1]}"
        path = tmp_path / "other-product.json"
        path.write_bytes(msgspec.json.encode(document))
        return str(path), asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("answers", "message"), EXPECTED, ids=IDS)
def test_setup_refuses_it_at_once(answers, message, at):
    path, asked = at(answers)
    for job in ((), ("--retention-only",), ("--drop",)):
        command = clickstream("setup", "elasticsearch", "--timeout", "30", "--pipeline", path, *job)
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == ExitCode.REFUSED, done.stderr
        assert message in done.stderr
    assert set(asked) == {"GET /"}


@pytest.mark.parametrize(("answers", "message"), EXPECTED, ids=IDS)
def test_a_sink_says_so_and_writes_nothing(answers, message, at, feed, make_click, tmp_path):
    path, asked = at(answers)
    feed.clicks([make_click("a")])
    command = clickstream("sink", "elasticsearch", "--pipeline", path, "--ops-port-file", "{ops_port_file}")
    sink = Process("sink-other", command, tmp_path)
    try:
        wait_for(lambda: message in sink.log.read_text(), "it says which server that is", sink)
        assert sink.popen.poll() is None, "it waits: the server may be replaced"
        assert set(asked) == {"GET /"}
    finally:
        sink.kill()
