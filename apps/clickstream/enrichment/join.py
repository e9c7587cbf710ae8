"""Stream-table joins: what a compacted topic says about the page (its product, its article) is put on the click.

The join's page pattern finds the key in the page's path (percent-decoded); the tables are anything that answers rows by
key, `join_tables.JoinTable` in a running enricher. A key without a row adds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import unquote

from clickstream.contracts.clicks import EnrichedClick, Scalar
from clickstream.contracts.pages import key_finder
from clickstream.contracts.pipeline import Join
from clickstream.enrichment import Enrichment
from clickstream.enrichment.memo import Memo

CACHED: Final = 20_000

Row = dict[str, Scalar]
"""Never changed once it is in a table: clicks share it."""


class Table(Protocol):
    """Rows by key, as they stand now."""

    def get(self, key: str, /) -> Row | None:
        """The row of a key."""


class KeyReader:
    """Finds, in a path, the key of each join whose pattern matches it."""

    def __init__(self, joins: Sequence[Join]) -> None:
        self._finders = [(join.name, key_finder(join.page)) for join in joins]

    def __call__(self, path: str) -> tuple[tuple[str, str], ...]:
        """(join, key) pairs."""
        found = ((name, find(path)) for name, find in self._finders)
        return tuple((name, unquote(key)) for name, key in found if key is not None)


def enrichment(joins: Sequence[Join], tables: Mapping[str, Table], most: int = CACHED) -> Enrichment:
    """Sets joins. `tables` has one for each join, by name; after page."""
    keys = Memo(KeyReader(joins), min(most, CACHED))
    lookups = {join.name: tables[join.name].get for join in joins}

    def enrich(click: EnrichedClick) -> None:
        for name, key in keys[click.page_path]:
            row = lookups[name](key)
            if row is not None:
                # A new dict: the click's default is shared.
                click.joins = {**click.joins, name: row}

    return enrich
