"""The answers as the libraries of Segment and RudderStack expect them.

`{"success": true}` with 200 when at least one event was accepted, since they retry nothing after a 200 and some know no
other success; what was rejected beside it is named in `rejected`. A refusal is `{"success": false, "code", "path",
"message"}`: libraries look for code and message at the top. Its status is one that they know: 400 where ours are finer,
401 for a wrong key. 408 and 5xx they send again.
"""

from __future__ import annotations

from typing import Final

import msgspec

from clickstream.tracking_api import answers, rejections
from clickstream.tracking_api.answers import Answer, RejectedItem
from clickstream.tracking_api.rejections import STATUS, Code, Rejection

SEGMENT_STATUS: Final[dict[Code, int]] = {
    code: 400 if status in {415, 422} else status for code, status in STATUS.items()
} | {Code.UNKNOWN_KEY: 401}


class _Partly(msgspec.Struct, frozen=True):
    success: bool
    rejected: list[RejectedItem]


class _Refusal(msgspec.Struct, frozen=True):
    success: bool
    code: str
    path: str
    message: str


_SUCCESS: Final = answers.json_answer(200, b'{"success":true}')


def event(accepted: int, rejected: list[tuple[int, Rejection]], _unstored: list[int]) -> Answer:
    """Success, or the rejection of the one event; 503 when it is to be sent again."""
    if accepted:
        return _SUCCESS
    return refusal(rejected[0][1] if rejected else rejections.UNAVAILABLE)


def batch(accepted: int, rejected: list[tuple[int, Rejection]], unstored: list[int]) -> Answer:
    """200 when at least one event was accepted; 503 when some are to be sent again: a library sends all of them."""
    if unstored:
        return refusal(rejections.UNAVAILABLE)
    items = [
        RejectedItem(index, each.code, each.inside(f"$.batch[{index}]").path, each.message) for index, each in rejected
    ]
    if accepted and not items:
        return _SUCCESS
    return answers.json_answer(200 if accepted else 400, msgspec.json.encode(_Partly(bool(accepted), items)))


def refusal(reason: Rejection) -> Answer:
    """The answer to a request that is rejected as a whole."""
    if reason is rejections.MISSING_KEY:
        reason = rejections.MISSING_SEGMENT_KEY
    body = msgspec.json.encode(_Refusal(success=False, code=reason.code, path=reason.path, message=reason.message))
    return answers.refusal(SEGMENT_STATUS[reason.code], body)
