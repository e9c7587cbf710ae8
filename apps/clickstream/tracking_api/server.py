"""uvicorn with limits on slow clients and large headers, and a shutdown that cuts off no request.

On SIGTERM the process turns unready but goes on serving for the drain time, in which every answer closes its
connection, so that clients move to other pods; then it stops listening, finishes the requests that have begun, and lets
the lifespan flush. A second signal, or Ctrl-C, skips the drain time but nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from typing import Any, Final

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from clickstream.tracking_api import limits
from clickstream.tracking_api.rejections import Code

_log = logging.getLogger(__name__)
_IDLE_SECONDS: Final = 1.0
_FINISH_SECONDS: Final = 20
"""For requests that have begun: a body may take 10 s, its delivery 9 s."""
_NO_BODY: Final = b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_STATUS_LINES: Final = {
    Code.MALFORMED_REQUEST: b"HTTP/1.1 400 Bad Request",
    Code.HEAD_TIMEOUT: b"HTTP/1.1 408 Request Timeout",
    Code.HEAD_TOO_LARGE: b"HTTP/1.1 431 Request Header Fields Too Large",
}
_PIECE_BYTES: Final = 512
"""What the parser gets at once: no more than 29 whole requests, of which all but the first are queued."""
_BODY_PIECE_BYTES: Final = 64 * 1_024
"""The same within a body, of which no other request can be a part."""
_LINE_FRAME: Final = len(b"GET  HTTP/1.1\r\n\r\n")
_HEADER_FRAME: Final = len(b": \r\n")


class Phase(Enum):
    """`STARTING` until the Kafka client exists, `DRAINING` from the first SIGTERM on."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Lifecycle:
    """The current phase of the process, which readiness and the answers' `Connection` header follow."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING

    def not_ready(self) -> str | None:
        """Why no new traffic should come, or None. An unavailable Kafka is no reason: a 503 tells clients more."""
        return None if self.phase is Phase.SERVING else self.phase.value


class DrainingServer(uvicorn.Server):
    """Serves an application on a bound socket until a signal. `listening` is called once connections are accepted.

    `refused` is called with the reason for each request that does not get as far as the application.
    """

    def __init__(
        self,
        app: ASGIApp,
        lifecycle: Lifecycle,
        drain_seconds: float,
        listening: Callable[[], None],
        refused: Callable[[Code], None],
    ) -> None:
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=partial(GuardedProtocol, refused),  # type: ignore[arg-type]  # it is only called
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # X-Forwarded-For is read by `address`
            timeout_keep_alive=75,  # longer than the 60 s of common load balancers, which must be the ones to close
            timeout_graceful_shutdown=_FINISH_SECONDS,
        )
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain_seconds = drain_seconds
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening; let requests that are just arriving be answered; then end as uvicorn does."""
        for server in self.servers:
            server.close()
        deadline = time.monotonic() + _IDLE_SECONDS
        while self.server_state.connections and time.monotonic() < deadline:  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT here: uvicorn would raise them again at its end, which would kill the process."""
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


class _TooLargeError(Exception):
    """The request line and headers are complete and too large; the parser reports it as a malformed request."""


class _Flow(FlowControl):
    """Reading of a connection that nothing resumes while it is `held`."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class GuardedProtocol(HttpToolsProtocol):
    """One connection, with limits that uvicorn leaves to a proxy: on heads, on queued requests, on a client's time.

    Without them a few hundred sockets that send a byte now and then, or headers without an end, occupy the process for
    good. `_timer` runs while a head (request line and headers), or the unread rest of an answered request, is arriving.
    The time limit of a body that is being read is `requests.read_body`'s; `_unread_timer` is that of answers.

    A client may send requests before the earlier ones are answered (pipelining). uvicorn would make a task's worth of
    state of each one that a read brings, 14,000 of the shortest, and read on after every answer. Here the parser gets
    no more while a request is queued: the rest of the read waits as bytes in `_unparsed`, and nothing more is read.
    """

    flow: _Flow
    _upgrading = False
    _timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _unparsed = memoryview(b"")
    _head_bytes = 0
    _body_left = 0
    _in_head = False
    _in_message = False
    _too_large = False

    def __init__(self, refused: Callable[[Code], None], **options: Any) -> None:
        super().__init__(**options)
        self._refused = refused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._start_timer()  # a client may not connect and stay silent

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_unread_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client takes none of its answers: the next one waits for it, but not for good."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(limits.ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_unread_timer()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        self._unparsed = memoryview(bytes(self._unparsed) + data if self._unparsed else data)
        self._parse()

    def _parse(self) -> None:
        """Feed the parser until a request is queued; then hold the rest back, and the client, whose time stands still.

        The bytes of a head are counted on the way: a read may bring more than a whole head may have.
        """
        while self._unparsed and not (self.pipeline or self._upgrading or self.transport.is_closing()):
            size = max(_PIECE_BYTES, min(self._body_left, _BODY_PIECE_BYTES))
            piece, self._unparsed = self._unparsed[:size], self._unparsed[size:]
            self._feed(piece)
            if self._in_head:
                self._head_bytes += len(piece)
                if self._head_bytes > limits.HEAD_BYTES and not self.transport.is_closing():
                    self._refuse(Code.HEAD_TOO_LARGE)
        if self._upgrading or self.transport.is_closing():
            self._unparsed = memoryview(b"")
        elif self.pipeline:
            self.flow.held = True
            self.flow.pause_reading()
            self._stop_timer()
        elif self.flow.held:
            self.flow.held = False
            self.flow.resume_reading()

    def _feed(self, piece: memoryview) -> None:
        """As uvicorn does it, without a line in the log for each request that anybody on the internet sends."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:  # what follows is not HTTP; the request is answered as any other
            self._upgrading = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(Code.HEAD_TOO_LARGE if self._too_large else Code.MALFORMED_REQUEST)

    def _refuse(self, code: Code) -> None:
        """Answer without a body, close, and count it."""
        self._refused(code)
        self.transport.write(_STATUS_LINES[code] + _NO_BODY)
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_message = True
        self._head_bytes = 0
        self._start_timer()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        headers = sum(len(name) + len(value) + _HEADER_FRAME for name, value in self.headers)
        self._too_large = len(self.url) + headers + _LINE_FRAME > limits.HEAD_BYTES
        if self._too_large:  # its last piece was not counted
            raise _TooLargeError
        self._body_left = next((int(value) for name, value in self.headers if name == b"content-length"), 0)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        self._body_left = 0
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The request is answered, perhaps before all of its body was read."""
        super().on_response_complete()
        self._parse()
        arriving = self._in_head or (self._in_message and self.cycle.response_complete)
        if arriving and not self.flow.held and not self.transport.is_closing():
            self._start_timer()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(limits.HEAD_SECONDS, self._time_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _time_out(self) -> None:
        if not self.transport.is_closing():
            if self._in_head:
                self._refuse(Code.HEAD_TIMEOUT)
            self.transport.close()
