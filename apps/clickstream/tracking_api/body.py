"""The body of a request: which kinds are taken, how much of it, how long it may take, and undoing gzip.

The limits are enforced while reading, so that neither an endless body nor a compressed bomb costs more than its limit.
"""

from __future__ import annotations

import asyncio
import zlib
from enum import Enum
from functools import lru_cache

from starlette.types import Receive

from clickstream.tracking_api import limits
from clickstream.tracking_api.rejections import Code, Rejection

TOO_LARGE = Rejection(Code.BODY_TOO_LARGE, "$", f"a body has at most {limits.BODY_BYTES} bytes")
TOO_SLOW = Rejection(Code.BODY_TIMEOUT, "$", f"the body did not arrive within {limits.BODY_SECONDS:.0f} s")
_MEDIA_TYPE = Rejection(
    Code.UNSUPPORTED_MEDIA_TYPE, "$", "the Content-Type must be application/json or text/plain, in UTF-8"
)
_ENCODING = Rejection(Code.UNSUPPORTED_ENCODING, "$", "the Content-Encoding must be gzip, identity or absent")
_GZIP = Rejection(Code.MALFORMED_GZIP, "$", "the body is not exactly one whole gzip member")
_BOMB = Rejection(
    Code.DECOMPRESSED_TOO_LARGE, "$", f"a body has at most {limits.DECOMPRESSED_BYTES} bytes after decompression"
)
_MAX_CONTENT_TYPE = 256
"""Bytes of the header: no longer one is worth its place in the cache."""
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})


class Gone(Enum):
    """The client hung up before its body was complete: there is nobody to answer."""

    GONE = "gone"


async def read_body(receive: Receive, seconds: float = limits.BODY_SECONDS) -> bytes | Rejection | Gone:
    """The whole body as it came over the wire."""
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return Gone.GONE
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > limits.BODY_BYTES:
                    return TOO_LARGE
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError:
        return TOO_SLOW


def decode_body(body: bytes, content_type: bytes, content_encoding: bytes) -> bytes | Rejection:
    """The JSON text in a body, compression undone."""
    if len(content_type) > _MAX_CONTENT_TYPE or not _media_type_is_taken(content_type):
        return _MEDIA_TYPE
    match content_encoding.strip().lower():
        case b"" | b"identity":
            return body
        case b"gzip":
            return _gunzip(body)
        case _:
            return _ENCODING


@lru_cache(maxsize=256)
def _media_type_is_taken(header: bytes) -> bool:
    media_type, *parameters = header.decode("latin-1").lower().split(";")
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
        return _GZIP
    if len(text) > limits.DECOMPRESSED_BYTES:
        return _BOMB
    if not inflater.eof or inflater.unused_data:
        return _GZIP
    return text
