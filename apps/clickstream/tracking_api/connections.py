"""uvicorn's HTTP connection with limits that it leaves to a proxy: the size of a head, and the time a client may take.

Without them a few hundred sockets that send a byte now and then, or headers without an end, occupy the process for good.
The time limit of a body that somebody waits for is in `body`; here is the one of a body that was answered already.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from clickstream.tracking_api import limits

_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_PIECE_BYTES: Final = 16 * 1_024


class GuardedProtocol(HttpToolsProtocol):
    """One connection. `_clock` runs while a head, or the unread rest of an answered request, is on its way."""

    _clock: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = False
    _in_message = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client may not just connect and stay silent."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to wait for."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what arrives before a head is complete; in pieces, since one read may bring more than a whole head may be."""
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES]
            super().data_received(piece)
            if self._in_head:
                self._head_bytes += len(piece)
                if self._head_bytes > limits.HEAD_BYTES and not self.transport.is_closing():
                    self.transport.write(_TOO_LARGE)
                    self.transport.close()
            if self.transport.is_closing():
                break

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_head = self._in_message = True
        self._head_bytes = 0
        self._start_clock()

    def on_headers_complete(self) -> None:
        """The head is there; the application takes over."""
        self._in_head = False
        self._stop_clock()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of the request is there."""
        self._in_message = False
        self._stop_clock()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Answered, perhaps before all of the body was read."""
        super().on_response_complete()
        if self._in_message and not self.transport.is_closing():
            self._start_clock()

    def _start_clock(self) -> None:
        self._stop_clock()
        self._clock = self.loop.call_later(limits.HEAD_SECONDS, self._time_is_up)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _time_is_up(self) -> None:
        if not self.transport.is_closing():
            if self._in_head:
                self.transport.write(_TOO_SLOW)
            self.transport.close()
