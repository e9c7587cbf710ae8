"""TLS and basic authentication in front of a plain HTTP server, as a cluster's Elasticsearch has them."""

from __future__ import annotations

import base64
import http.client
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "authorization", "content-length"}


class TlsProxy:
    """Listens on 127.0.0.1 once made. `refused` counts requests without the right user and password."""

    def __init__(self, target: str, certificate: Path, key: Path, user: str, password: str) -> None:
        parts = urlsplit(target)
        expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        proxy = self
        self.refused = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.backend = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)

            def finish(self) -> None:
                self.backend.close()
                super().finish()

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Authorization") != expected:
                    proxy.refused += 1
                    self.answer(401, [("WWW-Authenticate", "Basic")], b'{"error": "who are you?", "status": 401}')
                    return
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
                self.backend.request(self.command, self.path, body, headers)
                response = self.backend.getresponse()
                found = [(name, value) for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP]
                length = response.getheader("Content-Length")
                self.answer(response.status, found, response.read(), length)

            def answer(
                self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None
            ) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that does not trust the certificate hangs up: not an error."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = Server(("127.0.0.1", 0), Handler)
        # The handshake runs in the connection's own thread: a silent client must not block the others.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, name="tls-proxy", daemon=True).start()
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
