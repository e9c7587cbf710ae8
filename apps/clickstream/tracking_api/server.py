"""Uvicorn, told to end without cutting anybody off.

On SIGTERM the process turns unready but serves on for the drain time, in which every answer closes its connection,
so that clients move to other pods; then it stops listening, finishes what has begun, and lets the lifespan flush.
A second signal, or Ctrl-C, skips the wait but nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from fastapi import FastAPI

from clickstream.tracking_api.connections import GuardedProtocol
from clickstream.tracking_api.lifecycle import Lifecycle, Phase

_log = logging.getLogger(__name__)
_IDLE_SECONDS: Final = 1.0
_FINISH_SECONDS: Final = 20
"""For what has begun: a body may take 10 s, its delivery 9 s."""


class DrainingServer(uvicorn.Server):
    """Serves one application on one bound socket until a signal."""

    def __init__(self, app: FastAPI, lifecycle: Lifecycle, drain_seconds: float, listening: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=GuardedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # X-Forwarded-For is ours to judge (`address`)
            timeout_keep_alive=75,  # longer than the 60 s of common load balancers, which must be the ones to close
            timeout_graceful_shutdown=_FINISH_SECONDS,
        )
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain_seconds = drain_seconds
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so once connections are accepted."""
        await super().startup(sockets)
        self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening; give a request that is just arriving its answer; then end as uvicorn does."""
        for server in self.servers:
            server.close()
        deadline = time.monotonic() + _IDLE_SECONDS
        while self.server_state.connections and time.monotonic() < deadline:  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT ourselves; uvicorn would raise them again at the end, and die of them."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._drain)
        loop.add_signal_handler(signal.SIGINT, self._stop)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)

    def _drain(self) -> None:
        if self._lifecycle.phase is Phase.DRAINING:
            self._stop()
            return
        _log.info("draining", extra={"fields": {"seconds": self._drain_seconds}})
        self._close_after_each_answer()
        asyncio.get_running_loop().call_later(self._drain_seconds, self._stop)

    def _stop(self) -> None:
        self._close_after_each_answer()
        self.should_exit = True

    def _close_after_each_answer(self) -> None:
        if self._lifecycle.phase is Phase.DRAINING:
            return
        self._lifecycle.phase = Phase.DRAINING
        close = (b"connection", b"close")
        self.config.encoded_headers.append(close)  # uvicorn renews its default headers from these every second
        self.server_state.default_headers = [*self.server_state.default_headers, close]


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens once uvicorn has it. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    bound.set_inheritable(False)
    return bound
