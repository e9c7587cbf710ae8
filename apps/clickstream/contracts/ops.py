"""The small HTTP server that a process without an HTTP job of its own has for its keepers: /healthz, /readyz, /metrics.

Liveness (`healthy`) and readiness (`ready`) are asked for at each request; each answers None when all is well, or the
reason why not. It runs in a thread of its own, so that a busy loop can still be asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Check = Callable[[], str | None]


class OpsServer:
    """Serves from the moment it is made until `close`. Port 0 takes a free one; `port` tells which. Raises OSError."""

    def __init__(self, host: str, port: int, healthy: Check, ready: Check, metrics: Callable[[], bytes]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                match self.path:
                    case "/healthz":
                        self._check(healthy())
                    case "/readyz":
                        self._check(ready())
                    case "/metrics":
                        self._answer(200, "text/plain; version=0.0.4; charset=utf-8", metrics())
                    case _:
                        self._answer(404, "text/plain", b"try /healthz, /readyz or /metrics\n")

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

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="ops", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
