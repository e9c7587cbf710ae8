"""Requests that are sent before the earlier ones are answered: in order, and at nobody else's expense."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from pathlib import Path

import msgspec
import pytest

CONNECTIONS = 20
FLOOD_SECONDS = 6
SHORTEST = b"GET /x HTTP/1.1\r\n\r\n"


def post(body: bytes) -> bytes:
    head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Write-Key: wk-web\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def statuses(received: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def test_pipelined_events_are_answered_in_order_and_each_is_stored_once(api, event, clicks):
    events = [event(event_id=f"pipelined-{number}", title="x" * number * 700) for number in range(5)]
    sent = [post(msgspec.json.encode(each)) for each in events]
    last = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"
    received = api.raw(b"".join([*sent[:3], SHORTEST, post(b"{}"), *sent[3:], last]))

    assert statuses(received) == [202, 202, 202, 404, 422, 202, 202, 200]
    assert sorted(click.event_id for click in clicks.clicks()) == [each["event_id"] for each in events]


@pytest.mark.parametrize("size", [1, 7, 511, 512, 513, 100_000])
def test_pipelined_requests_may_be_cut_anywhere(api, size):
    sent = SHORTEST * 40 + post(b"{}" + b" " * 3_000) + b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", api.port), timeout=15) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), size):
            connection.sendall(sent[start : start + size])
        received = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert statuses(received) == [404] * 40 + [422, 200]


def test_thousands_of_requests_on_one_connection_are_all_answered(api):
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as connection:
        connection.sendall(SHORTEST * 3_000 + b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert statuses(received) == [404] * 3_000 + [200]


def test_a_flood_of_requests_whose_answers_nobody_reads_costs_neither_memory_nor_the_others_time(start_api):
    api = start_api()
    api.request("GET", "/healthz")
    before = resident_bytes(api.popen.pid)
    connections = [socket.create_connection(("127.0.0.1", api.port)) for _ in range(CONNECTIONS)]
    over = threading.Event()

    def flood() -> None:
        while not over.wait(0.02):
            for connection in connections:
                with contextlib.suppress(BlockingIOError):
                    connection.send(SHORTEST * 3_000)

    flooding = threading.Thread(target=flood)
    slowest = highest = 0.0
    try:
        for connection in connections:
            connection.setblocking(False)
        flooding.start()
        until = time.monotonic() + FLOOD_SECONDS
        while time.monotonic() < until:
            started = time.monotonic()
            assert api.request("GET", "/healthz").status == 200
            slowest = max(slowest, time.monotonic() - started)
            highest = max(highest, resident_bytes(api.popen.pid))
    finally:
        over.set()
        flooding.join()
        for connection in connections:
            connection.close()

    assert (slowest < 1, highest - before < 40_000_000) == (True, True), (slowest, highest - before)


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1_024
