"""What the head of a request says, read from the ASGI scope in one pass over its headers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from starlette.types import Scope

from clickstream.tracking_api.pixel import write_key_in

_SAMPLED: Final = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]")
_SEVERAL: Final = b"several"
"""Two lines are one list of two encodings, of which none is taken."""


@dataclass(slots=True)
class Head:
    """Header values as bytes, absent ones empty; `origin` and `user_agent` as text. `key` is the header's, else the query's.

    `browser`: only a browser sends such a head (Origin, Sec-Fetch-…), so that its User-Agent is the visitor's.
    `traceparent` is None unless the caller sampled the trace. `private` is the Sec-GPC signal. `forwarded` and
    `x_forwarded_for` are the lines of these headers in order.
    """

    query: bytes
    peer: str | None
    key: bytes | None = None
    origin: str | None = None
    content_type: bytes = b""
    content_encoding: bytes = b""
    user_agent: str | None = None
    browser: bool = False
    traceparent: str | None = None
    private: bool = False
    x_forwarded_for: list[str] = field(default_factory=list)
    forwarded: list[str] = field(default_factory=list)


def read_head(scope: Scope) -> Head:  # noqa: C901 - one case a header
    """The head of an HTTP request."""
    client = scope.get("client")
    head = Head(scope["query_string"], client[0] if client else None)
    for name, value in scope["headers"]:
        match name:
            case b"x-write-key":
                head.key = value
            case b"origin":
                head.origin = value.decode("latin-1")
                head.browser = True
            case b"sec-fetch-site" | b"sec-fetch-mode" | b"sec-fetch-dest" | b"sec-fetch-user":
                head.browser = True
            case b"content-type":
                head.content_type = value
            case b"content-encoding":
                head.content_encoding = _SEVERAL if head.content_encoding else value
            case b"user-agent":
                head.user_agent = value.decode("utf-8", "replace")
            case b"x-forwarded-for":
                head.x_forwarded_for.append(value.decode("latin-1"))
            case b"forwarded":
                head.forwarded.append(value.decode("latin-1"))
            case b"traceparent" if _SAMPLED.fullmatch(value):
                head.traceparent = value.decode()
            case b"sec-gpc":
                head.private = value.strip() == b"1"
    if not head.key and head.query:
        head.key = write_key_in(head.query)
    return head
