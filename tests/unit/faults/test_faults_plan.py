"""What the harness decides and how its proxy behaves, without any server."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from faults.kinds import ALL
from faults.plan import chosen, plan
from faults.proxy import Proxies, Proxy
from faults.settings import SIZES


def test_names_are_unique_and_every_family_has_faults():
    assert len({fault.name for fault in ALL}) == len(ALL)
    families = {"processes", "servers", "network", "stores", "topics", "clocks", "disks"}
    assert {fault.family for fault in ALL} == families


def test_a_plan_is_a_function_of_its_seed_and_has_some_of_each_family():
    one = plan(ALL, 20, 1, rare=False)
    assert [fault.name for fault in one] == [fault.name for fault in plan(ALL, 20, 1, rare=False)]
    assert [fault.name for fault in one] != [fault.name for fault in plan(ALL, 20, 2, rare=False)]
    assert len({fault.name for fault in one}) == 20
    counts = Counter(fault.family for fault in plan([f for f in ALL if not f.only_root], 20, 1))
    assert set(counts) == {fault.family for fault in ALL if not fault.only_root}
    assert max(counts.values()) - min(counts.values()) <= 2


def test_a_long_plan_has_every_fault_before_any_comes_again_and_rare_ones_once():
    long = plan(ALL, 3 * len(ALL), 5)
    counts = Counter(fault.name for fault in long)
    possible = {fault.name for fault in plan(ALL, 10_000, 5)}
    assert set(counts) == possible
    assert all(counts[fault.name] == 1 for fault in long if fault.rare)


def test_faults_are_chosen_by_family_or_by_the_beginning_of_their_name():
    assert {fault.family for fault in chosen(ALL, ["clocks"])} == {"clocks"}
    assert [fault.name for fault in chosen(ALL, ["kafka is killed"])] == ["kafka is killed"]
    assert chosen(ALL, []) == list(ALL)
    assert plan(chosen(ALL, ["no such fault"]), 5, 1) == []


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_no_click_is_tried_for_longer_than_its_id_is_remembered(size):
    assert size.give_up < size.gap + size.grace
    assert size.again_after > size.gap + size.grace + 60


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    made = Proxies()
    yield made
    made.close()


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65_536):
                connection.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def speak(proxy: Proxy) -> bytes:
    """Connect, send a byte, and give what comes back."""
    with connect(proxy) as client:
        client.sendall(b"a")
        return client.recv(1)


def test_a_plain_proxy_passes_everything_on(proxies: Proxies, echo: int):
    proxy = proxies.open("plain", lambda: echo)
    data = bytes(range(256)) * 4_000
    with connect(proxy) as client:
        threading.Thread(target=client.sendall, args=(data,), daemon=True).start()
        back = b""
        while len(back) < len(data):
            back += client.recv(65_536)
        assert back == data
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_what_is_held_arrives_when_the_link_is_restored(proxies: Proxies, echo: int):
    proxy = proxies.open("held", lambda: echo)
    with connect(proxy) as client:
        proxy.hold()
        client.sendall(b"hello")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.restore()
        client.settimeout(5)
        assert client.recv(10) == b"hello"


def test_a_delay_is_a_longer_way_and_not_a_narrower_one(proxies: Proxies, echo: int):
    proxy = proxies.open("slow", lambda: echo)
    proxy.delay(0.4)
    data = bytes(1 << 20)
    with connect(proxy) as client:
        began = time.monotonic()
        threading.Thread(target=client.sendall, args=(data,), daemon=True).start()
        left = len(data)
        while left:
            left -= len(client.recv(65_536))
        took = time.monotonic() - began
    assert 0.8 <= took < 6  # there and back; one piece after the other they would take 12 seconds


def test_a_narrow_link_lets_so_much_through_and_no_more(proxies: Proxies, echo: int):
    proxy = proxies.open("narrow", lambda: echo)
    proxy.throttle(20_000)
    with connect(proxy) as client:
        began = time.monotonic()
        client.sendall(bytes(10_000))
        left = 10_000
        while left:
            left -= len(client.recv(65_536))
    assert time.monotonic() - began >= 0.45


def test_what_is_cut_is_reset_and_what_is_refused_stays_so(proxies: Proxies, echo: int):
    proxy = proxies.open("cut", lambda: echo)
    with connect(proxy) as client:
        client.sendall(b"a")
        assert client.recv(1) == b"a"
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionError):
        speak(proxy)
    proxy.restore()
    with connect(proxy) as client:
        client.sendall(b"b")
        assert client.recv(1) == b"b"


def test_an_answering_proxy_answers_in_the_place_of_the_server(proxies: Proxies, echo: int):
    proxy = proxies.open("answering", lambda: echo)
    proxy.answer(429, b'{"status":429}')
    client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
    for _ in range(2):
        client.request("POST", "/_bulk", b"x" * 100_000)
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (429, b'{"status":429}')
    proxy.restore()
    client.close()
    assert speak(proxy) == b"a"


def test_without_a_target_a_connection_is_reset(proxies: Proxies):
    proxy = proxies.open("nobody", lambda: None)
    with pytest.raises(ConnectionError):
        speak(proxy)
