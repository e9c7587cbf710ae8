"""The answers, as status, headers and bytes; no framework.

A refusal is `{"error": {"code", "path", "message"}}`, a batch `{"accepted": n, "rejected": [...]}`; a batch that could
not be stored as a whole has both, and `"unstored": [...]`. Nothing of the
request is ever repeated in one, but for the Origin header, which CORS demands and which was compared with a list first.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from clickstream.tracking_api import limits
from clickstream.tracking_api.pixel import GIF
from clickstream.tracking_api.rejections import Code, Rejection

Headers = list[tuple[bytes, bytes]]
JSON: Final = (b"content-type", b"application/json")
_RETRY: Final = (b"retry-after", str(limits.RETRY_AFTER_SECONDS).encode())
_NO_STORE: Final = (b"cache-control", b"no-store")


class Answer(NamedTuple):
    """One HTTP response."""

    status: int
    headers: Headers
    body: bytes

    def with_headers(self, headers: Headers) -> Answer:
        """The same answer with more headers."""
        return Answer(self.status, self.headers + headers, self.body) if headers else self


class RejectedEvent(msgspec.Struct, frozen=True, gc=False):
    """One refused event of a batch; `index` counts from 0, `path` starts at the batch."""

    index: int
    code: str
    path: str
    message: str


class BatchAnswer(msgspec.Struct, frozen=True):
    """How many events were accepted, and which were not."""

    accepted: int
    rejected: list[RejectedEvent]


class UnstoredBatch(msgspec.Struct, frozen=True):
    """The same of a batch of which some events could not be stored: their indices are in `unstored`, in order."""

    error: dict[str, str]
    accepted: int
    rejected: list[RejectedEvent]
    unstored: list[int]


def _answer(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
    return Answer(status, [(b"content-length", str(len(body)).encode()), *headers], body)


ACCEPTED: Final = _answer(202, b'{"accepted":1}', JSON)
PIXEL: Final = _answer(200, GIF, (b"content-type", b"image/gif"), _NO_STORE)
UNAVAILABLE: Final = Rejection(Code.UNAVAILABLE, "$", "the events could not be stored: send them again, ids unchanged")
_SOME_UNAVAILABLE: Final = Rejection(
    Code.UNAVAILABLE, "$", "the events in unstored could not be stored: send these again, or all, ids unchanged"
)
METHOD_NOT_ALLOWED: Final = Rejection(Code.METHOD_NOT_ALLOWED, "$", "this path does not take this method")
INTERNAL: Final = Rejection(
    Code.INTERNAL, "$", "something went wrong on our side: send the events again, ids unchanged"
)


def batch(accepted: int, rejected: list[tuple[int, Rejection]], unstored: list[int]) -> Answer:
    """202 when at least one event was accepted, otherwise 422; 503 when some events are to be sent again."""
    events = [RejectedEvent(index, r.code, r.inside(f"$.events[{index}]").path, r.message) for index, r in rejected]
    if unstored:
        body = UnstoredBatch(_reason(_SOME_UNAVAILABLE), accepted, events, unstored)
        return _answer(503, msgspec.json.encode(body), JSON, _NO_STORE, _RETRY)
    return _answer(202 if accepted else 422, msgspec.json.encode(BatchAnswer(accepted, events)), JSON)


def refusal(rejection: Rejection) -> Answer:
    """The answer to a request that is refused as a whole."""
    headers = [JSON, _NO_STORE]
    if rejection.status == 503:
        headers.append(_RETRY)
    if rejection.status == 408:  # the rest of the body may come at any time, and nobody will read it
        headers.append((b"connection", b"close"))
    return _answer(rejection.status, msgspec.json.encode({"error": _reason(rejection)}), *headers)


def _reason(rejection: Rejection) -> dict[str, str]:
    return {"code": rejection.code, "path": rejection.path, "message": rejection.message}
