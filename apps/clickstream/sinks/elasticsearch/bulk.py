"""Bulk requests, and what the answer to each of their actions means.

The client library's own bulk helper is not used: it hides what happened to single actions, and a 429 among them is
neither a success nor a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from elasticsearch import Elasticsearch

MAX_BYTES: Final = 6 << 20

_FILTER: Final = "errors,items.*.status,items.*.error.type,items.*.error.reason"

_BAD_DOCUMENT: Final = frozenset(
    {"document_parsing_exception", "mapper_parsing_exception", "strict_dynamic_mapping_exception"}
)
# 400s that are about the cluster and not about the document: too many shards are open, or somebody closed the index.
_BAD_CLUSTER: Final = frozenset({"validation_exception", "index_closed_exception"})
_FIELD: Final = re.compile(r"field \[([\w.]{1,100})\]|introduction of \[([\w.]{1,100})\]")


class Verdict(Enum):
    """What became of one action."""

    NEW = "new"
    KNOWN = "known"
    LATER = "later"
    REFUSED = "refused"


class UnexpectedAnswerError(Exception):
    """Elasticsearch refused an action for a reason that is not the document's: a fault of ours."""


def split(actions: Sequence[bytes], limit: int = MAX_BYTES) -> Iterator[tuple[int, int]]:
    """Ranges (start, end) of the actions, each of at most `limit` bytes unless a single one is larger."""
    start = size = 0
    for number, content in enumerate(actions):
        if number > start and size + len(content) > limit:
            yield start, number
            start, size = number, 0
        size += len(content)
    if start < len(actions):
        yield start, len(actions)


def send(client: Elasticsearch, actions: Iterable[bytes]) -> list[Mapping[str, Any]]:
    """The answer to each action, in order. Raises ApiError or TransportError when there is no such answer."""
    response = client.perform_request(
        "POST",
        f"/_bulk?filter_path={_FILTER}",
        headers={"accept": "application/json", "content-type": "application/x-ndjson"},
        body=b"".join(actions),
    )
    return [next(iter(item.values())) for item in response.body["items"]]


def judge(answer: Mapping[str, Any]) -> Verdict:
    """What an answer means. Raises UnexpectedAnswerError."""
    status = answer["status"]
    if status < 300:
        return Verdict.NEW
    if status == 409:
        return Verdict.KNOWN
    kind, reason = error_of(answer)
    if status in {401, 403, 404, 429} or status >= 500 or kind in _BAD_CLUSTER:
        return Verdict.LATER
    if kind in _BAD_DOCUMENT or "immense term" in reason:
        return Verdict.REFUSED
    msg = f"HTTP {status} {kind}"
    raise UnexpectedAnswerError(msg)


def error_of(answer: Mapping[str, Any]) -> tuple[str, str]:
    """(type, reason) of a refused action. The reason may quote the document: for judging only, never to be shown."""
    error = answer.get("error") or {}
    return str(error.get("type", "unknown")), str(error.get("reason", ""))


def field_of(answer: Mapping[str, Any]) -> str | None:
    """The mapped field that an answer complains about, where it names one."""
    found = _FIELD.search(error_of(answer)[1])
    return None if found is None else found[1] or found[2]
