"""The answers as status, headers and bytes, CORS headers included; no framework.

A rejection is `{"error": {"code", "path", "message"}}`, a batch `{"accepted": n, "rejected": [...]}`; a batch of which
some events could not be stored has both, and `"unstored": [...]`. An answer never repeats anything of the request but
its Origin header, which CORS (the Fetch standard) demands and which was compared with a list first; only a verdict
(`verdicts`) tells what would be found in the request's events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from clickstream.tracking_api import limits, rejections
from clickstream.tracking_api.access import Access
from clickstream.tracking_api.rate_limits import Refusal
from clickstream.tracking_api.rejections import Rejection

Headers = list[tuple[bytes, bytes]]
_JSON: Final = (b"content-type", b"application/json")
_RETRY: Final = (b"retry-after", str(limits.RETRY_AFTER_SECONDS).encode())
_NO_STORE: Final = (b"cache-control", b"no-store")
_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")
_GIF: Final = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
"""A transparent image of one pixel."""
_VARY: Final = (b"vary", b"Origin")
_ALLOW_ANY: Final = (b"access-control-allow-origin", b"*")
_EXPOSE: Final = (b"access-control-expose-headers", b"Retry-After, RateLimit, RateLimit-Policy")
_PREFLIGHT: Final[Headers] = [
    (b"access-control-allow-methods", b"GET, POST"),
    (
        b"access-control-allow-headers",
        b"Content-Type, Content-Encoding, X-Write-Key, Traceparent, Authorization, X-Retry-Count",
    ),
    (b"access-control-max-age", b"86400"),
]


class Answer(NamedTuple):
    """One HTTP response."""

    status: int
    headers: Headers
    body: bytes

    def with_headers(self, headers: Headers) -> Answer:
        """The same answer with more headers."""
        return Answer(self.status, self.headers + headers, self.body) if headers else self


class RejectedItem(msgspec.Struct, frozen=True, gc=False):
    """One rejected event of a batch; `index` counts from 0, `path` starts at the batch."""

    index: int
    code: str
    path: str
    message: str


class _Batch(msgspec.Struct, frozen=True):
    accepted: int
    rejected: list[RejectedItem]


class _UnstoredBatch(msgspec.Struct, frozen=True):
    error: dict[str, str]
    accepted: int
    rejected: list[RejectedItem]
    unstored: list[int]


def _answer(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
    return Answer(status, [(b"content-length", str(len(body)).encode()), *headers], body)


def json_answer(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
    """An answer of this JSON text."""
    return _answer(status, body, _JSON, *headers)


_ACCEPTED: Final = _answer(202, b'{"accepted":1}', _JSON)
_PIXEL: Final = _answer(200, _GIF, (b"content-type", b"image/gif"), _NO_STORE)


def event(
    accepted: int, rejected: list[tuple[int, Rejection]], _unstored: list[int], success: Answer = _ACCEPTED
) -> Answer:
    """`success` if the one event was accepted, otherwise its rejection; 503 when it is to be sent again."""
    if accepted:
        return success
    return rejection(rejected[0][1] if rejected else rejections.UNAVAILABLE)


def pixel(accepted: int, rejected: list[tuple[int, Rejection]], unstored: list[int]) -> Answer:
    """As `event`, with an image for success."""
    return event(accepted, rejected, unstored, _PIXEL)


def batch(accepted: int, rejected: list[tuple[int, Rejection]], unstored: list[int]) -> Answer:
    """202 when at least one event was accepted, otherwise 422; 503 when some events are to be sent again."""
    items = [RejectedItem(index, r.code, r.inside(f"$.events[{index}]").path, r.message) for index, r in rejected]
    if unstored:
        body = _UnstoredBatch(_reason(rejections.PARTLY_UNAVAILABLE), accepted, items, unstored)
        return _answer(503, msgspec.json.encode(body), _JSON, _NO_STORE, _RETRY)
    return _answer(202 if accepted else 422, msgspec.json.encode(_Batch(accepted, items)), _JSON)


def rejection(reason: Rejection) -> Answer:
    """The answer to a request that is rejected as a whole."""
    return refusal(reason.status, msgspec.json.encode({"error": _reason(reason)}))


def refusal(status: int, body: bytes) -> Answer:
    """A refusal with this status and JSON text, and the headers that belong to it."""
    headers = [_NO_STORE]
    if status == 503:
        headers.append(_RETRY)
    if status == 408:  # the rest of the body may come at any time, and will not be read
        headers.append((b"connection", b"close"))
    return json_answer(status, body, *headers)


def verdict(body: bytes) -> Answer:
    """What would become of a request's events. Nobody may keep it, or take it for anything but JSON."""
    return json_answer(200, body, _NO_STORE, _NO_SNIFF)


def limited(
    refusal: Refusal, refuse: Callable[[Rejection], Answer], reason: Rejection = rejections.RATE_LIMITED
) -> Answer:
    """The answer to a request that a rate limit refuses (429), with draft-ietf-httpapi-ratelimit-headers' fields."""
    return refuse(reason).with_headers(
        [
            (b"retry-after", b"%d" % refusal.seconds),
            (b"ratelimit", f'"{refusal.limit}";r={refusal.left};t={refusal.seconds}'.encode()),
            (b"ratelimit-policy", refusal.policies.encode()),
        ]
    )


def preflight(access: Access, origin: str | None, key: bytes | None) -> Answer:
    """The answer to OPTIONS: 204 for an origin that may send, otherwise 403; without an Origin only the status."""
    if origin is None:
        return Answer(204, [], b"")
    if not access.readable_by(origin, key):
        return rejection(rejections.ORIGIN_OF_NO_SOURCE).with_headers([_VARY])
    return Answer(204, [_allow(origin), _VARY, *_PREFLIGHT], b"")


def cors_headers(access: Access, origin: str | None, key: bytes | None, *, refused: bool) -> Headers:
    """For any answer: the origin may read it when the key's source (an unknown key: any source) allows it.

    Why a request was `refused` any page may read: its developer must see the mistake, and its tracker that a retry is
    in vain. An origin that is not known is not repeated in an answer.

    Credentials are never allowed. `sendBeacon` sends them all the same, which makes its answer unreadable to the page,
    which cannot read it anyway; the request itself is a simple one (text/plain, the key in the query), so that it needs
    no preflight.
    """
    if origin is None:
        return []
    known = key if key and not isinstance(access.source_of(key), Rejection) else None
    if access.readable_by(origin, known):
        return [_allow(origin), _VARY, _EXPOSE]
    return [_ALLOW_ANY, _VARY, _EXPOSE] if refused else [_VARY]


def _allow(origin: str) -> tuple[bytes, bytes]:
    return (b"access-control-allow-origin", origin.encode("latin-1"))


def _reason(rejection: Rejection) -> dict[str, str]:
    return {"code": rejection.code, "path": rejection.path, "message": rejection.message}
