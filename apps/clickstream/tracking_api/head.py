"""What the head of a request says, read from the ASGI scope in one pass over its headers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from starlette.types import Scope

from clickstream.tracking_api.pixel import write_key_in

_SAMPLED: Final = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]")


@dataclass(slots=True)
class Head:
    """Header values as bytes, absent ones empty; `origin` and `user_agent` as text. `key` is the header's, else the query's.

    `traceparent` is None unless the caller sampled the trace. `private` is the Sec-GPC signal.
    """

    query: bytes
    peer: str | None
    key: bytes | None = None
    origin: str | None = None
    content_type: bytes = b""
    content_encoding: bytes = b""
    user_agent: str | None = None
    traceparent: str | None = None
    private: bool = False
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
            case b"content-type":
                head.content_type = value
            case b"content-encoding":
                # Several lines are one list.
                head.content_encoding = head.content_encoding + b"," + value if head.content_encoding else value
            case b"user-agent":
                head.user_agent = value.decode("utf-8", "replace")
            case b"x-forwarded-for":
                head.forwarded.append(value.decode("latin-1"))
            case b"traceparent" if _SAMPLED.fullmatch(value):
                head.traceparent = value.decode()
            case b"sec-gpc":
                head.private = value.strip() == b"1"
    if not head.key and head.query:
        head.key = write_key_in(head.query)
    return head
