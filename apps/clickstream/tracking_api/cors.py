"""Headers that let a page of another origin send events and read the answer (the Fetch standard's CORS protocol).

Credentials are never allowed. `sendBeacon` sends them all the same, which makes its answer unreadable to the page,
who cannot read it anyway; the request itself is a simple one (text/plain, the key in the query) and needs no preflight.
"""

from __future__ import annotations

from typing import Final

from clickstream.tracking_api.access import Access
from clickstream.tracking_api.answers import Answer, Headers, refusal
from clickstream.tracking_api.rejections import Code, Rejection

_VARY: Final = (b"vary", b"Origin")
_EXPOSE: Final = (b"access-control-expose-headers", b"Retry-After")
_PREFLIGHT: Final[Headers] = [
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"Content-Type, Content-Encoding, X-Write-Key, Traceparent"),
    (b"access-control-max-age", b"86400"),
]
_REFUSED: Final = Rejection(Code.ORIGIN_NOT_ALLOWED, "$", "no source allows this origin")


def readable(access: Access, origin: str | None, key: bytes | None) -> Headers:
    """Headers for any answer: the origin may read it when the key's source (an unknown key: any source) allows it."""
    if origin is None:
        return []
    known = key if key and not isinstance(access.source_of(key), Rejection) else None
    if not access.readable_by(origin, known):
        return [_VARY]
    return [(b"access-control-allow-origin", origin.encode("latin-1")), _VARY, _EXPOSE]


def preflight(access: Access, origin: str | None, key: bytes | None) -> Answer:
    """The answer to OPTIONS: 204 for an origin that may send, otherwise 403; without an Origin nothing but the status."""
    if origin is None:
        return Answer(204, [], b"")
    if not access.readable_by(origin, key):
        return refusal(_REFUSED).with_headers([_VARY])
    return Answer(204, [(b"access-control-allow-origin", origin.encode("latin-1")), _VARY, *_PREFLIGHT], b"")
