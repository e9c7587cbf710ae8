"""Calls to the API server: what is likely to go by is tried again, and a refusal of a Secret quotes nothing of it.

The server is a stand-in that answers with what a test tells it to.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import kubernetes
import pytest

from clickstream_operator.cluster import Cluster, ClusterError
from clickstream_operator.main import new_configuration
from devstack.ports import free_ports

SECRET = {"kind": "Secret", "apiVersion": "v1", "metadata": {"namespace": "web", "name": "sources"}, "data": {"a": "b"}}


class Server(ThreadingHTTPServer):
    """`answers` are (status, message, headers), the last one for ever; None closes the connection without a word."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, str, dict[str, str]] | None] = []
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        assert isinstance(self.server, Server)
        self.server.asked.append(self.command)
        given = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        if given is None:
            self.close_connection = True
            return
        status, message, headers = given
        content = json.dumps({"kind": "Status", "message": message, "metadata": {"uid": "u"}}).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PATCH = do_DELETE = answer  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def cluster(port: int, waits: list[float] | None = None) -> Cluster:
    """One that notes how long it would wait, and does not."""
    configuration = new_configuration()
    configuration.host = f"http://127.0.0.1:{port}"
    return Cluster(kubernetes.client.ApiClient(configuration), sleep=([] if waits is None else waits).append)


GOOD = (200, "", {})


def call(verb: str, cluster: Cluster) -> object:
    match verb:
        case "GET":
            return cluster.get("Service", "web", "shop")
        case "PATCH":
            return cluster.apply(SECRET)
        case _:
            return cluster.delete("Service", "web", "shop", "u")


@pytest.mark.parametrize("verb", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("trouble", [None, 408, 429, 500, 502, 503, 504])
def test_what_is_likely_to_go_by_is_tried_again(server, verb, trouble):
    once = None if trouble is None else (trouble, "busy", {})
    server.answers = [once, once, GOOD]
    call(verb, cluster(server.server_port))
    assert server.asked == [verb] * 3


@pytest.mark.parametrize("trouble", [None, 429, 503])
def test_three_times_and_no_more(server, trouble):
    server.answers = [None if trouble is None else (trouble, "busy", {"Retry-After": "1"})]
    waits: list[float] = []
    with pytest.raises(ClusterError) as raised:
        call("GET", cluster(server.server_port, waits))
    assert server.asked == ["GET"] * 3
    assert (raised.value.status, raised.value.transient) == (trouble or 0, True)
    assert all(0.1 <= wait <= 2 for wait in waits)
    assert trouble is None or waits == [1.0, 1.0], "Retry-After is kept to"


@pytest.mark.parametrize(
    ("status", "told"),
    [(400, "no"), (403, "no"), (409, "no"), (422, "no"), (500, "failed to create typed patch object (no such field)")],
)
def test_a_refusal_is_a_refusal(server, status, told):
    server.answers = [(status, told, {})]
    with pytest.raises(ClusterError, match="no") as raised:
        cluster(server.server_port).merge("Service", "web", "shop", {})
    assert server.asked == ["PATCH"]
    assert raised.value.transient is False


def test_a_retry_after_of_hours_is_not_waited_for(server):
    server.answers = [(429, "busy", {"Retry-After": "86400"}), GOOD]
    waits: list[float] = []
    call("GET", cluster(server.server_port, waits))
    assert waits == [2.0]


def test_an_api_server_that_is_not_there_is_told_so():
    with pytest.raises(ClusterError, match="cannot be reached") as raised:
        call("GET", cluster(free_ports(1)[0]))
    assert raised.value.status == 0


def test_a_refusal_of_a_secret_says_nothing_of_what_is_in_it(server):
    server.answers = [(422, 'Secret "sources" is invalid: data[a]: Invalid value: "Tr0ub4dor"', {})]
    with pytest.raises(ClusterError) as raised:
        call("PATCH", cluster(server.server_port))
    assert str(raised.value) == "the API server refuses Secret web/sources: HTTP 422"
    assert raised.value.__suppress_context__
