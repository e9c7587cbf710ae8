"""Distinguishes a click that is stored already from another one with the same event_id.

An id is unique in an index, and clicks are created under their event_id, which is a client's own choice: two sites, or
two users, may choose the same. So the document in the way is read, and only one with the same source and grouping key
is the click itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from elasticsearch import Elasticsearch

from clickstream.contracts.names import Names
from clickstream.sinks.elasticsearch.documents import action, index_of, replacing, second_id
from clickstream.sinks.records import GROUPING_FIELD, Record, StoredClick
from clickstream.sinks.replayed import same_copy

COMPARED: Final = 500
"""Replayed clicks whose documents are read at once: each is looked for under two ids."""


@dataclass(slots=True)
class Resolved:
    """Of clicks with a taken event_id: how many are `known`, `others` with their new ids, those to ask about again."""

    known: int = 0
    others: list[tuple[Record, str | None]] = field(default_factory=list)
    unclear: list[Record] = field(default_factory=list)


@dataclass(slots=True)
class Compared:
    """Of replayed clicks: how many equal what is stored, or are not the stored copy, and actions for the others."""

    known: int = 0
    replacing: list[tuple[Record, bytes]] = field(default_factory=list)
    missing: list[tuple[Record, bytes]] = field(default_factory=list)


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
                found.unclear.append(record)  # deleted meanwhile, or temporarily unreadable
            elif is_of(document["_source"], click.source, self._field, key):
                found.known += 1
            else:
                found.others.append((record, second_id(click, key)))
        return found

    def compare(self, client: Elasticsearch, replays: Sequence[Record]) -> Compared:
        """What to do with replayed clicks, at most `COMPARED`. Raises ApiError, TransportError.

        A document that is temporarily unreadable counts as missing: creating it fails in the same way.
        """
        found = Compared()
        wanted = []
        for record in replays:
            click, index = self._click(record), index_of(record, self._names)
            wanted += [{"_index": index, "_id": id_} for id_ in (click.event_id, self._second(click))]
        documents = client.mget(docs=wanted).body["docs"]
        for record, first, second in zip(replays, documents[::2], documents[1::2], strict=True):
            click = self._click(record)
            if first.get("found") and is_of(first["_source"], click.source, self._field, getattr(click, self._field)):
                self._compare(record, click, first, found)
            elif second.get("found"):
                self._compare(record, click, second, found)
            else:
                taken = self._second(click) if first.get("found") else None
                found.missing.append((record, action(record, self._names, taken)))
        return found

    def _compare(self, record: Record, click: StoredClick, document: dict[str, Any], found: Compared) -> None:
        assert record.replay is not None
        stored = document["_source"]
        if record.replay.keeps_session:
            kept = stored.get("session"), bool(stored.get("late"))
            click = msgspec.structs.replace(click, session=kept[0], late=kept[1])
        if not same_copy(click, stored) or msgspec.to_builtins(click) == stored:
            found.known += 1
        else:
            place = document["_index"], document["_id"]
            found.replacing.append((record, replacing(click, *place, record.replay.started)))

    def _click(self, record: Record) -> StoredClick:
        assert isinstance(record.content, StoredClick)
        return record.content

    def _second(self, click: StoredClick) -> str:
        return second_id(click, getattr(click, self._field))


def is_of(document: dict[str, Any], source: str, name: str, key: str) -> bool:
    """Whether a document with a click's event_id is that click: same source, same grouping key in field `name`."""
    return bool(document.get("source", "") == source and document.get(name) == key)
