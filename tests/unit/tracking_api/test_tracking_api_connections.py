"""One connection of the tracking API's HTTP server, with an application whose answers fill every buffer."""

from __future__ import annotations

import asyncio
import socket

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from clickstream.tracking_api import limits
from clickstream.tracking_api.server import GuardedProtocol

ANSWERS = 200
BODY = b"x" * 100_000
"""All answers together are more than the kernel keeps for a client."""


async def answering(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(BODY))]})
    await send({"type": "http.response.body", "body": BODY})


async def connect(state: ServerState) -> tuple[asyncio.Server, socket.socket]:
    """A server, and a client that has sent all of its requests."""
    config = Config(answering, log_config=None, ws="none", lifespan="off")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: GuardedProtocol(lambda _: None, config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    client = socket.create_connection(server.sockets[0].getsockname())
    client.setblocking(False)
    await loop.sock_sendall(client, b"GET / HTTP/1.1\r\n\r\n" * ANSWERS)
    return server, client


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    monkeypatch.setattr(limits, "ANSWER_SECONDS", 0.3)


def test_a_client_that_takes_none_of_its_answers_is_cut_off():
    async def run() -> int:
        state = ServerState()
        server, client = await connect(state)
        async with server, asyncio.timeout(20):
            with client:
                while state.total_requests == 0 or state.connections:  # noqa: ASYNC110 - uvicorn has no event
                    await asyncio.sleep(0.01)
        return state.total_requests

    assert 0 < asyncio.run(run()) < ANSWERS


def test_a_client_that_takes_its_answers_gets_all_of_them():
    async def run() -> int:
        state = ServerState()
        server, client = await connect(state)
        received = 0
        async with server, asyncio.timeout(20):
            with client:
                while received < ANSWERS * len(BODY):
                    received += len(await asyncio.get_running_loop().sock_recv(client, 65_536))
                assert state.connections
        return state.total_requests

    assert asyncio.run(run()) == ANSWERS
