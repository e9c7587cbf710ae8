"""Kafka records: their headers, and a fingerprint that identifies one."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from operator import methodcaller
from typing import Any, Final

TRACEPARENT: Final = "traceparent"
"""W3C trace context header, present only on records of sampled requests."""

Headers = list[tuple[str, bytes | None]]


def fingerprint(*parts: bytes | None) -> str:
    """16 hex digits that identify a record by the given parts of it."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(b"-" if part is None else b"%d:%b" % (len(part), part))
    return digest.hexdigest()


def headers_of(message: Any) -> list[tuple[str, bytes | None]]:
    """The headers of a confluent_kafka Message; in place of those that cannot be read one named `unreadable`.

    For a name that is not UTF-8 the client returns a list with holes, which crashes the process, and sets an error
    (seen with 2.16). A call from C checks the error, which the interpreter skips for frequent calls; a second call
    returns the list without the error.
    """
    try:
        return _read_headers(message) or []
    except (SystemError, UnicodeDecodeError):
        unreadable: list[tuple[str, bytes | None]] = [("unreadable", b"true")]
        message.set_headers(unreadable)
        return unreadable


_read_headers: Final = methodcaller("headers")


def header(headers: Iterable[tuple[str, bytes | None]] | None, name: str) -> bytes | None:
    """The first header of that name."""
    for key, value in headers or ():
        if key == name:
            return value
    return None
