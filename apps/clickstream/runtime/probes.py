"""The HTTP server of a process's ops port: probes (/healthz, /readyz), metrics (/metrics), and pages that never change.

Liveness (`healthy`) and readiness (`ready`) are called at each request; each returns None when all is well, or the
reason why not. It runs in a thread of its own, so that it answers while the main loop is busy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from clickstream.runtime.listening import bind

Check = Callable[[], str | None]


class Page(NamedTuple):
    """A page and its Content-Type."""

    content_type: str
    body: bytes


class OpsServer:
    """Serves from construction until `close`. Port 0 takes a free one; `port` is the actual one. Raises OSError.

    `pages` are those beside the probes and the metrics, by path.
    """

    def __init__(
        self,
        host: str,
        port: int,
        healthy: Check,
        ready: Check,
        metrics: Callable[[], bytes],
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        others = dict(pages or {})
        known = ", ".join(["/healthz", "/readyz", "/metrics", *others])

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                match self.path:
                    case "/healthz":
                        self._check(healthy())
                    case "/readyz":
                        self._check(ready())
                    case "/metrics":
                        self._answer(200, "text/plain; version=0.0.4; charset=utf-8", metrics())
                    case path if path in others:
                        self._answer(200, *others[path])
                    case _:
                        self._answer(404, "text/plain", f"there are {known}\n".encode())

            def _check(self, reason: str | None) -> None:
                self._answer(200 if reason is None else 503, "text/plain", f"{reason or 'ok'}\n".encode())

            def _answer(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Probes are not worth a log line."""

        bound = bind(host, port)
        self._server = ThreadingHTTPServer((host, port), Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = bound
        self._server.server_address = bound.getsockname()
        self._server.daemon_threads = True
        try:
            self._server.server_activate()
        except OSError:
            self._server.server_close()
            raise
        self._thread = threading.Thread(target=self._server.serve_forever, name="ops", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
