"""Servers that run elsewhere are checked and otherwise left alone."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from devstack import DevstackError, Settings, Stack, ports
from devstack.errors import ExternalServerError, StateError, UnhealthyError
from devstack.health import check_elasticsearch, check_kafka, check_postgres, redact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Answers(BaseHTTPRequestHandler):
    """As much of Elasticsearch as the health check asks for, behind a password."""

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == "Basic dXNlcjpwQHNz"  # user:p@ss
        body = {"version": {"number": "9.9.9"}} if self.path == "/" else {"status": "yellow"}
        data = json.dumps(body if allowed else {}).encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def search() -> Iterator[int]:
    server = HTTPServer((ports.LOOPBACK, 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def stack(home: Path, services: tuple[str, ...], **external: str) -> Stack:
    environment = {f"DEVSTACK_{name.upper()}": address for name, address in external.items()}
    return Stack(Settings.from_environment(environment, home=home), services=services)


def test_a_healthy_external_server_is_used_and_survives_down(tmp_path: Path, search: int) -> None:
    url = f"http://user:p%40ss@127.0.0.1:{search}"
    ours = stack(tmp_path, ("elasticsearch",), elasticsearch=url)
    ours.start()
    assert ours.elasticsearch.url == url
    (status,) = ours.status()
    assert (status.state, status.external, status.pid) == ("running", True, None)
    assert "p%40ss" not in status.address
    ours.down(wipe=True)
    check_elasticsearch(url, 3)


@pytest.mark.parametrize("verb", ["stop", "start", "kill"])
def test_an_external_server_is_not_ours_to_end(tmp_path: Path, verb: str) -> None:
    server = stack(tmp_path, ("kafka",), kafka="kafka:9092").kafka
    with pytest.raises(ExternalServerError, match=f"cannot {verb} kafka: it is external"):
        getattr(server, verb)()


def test_an_external_server_that_is_down_is_named_with_its_variable(tmp_path: Path) -> None:
    (port,) = ports.free_ports(1)
    ours = stack(tmp_path, ("kafka",), kafka=f"127.0.0.1:{port}")
    with pytest.raises(UnhealthyError, match=f"DEVSTACK_KAFKA does not work: no Kafka at 127.0.0.1:{port}"):
        ours.start()


def test_a_wrong_password_is_reported_without_the_password(search: int) -> None:
    with pytest.raises(UnhealthyError) as caught:
        check_elasticsearch(f"http://user:secret@127.0.0.1:{search}", 3)
    assert "Unauthorized" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["no port", "localhost", "localhost:x"])
def test_a_malformed_kafka_address_is_called_so(address: str) -> None:
    with pytest.raises(UnhealthyError, match="is not host:port"):
        check_kafka(address, 1)


def test_a_malformed_url_is_called_so() -> None:
    with pytest.raises(UnhealthyError, match="is not an http"):
        check_elasticsearch("localhost:9200", 1)


def test_a_postgres_that_is_not_there() -> None:
    (port,) = ports.free_ports(1)
    with pytest.raises(UnhealthyError, match="refused") as caught:
        check_postgres(f"postgresql://me:secret@127.0.0.1:{port}/db", 1)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:secret@host:1/db", "postgresql://me:...@host:1/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("https://host:9200", "https://host:9200"),
        ("host=h password=secret user=u", "host=h password=... user=u"),
        ("127.0.0.1:9092", "127.0.0.1:9092"),
    ],
)
def test_passwords_are_left_out(address: str, shown: str) -> None:
    assert redact(address) == shown


def test_an_unknown_service_and_one_that_is_not_in_the_stack(tmp_path: Path) -> None:
    with pytest.raises(DevstackError, match="unknown service redis"):
        stack(tmp_path, ("redis",))
    with pytest.raises(StateError, match="postgres is not part of this stack, only kafka"):
        _ = stack(tmp_path, ("kafka",)).postgres


def test_an_address_before_the_first_up(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="run `devstack up` first"):
        _ = stack(tmp_path, ("kafka",)).kafka.bootstrap_servers
