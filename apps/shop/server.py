"""The example shop's web server: static files, one page for every shop URL, the tracker's script tag put in.

Standard library only, so that it runs anywhere: `python apps/shop/server.py --tracker-url URL --write-key KEY`. There
is no backend: carts live in the browser, and nothing is sold.
"""

# ruff: noqa: INP001 - a script beside the files that it serves, not a package
from __future__ import annotations

import argparse
import html
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

HERE: Final = Path(__file__).resolve().parent
FILES: Final = {
    "/shop.css": (HERE / "static" / "shop.css", "text/css; charset=utf-8"),
    "/shop.js": (HERE / "static" / "shop.js", "text/javascript; charset=utf-8"),
    "/pictures.js": (HERE / "static" / "pictures.js", "text/javascript; charset=utf-8"),
    "/products.json": (HERE / "products.json", "application/json"),
}
PAGES: Final = ("/", "/products", "/cart", "/checkout", "/thank-you")
TRACKER: Final = "<!-- tracker -->"


class ShopServer(ThreadingHTTPServer):
    """Serves the shop, its pages loading the tracker from `tracker_url` (the tracking API) with `write_key`.

    `modules`: names of the tracker's, such as `vitals errors`.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, tracker_url: str, write_key: str, modules: str = "") -> None:
        """Listen on port (0 takes a free one). Raises OSError."""
        super().__init__((host, port), _Handler)
        source, key = html.escape(f"{tracker_url.rstrip('/')}/tracker.js"), html.escape(write_key)
        more = f' data-modules="{html.escape(modules)}"' if modules else ""
        tag = f'<script async src="{source}" data-key="{key}"{more}></script>' if tracker_url else ""
        self.page = (HERE / "static" / "index.html").read_text(encoding="utf-8").replace(TRACKER, tag).encode()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: ShopServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path in FILES:
            file, content_type = FILES[path]
            self._answer(200, content_type, file.read_bytes())
        elif path in PAGES or path.startswith("/products/"):
            self._answer(200, "text/html; charset=utf-8", self.server.page)
        elif path == "/favicon.ico":
            self._answer(204, "image/x-icon", b"")
        else:
            self._answer(404, "text/html; charset=utf-8", self.server.page)

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """A line a request would drown what matters."""


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; 1 when the port cannot be had."""
    parser = argparse.ArgumentParser(description="Serve the example shop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port; 0 takes a free one (default %(default)s)")
    parser.add_argument("--port-file", metavar="FILE", help="write the port here once it listens")
    parser.add_argument("--tracker-url", default="", help="the tracking API, such as http://127.0.0.1:8080")
    parser.add_argument("--write-key", default="", help="the write key of the shop's source")
    parser.add_argument("--modules", default="", help="modules of the tracker, such as 'vitals errors'")
    options = parser.parse_args(arguments)
    try:
        server = ShopServer(options.host, options.port, options.tracker_url, options.write_key, options.modules)
    except OSError as error:
        sys.stderr.write(f"shop: cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1
    if options.port_file:
        partial = Path(f"{options.port_file}.{os.getpid()}")
        partial.write_text(f"{server.port}\n", encoding="utf-8")
        partial.replace(options.port_file)
    sys.stderr.write(f"shop: http://{options.host}:{server.port}\n")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
