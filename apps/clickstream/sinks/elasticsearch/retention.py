"""Retention in Elasticsearch: whole day indices are dropped; undated documents are found and deleted one by one.

A day is dropped once it is older than the retention and nothing in it was received (or, for sessions, ended) within the
retention: a client whose clock is 20 days behind writes into a day that is 20 days old. A click that comes for a
dropped day makes a fresh index of that day, which is dropped in its turn. Neither ILM nor delete-by-query is used: both
are missing in some distributions.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from elasticsearch import Elasticsearch

from clickstream.contracts.durations import duration_ms
from clickstream.contracts.names import UNDATED, Names
from clickstream.contracts.times import DAY_MS
from clickstream.sinks.elasticsearch.installation import indices_of

log = logging.getLogger(__name__)

_PAGE: Final = 1_000
_TIMES: Final = ("received_at", "end", "retracted_at")


def apply_retention(client: Elasticsearch, names: Names, retention: str, now_ms: int | None = None) -> int:
    """Delete what is older than `retention` (a duration). Returns the number of dropped indices. Raises ApiError."""
    now_ms = int(time.time() * 1_000) if now_ms is None else now_ms
    cutoff = now_ms - duration_ms(retention)
    dropped = 0
    for index in indices_of(client, names):
        day = index.rsplit(".", 1)[1] if index.endswith(f".{UNDATED}") else index[-10:]
        if day == UNDATED:
            _prune(client, index, cutoff)
        elif _ended_before(day, cutoff) and _drop(client, index, cutoff):
            log.info("dropped index %s", index)
            dropped += 1
    return dropped


def _ended_before(day: str, cutoff_ms: int) -> bool:
    try:
        end = datetime.combine(date.fromisoformat(day.replace(".", "-")), datetime.min.time(), UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        return False  # not an index of this pipeline
    return end.timestamp() * 1_000 <= cutoff_ms // DAY_MS * DAY_MS


def _drop(client: Elasticsearch, index: str, cutoff_ms: int) -> bool:
    """Delete the index unless it holds something recent."""
    if _holds_recent(client, index, cutoff_ms):
        return False
    # A late click that comes after that check would be deleted with the index: from here on a sink keeps and retries
    # it.
    client.options(ignore_status=[400, 404]).indices.add_block(index=index, block="write")
    if _holds_recent(client, index, cutoff_ms):
        client.indices.put_settings(index=index, settings={"index.blocks.write": None})
        return False
    client.indices.delete(index=index, ignore_unavailable=True)
    return True


def _holds_recent(client: Elasticsearch, index: str, cutoff_ms: int) -> bool:
    query = {"bool": {"should": [{"range": {field: {"gte": cutoff_ms}}} for field in _TIMES]}}
    client.indices.refresh(index=index, ignore_unavailable=True)
    answer = client.search(
        index=index, query=query, size=0, terminate_after=1, track_total_hits=1, ignore_unavailable=True
    )
    return int(answer["hits"]["total"]["value"]) > 0


def _prune(client: Elasticsearch, index: str, cutoff_ms: int) -> None:
    query = {"bool": {"should": [{"range": {field: {"lt": cutoff_ms}}} for field in _TIMES]}}
    while True:
        client.indices.refresh(index=index, ignore_unavailable=True)
        answer = client.search(
            index=index, query=query, size=_PAGE, source=False, track_total_hits=False, ignore_unavailable=True
        )
        ids: list[str] = [hit["_id"] for hit in answer["hits"]["hits"]]
        if not ids:
            return
        orders: list[dict[str, Any]] = [{"delete": {"_index": index, "_id": found}} for found in ids]
        result = client.bulk(operations=orders)
        if all(item["delete"]["status"] >= 300 for item in result["items"]):
            log.warning("nothing could be deleted from %s, retried at the next run", index)
            return
        log.info("deleted %d documents from %s", len(ids), index)
