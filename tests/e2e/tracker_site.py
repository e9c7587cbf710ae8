"""A site and an API for the tracker: pages at 127.0.0.1, the API at localhost, which is another origin."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Page

import clickstream.tracking_api
from clickstream.tracking_api.script import FILES
from support.waiting import until

STATIC = Path(clickstream.tracking_api.__file__).parent / "static"
PAGE = (
    "<!doctype html><title>A page</title><script async src='http://localhost:{port}/tracker.js' {tag}></script>{body}"
)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The origin of a site that has the folder's files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class Api:
    """`answers` are used up in turn; each comes after `delay` seconds. `tag`: attributes of the pages' script tag.

    `body` is the rest of the pages, `others` has pages of their own by path; `{port}` is the API's in both.
    """

    def __init__(self) -> None:
        self.delay = 0.0
        self.tag, self.body = "data-key='k'", ""
        self.others: dict[str, str] = {}
        self.answers: list[tuple[int, dict[str, str]] | None] = []
        self.batches: list[dict] = []
        self.times: list[float] = []
        self.methods: list[str] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path in FILES:
                    self.answer(200, {"Content-Type": "text/javascript"}, (STATIC / FILES[path]).read_bytes())
                elif path.startswith("/v1/"):
                    self.answer(404, {})
                else:
                    text = api.others.get(path) or PAGE.replace("{tag}", api.tag).replace("{body}", api.body)
                    whole = text.replace("{port}", str(self.server.server_address[1]))
                    self.answer(200, {"Content-Type": "text/html"}, whole.encode())

            def do_OPTIONS(self) -> None:
                api.methods.append("OPTIONS")
                self.answer(403, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api.methods.append("POST")
                api.times.append(time.monotonic())
                api.batches.append(json.loads(body) | {"path": self.path, "cookie": self.headers.get("Cookie")})
                answer = api.answers.pop(0) if api.answers else (202, {})
                time.sleep(api.delay)
                if answer is None:
                    self.close_connection = True  # no answer at all
                    return
                self.answer(answer[0], dict(answer[1]))

            def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
                body = headers.pop("body", "").encode() or body
                self.send_response(status)
                shared = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
                for name, value in (shared | headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.site = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def events(self) -> list[dict]:
        return [event for batch in self.batches for event in batch["events"]]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def wait(page: Page, true: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Until it is true, while the browser's own events are handled."""
    until(lambda: page.wait_for_timeout(20) or true(), what, seconds)


def told(page: Page) -> list[str]:
    """What the tracker will have said in the console."""
    lines: list[str] = []
    page.on("console", lambda message: lines.append(message.text) if "clickstream:" in message.text else None)
    return lines
