"""A TCP proxy between two parts, which can hold, slow down, cut or refuse what goes through it.

All proxies of a run share one thread. What is held is delivered later, as TCP does after a network partition. `answer`
makes it an HTTP server that gives every request one status: a stand-in for an overloaded store, since a small real one
cannot be overloaded on demand.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

LOOPBACK: Final = "127.0.0.1"
_PIECE: Final = 64 << 10
_PIECES: Final = 64
_TICK_SECONDS: Final = 0.05
_CONNECT_SECONDS: Final = 5.0
_NO_LINGER: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset."""

Target = Callable[[], int | None]
"""The port for the next connection; None if there is none."""


class Proxies:
    """The event loop's thread of all proxies of a run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def open(self, name: str, target: Target, port: int = 0) -> Proxy:
        """A proxy that listens on `port` of loopback (0: a free one)."""
        proxy = Proxy(name, target, self.call)
        self.call(proxy.listen(port))
        return proxy

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it in the thread and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        """End the thread, and every connection with it."""

        async def cancel_all() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.call(cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Proxy:
    """One link. The methods without `async` may be called from any thread."""

    def __init__(self, name: str, target: Target, call: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self.name = name
        self.port = 0
        self._target = target
        self._call = call
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._delay = 0.0
        self._rate = 0.0
        self._refusing = False
        self._status: tuple[int, bytes] | None = None

    @property
    def address(self) -> str:
        """`host:port`, for clients."""
        return f"{LOOPBACK}:{self.port}"

    def hold(self) -> None:
        """Let nothing through, in either direction, until `restore`: connections stay open and silent."""
        self._call(self._set_open(is_open=False))

    def delay(self, seconds: float) -> None:
        """Delay every piece by so many seconds."""
        self._delay = seconds

    def throttle(self, bytes_per_second: float) -> None:
        """Let no more through than that, in each direction of each connection."""
        self._rate = bytes_per_second

    def refuse(self) -> None:
        """Cut all connections, and every new one at once."""
        self._refusing = True
        self.cut()

    def answer(self, status: int, body: bytes) -> None:
        """Answer every HTTP request with this JSON, in the server's place."""
        self._status = (status, body)
        self.cut()

    def cut(self) -> None:
        """Reset the connections that there are."""
        self._call(self._cut())

    def restore(self) -> None:
        """Be a plain proxy again."""
        was_answering = self._status is not None
        self._delay, self._rate, self._refusing, self._status = 0.0, 0.0, False, None
        self._call(self._set_open(is_open=True))
        if was_answering:
            self.cut()

    async def listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _set_open(self, *, is_open: bool) -> None:
        if is_open:
            self._open.set()
        else:
            self._open.clear()

    async def _cut(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                if self._refusing:
                    _reset(writer)
                elif self._status is not None:
                    await self._answer(reader, writer)
                else:
                    await self._pass_on(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        port = self._target()
        if port is None:
            _reset(writer)
            return
        try:
            connecting = asyncio.open_connection(LOOPBACK, port)
            there, back = await asyncio.wait_for(connecting, _CONNECT_SECONDS)
        except OSError:
            _reset(writer)
            return
        self._writers.add(back)
        try:
            both = asyncio.gather(self._pump(reader, back), self._pump(there, writer))
            await both
        except OSError:  # one side was reset: so is the other
            _reset(writer)
            _reset(back)
            both.cancel()
        finally:
            self._writers.discard(back)
            back.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward data until it ends. A delay adds latency without reducing bandwidth: pieces travel in parallel."""
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES)

        async def receive() -> None:
            try:
                while data := await reader.read(_PIECE):
                    await on_the_way.put((time.monotonic() + self._delay, data))
            except OSError:
                await on_the_way.put((0.0, b""))
                raise
            await on_the_way.put((0.0, b""))

        receiving = asyncio.create_task(receive())
        try:
            while (piece := await on_the_way.get())[1]:
                await asyncio.sleep(max(0.0, piece[0] - time.monotonic()))
                await self._send(writer, piece[1])
            if not writer.is_closing():
                writer.write_eof()
            await receiving
        finally:
            receiving.cancel()

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        view = memoryview(data)
        while view:
            await self._open.wait()
            rate = self._rate
            size = max(1, int(rate * _TICK_SECONDS)) if rate else len(view)
            writer.write(view[:size])
            await writer.drain()
            view = view[size:]
            if rate:
                await asyncio.sleep(_TICK_SECONDS)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (answer := self._status) is not None:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_content_length(head))
            status, body = answer
            writer.write(
                b"HTTP/1.1 %d Fault\r\nX-Elastic-Product: Elasticsearch\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (status, len(body), body)
            )
            await writer.drain()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
