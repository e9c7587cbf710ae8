"""A whole data plane that is told everything, and the ledger of what it was told."""

from __future__ import annotations

import http.client
import os
import random
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings

from clickstream.contracts.pipeline import Pipeline
from clickstream.tracking_api.endpoints import Endpoint
from support.ledger import Ledger, Request
from support.system import KEY, System

T = TypeVar("T")

KEYS = {"web": KEY, "other": "another-write-key"}
EVENT_LOOP_SECONDS = 0.05
"""What one request may cost the event loop."""
DEEP = max(1, int(os.environ.get("FUZZ_DEPTH", "1")))


class Fuzz:
    """The system under test. What is sent through it is in `ledger`; `seed` repeats a run (FUZZ_SEED)."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.keys = KEYS
        self.ledger = Ledger()
        self.requests = 0
        self.seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(2**32))
        self.slowest = 0.0
        self._slow: list[tuple[object, Callable[[], object]]] = []
        self._drive = ""
        self._driven: dict[str, float] = {}
        self._connection: http.client.HTTPConnection | None = None
        host, port = system.url.removeprefix("http://").split(":")
        self._address = host, int(port)

    def cases(self, number: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Decorates what is given cases of `hypothesis`. A failure shows the smallest case that fails."""
        options = settings(
            max_examples=number * DEEP,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
            database=None,
            print_blob=True,
        )
        return lambda drive: seed(self.seed + zlib.crc32(self._drive.encode()))(options(drive))

    def timed(self, what: object, send: Callable[[], T]) -> T:
        """What `send` answers; how long the event loop works meanwhile is noted."""
        seconds, answer = self._measured(send)
        self.slowest = max(self.slowest, seconds)
        if seconds >= EVENT_LOOP_SECONDS:
            self._slow.append((what, send))
        return answer

    def costly(self) -> list[tuple[float, str]]:
        """Requests that cost the event loop too much each time, and how much; they are sent again for it.

        What a request costs it costs each time; a garbage collection, or a core that another program shares, does not
        meet the same one again and again.
        """
        found = []
        for what, send in self._slow:
            seconds = min(self._measured(send)[0] for _ in range(5))
            if seconds >= EVENT_LOOP_SECONDS:
                found.append((seconds, repr(what)[:2_000]))
        return found

    def _measured(self, send: Callable[[], T]) -> tuple[float, T]:
        before = self._worked()
        answer = send()
        return self._worked() - before, answer

    def send(self, method: str, target: str, body: bytes, headers: dict[str, str | bytes]) -> http.client.HTTPResponse:
        """A request as it is, whatever it is, on a connection that is kept; the answer has its `body` read."""
        for attempt in (1, 2):
            connection = self._connection or http.client.HTTPConnection(*self._address, timeout=15)
            try:
                connection.putrequest(method, target, skip_accept_encoding=True)
                for name, value in headers.items():
                    connection.putheader(name, value)
                if method == "POST":
                    connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body or None)
                answer = connection.getresponse()
                answer.content = answer.read()  # type: ignore[attr-defined]
            except (http.client.HTTPException, OSError):
                connection.close()
                self._connection = None
                if attempt == 2:
                    raise
            else:
                self._connection = None if answer.will_close else connection
                return answer
        raise AssertionError

    def collect(self, request: Request, headers: dict[str, str | bytes] | None = None) -> http.client.HTTPResponse:
        """Send what it is and take the answer into the ledger."""
        endpoint = request.endpoint
        target = endpoint.path + ("?" + request.query.decode("latin-1") if request.query else "")
        given: dict[str, str | bytes] = {"X-Write-Key": KEYS[request.source]}
        if endpoint is not Endpoint.PIXEL:
            given["Content-Type"] = request.content_type
            if request.content_encoding:
                given["Content-Encoding"] = request.content_encoding
        at = time.time_ns() // 1_000_000
        everything = given | (headers or {})
        answer = self.timed(
            request.query + request.body, lambda: self.send(endpoint.methods[0], target, request.body, everything)
        )
        self.ledger.take(request, answer.status, answer.content, at)  # type: ignore[attr-defined]
        self.requests += 1
        return answer

    @property
    def told(self) -> str:
        """How long each drive took."""
        return ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self._driven.items())

    def once(self, name: str, drive: Callable[[Fuzz], None]) -> None:
        """Drive, unless that was done before."""
        if name not in self._driven:
            self._drive, began = name, time.monotonic()
            print(f"FUZZ_SEED={self.seed}")  # shown with a failure
            drive(self)
            self._driven[name] = time.monotonic() - began

    def _worked(self) -> float:
        """Seconds for which the API's event loop had a core, whoever else was on this machine."""
        number = self.system.api.popen.pid
        return int(Path(f"/proc/{number}/task/{number}/schedstat").read_text().split()[0]) / 1e9


@pytest.fixture(scope="module")
def fuzz(new_pipeline: Callable[..., Pipeline], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzz]:
    """Everything is fresh, and the same for all tests of the module."""
    pipeline = new_pipeline(
        sources=[{"name": name, "writeKey": key, "allowedOrigins": ["*"]} for name, key in KEYS.items()],
        # Nothing is taken out, so that what comes out must be what was sent.
        trackingApi={
            "trustedProxies": ["127.0.0.0/8", "::1/128"],
            "privacy": {"anonymizeIp": False, "respectGpc": False, "redactParameters": [], "redactEmails": False},
        },
    )
    system = System(pipeline, tmp_path_factory.mktemp("fuzz"))
    try:
        yield Fuzz(system)
    finally:
        system.close()
