"""Where servers listen: both families on one socket, IPv4 alone where a machine has no IPv6."""

from __future__ import annotations

import errno
import http.client
import socket

import pytest

from clickstream.runtime import listening
from clickstream.runtime.listening import EVERYWHERE, bind
from clickstream.runtime.probes import OpsServer, Page
from clickstream.runtime.settings import read_process_settings
from clickstream.tracking_api.settings import read_settings as read_tracking_settings
from clickstream_operator.settings import read_settings as read_operator_settings


def ops_server(host: str) -> OpsServer:
    return OpsServer(host, 0, lambda: None, lambda: "starting", lambda: b"m 1\n", {"/page": Page("text/html", b"<p>")})


def get(host: str, port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def without_ipv6(monkeypatch):
    """Makes the kernel one that says `number` to an IPv6 socket, or to its bind."""
    real = socket.socket

    def have(number: int, *, at_bind: bool) -> None:
        class Socket(real):
            def __init__(self, family: int = socket.AF_INET, *rest: object, **given: object) -> None:
                if family == socket.AF_INET6 and not at_bind:
                    raise OSError(number, "no IPv6")
                super().__init__(family, *rest, **given)

            def bind(self, address: tuple[str, int]) -> None:
                if self.family == socket.AF_INET6:
                    raise OSError(number, "no IPv6")
                super().bind(address)

        monkeypatch.setattr(listening.socket, "socket", Socket)

    return have


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_everywhere_answers_ipv4_and_ipv6():
    server = ops_server(EVERYWHERE)
    try:
        for host in ("127.0.0.1", *(["::1"] if has_ipv6() else [])):
            assert get(host, server.port, "/healthz") == (200, b"ok\n")
            assert get(host, server.port, "/readyz") == (503, b"starting\n")
            assert get(host, server.port, "/metrics") == (200, b"m 1\n")
            assert get(host, server.port, "/page") == (200, b"<p>")
            assert get(host, server.port, "/")[0] == 404
    finally:
        server.close()


def test_everywhere_takes_ipv4_also_where_the_system_would_not():
    with bind(EVERYWHERE, 0) as bound:
        if bound.family == socket.AF_INET6:
            assert bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
        assert bound.getsockname()[1] > 0


@pytest.mark.parametrize(
    ("number", "at_bind"), [(errno.EAFNOSUPPORT, False), (errno.EADDRNOTAVAIL, True), (errno.EAFNOSUPPORT, True)]
)
def test_without_ipv6_it_is_ipv4(without_ipv6, number, at_bind):
    without_ipv6(number, at_bind=at_bind)
    with bind(EVERYWHERE, 0) as bound:
        assert (bound.family, bound.getsockname()[0]) == (socket.AF_INET, "0.0.0.0")
    server = ops_server(EVERYWHERE)
    try:
        assert get("127.0.0.1", server.port, "/healthz") == (200, b"ok\n")
    finally:
        server.close()


@pytest.mark.parametrize("number", [errno.EADDRINUSE, errno.EACCES])
def test_another_error_is_not_hidden(without_ipv6, number):
    without_ipv6(number, at_bind=True)
    with pytest.raises(OSError, match="no IPv6") as raised:
        bind(EVERYWHERE, 0)
    assert raised.value.errno == number


def test_a_port_that_is_taken_is_told():
    with bind(EVERYWHERE, 0) as first:
        first.listen()
        with pytest.raises(OSError, match="in use"):
            bind(EVERYWHERE, first.getsockname()[1])


def test_an_address_is_taken_as_it_is():
    with bind("127.0.0.1", 0) as bound:
        assert (bound.family, bound.getsockname()[0]) == (socket.AF_INET, "127.0.0.1")


def test_every_process_listens_everywhere_by_default(tmp_path):
    document = tmp_path / "pipeline.json"
    document.write_text('{"namespace": "web", "name": "shop", "kafka": {"bootstrapServers": "kafka:9092"}}')
    env = {"CLICKSTREAM_PIPELINE": str(document)}
    assert read_process_settings(env).ops_host == EVERYWHERE
    assert read_tracking_settings(env).host == EVERYWHERE
    assert read_operator_settings({"OPERATOR_APPS_IMAGE": "apps"}).ops_host == EVERYWHERE
