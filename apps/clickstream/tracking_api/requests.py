"""What is read of a request besides its events: headers, write key, and the body's JSON text.

The limits of a body are enforced while it is read, so that neither an endless body nor a compressed bomb costs more
than its limit.
"""

from __future__ import annotations

import asyncio
import base64
import re
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.types import Receive, Scope

from clickstream.tracking_api import limits, rejections
from clickstream.tracking_api.rejections import Rejection

_SAMPLED: Final = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]")
_SEVERAL: Final = b"several"
"""Two lines are one list of two encodings, of which none is supported."""
_KEY: Final = re.compile(rb"(?:^|&)key(?:=([^&]*))?(?=&|$)")
_MAX_CONTENT_TYPE: Final = 256
"""Bytes of the header; a longer one is not worth its place in the cache."""
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii"})


@dataclass(slots=True)
class RequestHeaders:
    """Header values as bytes, absent ones empty; `origin`, `user_agent` as text. `key`: the header's, else the query's.

    `browser`: only a browser sends such headers (Origin, Sec-Fetch-Site), so its User-Agent is the visitor's. Node's
    `fetch` sends Sec-Fetch-Mode.
    `traceparent` is None unless the client sampled the trace. `private`: by Sec-GPC or DNT the
    visitor objects. `forwarded` and
    `x_forwarded_for` are the lines of these headers in order.
    """

    query: bytes
    peer: str | None
    key: bytes | None = None
    origin: str | None = None
    content_length: bytes = b""
    content_type: bytes = b""
    content_encoding: bytes = b""
    authorization: bytes = b""
    user_agent: str | None = None
    browser: bool = False
    traceparent: str | None = None
    private: bool = False
    x_forwarded_for: list[str] = field(default_factory=list)
    forwarded: list[str] = field(default_factory=list)


def read_headers(scope: Scope) -> RequestHeaders:  # noqa: C901, PLR0912 - one case a header
    """The headers of an HTTP request, in one pass."""
    client = scope.get("client")
    headers = RequestHeaders(scope["query_string"], client[0] if client else None)
    for name, value in scope["headers"]:
        match name:
            case b"x-write-key":
                headers.key = value
            case b"origin":
                headers.origin = value.decode("latin-1")
                headers.browser = True
            case b"sec-fetch-site" | b"sec-fetch-dest" | b"sec-fetch-user":
                headers.browser = True
            case b"content-length":
                headers.content_length = value
            case b"content-type":
                headers.content_type = value
            case b"content-encoding":
                headers.content_encoding = _SEVERAL if headers.content_encoding else value
            case b"authorization":
                headers.authorization = value
            case b"user-agent":
                headers.user_agent = value.decode("utf-8", "replace")
            case b"x-forwarded-for":
                headers.x_forwarded_for.append(value.decode("latin-1"))
            case b"forwarded":
                headers.forwarded.append(value.decode("latin-1"))
            case b"traceparent" if _SAMPLED.fullmatch(value):
                headers.traceparent = value.decode()
            case b"sec-gpc" | b"dnt":
                headers.private |= value.strip() == b"1"
    if not headers.key and headers.query:
        headers.key = write_key_in(headers.query)
    return headers


def most_events(headers: RequestHeaders) -> int:
    """How many good events a batch can have, by its headers."""
    length = headers.content_length
    if headers.content_encoding or not length.isdigit() or len(length) > 9:
        return limits.BATCH_EVENTS
    return min(limits.BATCH_EVENTS, 1 + int(length) // limits.LEAST_EVENT_BYTES)


def write_key_in(query: bytes) -> bytes | None:
    """The first `key` parameter of a query string, decoded."""
    found = _KEY.search(query)
    return None if found is None else unquote_to_bytes((found[1] or b"").replace(b"+", b" "))


def basic_user(authorization: bytes) -> bytes | None:
    """The user name of basic authentication, where Segment's libraries put the write key; None for anything else."""
    scheme, _, credentials = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(credentials.strip(), validate=True).partition(b":")[0]
    except ValueError:
        return None


def without_key(query: bytes) -> bytes:
    """The query string without its write key, otherwise unchanged."""
    return b"&".join(pair for pair in query.split(b"&") if not pair.startswith(b"key="))


class ClientDisconnected:
    """The client closed the connection before its body was complete: no answer can be sent."""


async def read_body(receive: Receive) -> bytes | Rejection | ClientDisconnected:
    """The whole body as it came over the wire."""
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return ClientDisconnected()
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > limits.BODY_BYTES:
                    return rejections.BODY_TOO_LARGE
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError:
        return rejections.BODY_TIMEOUT


def decode_body(body: bytes, content_type: bytes, content_encoding: bytes) -> bytes | Rejection:
    """The JSON text in a body, decompressed."""
    if len(content_type) > _MAX_CONTENT_TYPE or not _is_supported(content_type):
        return rejections.UNSUPPORTED_MEDIA_TYPE
    return decompress(body, content_encoding)


def decompress(body: bytes, content_encoding: bytes) -> bytes | Rejection:
    """The text in a body, whatever its type."""
    match content_encoding.strip().lower():
        case b"" | b"identity":
            return body
        case b"gzip":
            return _gunzip(body)
        case _:
            return rejections.UNSUPPORTED_ENCODING


@lru_cache(maxsize=256)
def _is_supported(content_type: bytes) -> bool:
    media_type, *parameters = content_type.decode("latin-1").lower().split(";")
    if media_type.strip() not in {"application/json", "text/plain"}:
        return False
    charsets = [
        value.strip().strip('"')
        for name, _, value in (p.partition("=") for p in parameters)
        if name.strip() == "charset"
    ]
    return all(charset in _CHARSETS for charset in charsets)


def _gunzip(body: bytes) -> bytes | Rejection:
    inflater = zlib.decompressobj(wbits=31)  # 31: gzip only, with its checksum
    try:
        text = inflater.decompress(body, limits.DECOMPRESSED_BYTES + 1)
    except zlib.error:
        return rejections.MALFORMED_GZIP
    if len(text) > limits.DECOMPRESSED_BYTES:
        return rejections.DECOMPRESSED_TOO_LARGE
    if not inflater.eof or inflater.unused_data:
        return rejections.MALFORMED_GZIP
    return text
