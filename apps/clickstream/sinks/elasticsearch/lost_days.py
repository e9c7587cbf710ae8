"""Session records of days without stored clicks: written where their index exists, rejected where it does not.

A session has the storage day of its first click and may go on for ever (something that sends every minute): the index
of that day stays as long. But no index is created again for such a day, of which there may be thousands.
"""

from __future__ import annotations

from collections.abc import Sequence

from elasticsearch import Elasticsearch

from clickstream.contracts.names import Names
from clickstream.contracts.session_records import storage_day_of
from clickstream.sinks.elasticsearch.documents import index_of
from clickstream.sinks.elasticsearch.installation import indices_of
from clickstream.sinks.records import Record, Refused, StoredClick
from clickstream.sinks.validation import oldest_day


def split_off(
    client: Elasticsearch, names: Names, records: Sequence[Record], kept: int
) -> tuple[list[Record], list[Refused]]:
    """(what is to be written, what is rejected). `kept`: see `kept_ms`. Raises ApiError, TransportError."""
    old = [record for record in records if _is_old(record, kept)]
    if not old:
        return list(records), []
    there = set(indices_of(client, names))
    lost = {id(record) for record in old if index_of(record, names) not in there}
    reason = "a session that began longer ago than the store keeps clicks, on a day of which it has none"
    refused = [Refused.by_store(record, "day_is_gone", reason, "$.id") for record in old if id(record) in lost]
    return [record for record in records if id(record) not in lost], refused


def _is_old(record: Record, kept: int) -> bool:
    content = record.content
    return not isinstance(content, StoredClick) and storage_day_of(content.id) < oldest_day(record.time_ms, kept)
