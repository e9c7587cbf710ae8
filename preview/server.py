"""The preview's HTTP server: the page, the dashboards' JSON, and each panel's answer. Read-only, on loopback.

A way to send a query is deliberately absent; the page names a dashboard, a panel, a range and choices, nothing else.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg

from clickstream.contracts.dashboards import KINDS
from clickstream.contracts.pipeline import Pipeline
from devstack.errors import DevstackError
from devstack.ports import LOOPBACK
from preview.board import Board, Stores
from preview.variables import Choice, Range, moment_ms

PAGE: Final = Path(__file__).resolve().parent / "page"
SHOWN: Final = tuple(kind for kind in KINDS if kind != "health")
"""Health asks Prometheus, which the preview does without."""
_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_KEPT: Final = 4


class Preview:
    """The dashboards of one pipeline and a few open connections to its stores."""

    def __init__(self, pipeline: Pipeline, open_stores: Callable[[], Stores]) -> None:
        self._open = open_stores
        self._idle: queue.LifoQueue[Stores] = queue.LifoQueue(_KEPT)
        self.boards = {kind: Board(kind, pipeline.names, pipeline.funnels, pipeline.time_zone) for kind in SHOWN}

    def panel(self, kind: str, panel_id: int, asked: Mapping[str, list[str]]) -> dict[str, Any]:
        """{"tables": […]}, or {"error": text} for a store that cannot answer. Raises KeyError, ValueError."""
        board, span = self.boards[kind], self._range(asked)
        try:
            with self._stores() as stores:
                chosen = board.choices(stores, span, _choices(asked))
                tables = board.ask(panel_id, stores, span, chosen)
        except (psycopg.Error, DevstackError, OSError) as error:
            return {"error": str(error).partition("\n")[0]}
        shown = [
            [{"name": column.name, "kind": column.kind, "values": column.values} for column in table.columns]
            for table in tables
        ]
        return {"tables": shown, "from": span.since_ms, "to": span.until_ms, "chosen": chosen}

    def options(self, kind: str, name: str, asked: Mapping[str, list[str]]) -> dict[str, Any]:
        """{"options": […]} of a variable. Raises KeyError, ValueError, StopIteration."""
        board, span = self.boards[kind], self._range(asked)
        try:
            with self._stores() as stores:
                chosen = board.choices(stores, span, _choices(asked))
                return {"options": board.options(name, stores, span, chosen)}
        except (psycopg.Error, DevstackError, OSError) as error:
            return {"options": [], "error": str(error).partition("\n")[0]}

    @staticmethod
    def _range(asked: Mapping[str, list[str]]) -> Range:
        now = int(time.time() * 1_000)
        since, until = (
            moment_ms(asked.get(name, [usual])[0], now) for name, usual in (("from", "now-6h"), ("to", "now"))
        )
        return Range(since, until, int(asked.get("points", ["300"])[0]))

    @contextmanager
    def _stores(self) -> Iterator[Stores]:
        try:
            stores = self._idle.get_nowait()
        except queue.Empty:
            stores = self._open()
        try:
            yield stores
        except BaseException:
            stores.close()
            raise
        try:
            self._idle.put_nowait(stores)
        except queue.Full:
            stores.close()


class _Handler(BaseHTTPRequestHandler):
    preview: ClassVar[Preview]
    protocol_version = "HTTP/1.1"

    @cached_property
    def _asked(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query)

    def do_GET(self) -> None:
        self.__dict__.pop("_asked", None)  # one handler serves all requests of a connection
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        try:
            match parts:
                case ["api", "dashboards"]:
                    titles = [
                        {"kind": kind, "title": board.dashboard["title"]} for kind, board in self.preview.boards.items()
                    ]
                    self._json(titles)
                case ["api", "dashboards", kind]:
                    self._json(self.preview.boards[kind].dashboard)
                case ["api", "panels", kind, number]:
                    self._json(self.preview.panel(kind, int(number), self._asked))
                case ["api", "options", kind, name]:
                    self._json(self.preview.options(kind, name, self._asked))
                case ["favicon.ico"]:
                    self._answer(204, "text/plain", b"")
                case [""]:
                    self._file("index.html")
                case [name]:
                    self._file(name)
                case _:
                    self._answer(404, "text/plain", b"not found")
        except (KeyError, ValueError, StopIteration):
            self._answer(404, "text/plain", b"not found")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: a page that refreshes every few seconds would fill the log."""

    def _file(self, name: str) -> None:
        if name not in {file.name for file in PAGE.iterdir()}:
            raise KeyError(name)
        self._answer(200, _TYPES[Path(name).suffix], (PAGE / name).read_bytes())

    def _json(self, content: object) -> None:
        self._answer(200, "application/json", json.dumps(content).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'")
        self.end_headers()
        self.wfile.write(body)


def make_server(preview: Preview, port: int) -> ThreadingHTTPServer:
    """Listening on loopback; port 0 is a free one."""
    handler = type("Handler", (_Handler,), {"preview": preview})
    server = ThreadingHTTPServer((LOOPBACK, port), handler)
    server.daemon_threads = True
    return server


def _choices(asked: Mapping[str, list[str]]) -> dict[str, Choice]:
    """`var-name=value` as often as wanted, like Grafana's own addresses."""
    made: dict[str, Choice] = {}
    for name, values in asked.items():
        if name.startswith("var-"):
            made[name.removeprefix("var-")] = values if len(values) > 1 else values[0]
    return made
