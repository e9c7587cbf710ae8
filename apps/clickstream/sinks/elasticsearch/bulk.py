"""Bulk requests, and what the answer to each of their actions means.

The client library's bulk helper is not used: it hides what happened to single actions, and a 429 among them is neither
a success nor a rejection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from elasticsearch import ApiError, Elasticsearch

MAX_BYTES: Final = 6 << 20

_FILTER: Final = "errors,items.*.status,items.*.error.type,items.*.error.reason"

# Whatever the status: the index is read-only, write-blocked, closed or missing, has no active shard, may not be created
# (too many shards are open), or has the mapping of another release: documents have the release's fields only.
_BLOCKED: Final = frozenset(
    {
        "cluster_block_exception",
        "index_closed_exception",
        "index_not_found_exception",
        "strict_dynamic_mapping_exception",
        "unavailable_shards_exception",
        "no_shard_available_action_exception",
        "validation_exception",
    }
)
_FIELD: Final = re.compile(r"field \[([\w.]{1,100})\]")


class Verdict(Enum):
    """What became of one action."""

    NEW = "new"
    CONFLICT = "conflict"
    """A document with that id, or with a version that is not older, exists."""
    LATER = "later"
    """The whole store temporarily rejects writes."""
    BLOCKED = "blocked"
    """The index temporarily rejects writes."""
    REFUSED = "refused"


class NoAnswerError(Exception):
    """The answer is not Elasticsearch's: a proxy's, say."""


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
    """The answer to each action, in order.

    Raises ApiError, TransportError or NoAnswerError when there is no such answer.
    """
    response = client.perform_request(
        "POST",
        f"/_bulk?filter_path={_FILTER}",
        headers={"accept": "application/json", "content-type": "application/x-ndjson"},
        body=b"".join(actions),
    )
    try:
        return [next(iter(item.values())) for item in response.body["items"]]
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        msg = f"HTTP {response.meta.status} without the answers of a bulk request"
        raise NoAnswerError(msg) from error


def takes_requests(client: Elasticsearch, index: str) -> bool:
    """Whether a neutral bulk request is accepted: one to a missing alias, so that no index is made.

    It distinguishes a request that is rejected for its content from a store that rejects any.
    """
    order = b'{"create":{"_index":"%b.none","_id":"none","require_alias":true}}\n{}\n' % index.encode()
    try:
        send(client, [order])
    except ApiError:
        return False
    return True


def judge(answer: Mapping[str, Any]) -> Verdict:
    """What an answer means. A reason that is not known to be temporary is the document's."""
    status = answer["status"]
    if status < 300:
        return Verdict.NEW
    if status == 409:
        return Verdict.CONFLICT
    if error_of(answer)[0] in _BLOCKED:
        return Verdict.BLOCKED
    return Verdict.LATER if status in {401, 403, 404, 429} or status >= 500 else Verdict.REFUSED


def error_of(answer: Mapping[str, Any]) -> tuple[str, str]:
    """(type, reason) of a rejected action. The reason may quote the document: for judging only, never to be logged."""
    error = answer.get("error") or {}
    return str(error.get("type", "unknown")), str(error.get("reason", ""))


def field_of(answer: Mapping[str, Any]) -> str | None:
    """The mapped field that an answer complains about, where it names one."""
    found = _FIELD.search(error_of(answer)[1])
    return None if found is None else found[1]
