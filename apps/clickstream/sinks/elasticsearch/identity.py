"""Telling a click that is stored already from another one that has the same event_id.

An id is unique in an index, and clicks are created under their event_id, which is a client's own choice: two sites, or two
users, may choose the same. So the document in the way is read, and only one with the same source and grouping key is
the click itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from elasticsearch import Elasticsearch

from clickstream.contracts.names import Names
from clickstream.sinks.elasticsearch.documents import index_of, second_id
from clickstream.sinks.records import GROUPING_FIELD, Record, StoredClick


@dataclass(slots=True)
class Resolved:
    """Of clicks whose event_id is taken: how many are `known`, `others` with the ids that they get, those to ask about again."""

    known: int = 0
    others: list[tuple[Record, str | None]] = field(default_factory=list)
    unclear: list[Record] = field(default_factory=list)


class Identity:
    """Of one pipeline's clicks; `group_by` as in the pipeline document."""

    def __init__(self, names: Names, group_by: str) -> None:
        self._names = names
        self._field = GROUPING_FIELD[group_by]

    def resolve(self, client: Elasticsearch, clicks: Sequence[Record]) -> Resolved:
        """Compare with what is stored. Raises ApiError, TransportError."""
        found = Resolved()
        wanted = [{"_index": index_of(record, self._names), "_id": record.content.event_id} for record in clicks]  # type: ignore[union-attr]
        answer = client.mget(docs=wanted, source_includes=["source", self._field])
        for record, document in zip(clicks, answer.body["docs"], strict=True):
            click = record.content
            assert isinstance(click, StoredClick)
            key: str = getattr(click, self._field)
            if not document.get("found"):
                found.unclear.append(record)  # it was deleted meanwhile, or cannot be read for now
            elif _is(document["_source"], click.source, self._field, key):
                found.known += 1
            else:
                found.others.append((record, second_id(click, key)))
        return found


def _is(document: dict[str, Any], source: str, name: str, key: str) -> bool:
    return bool(document.get("source", "") == source and document.get(name) == key)
