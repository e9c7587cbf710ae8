"""What a store has been given once is not changed under the same version: sinks compare versions, not shapes."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import ElasticsearchSink
from clickstream.sinks.elasticsearch.templates import TEMPLATE_VERSION, templates
from clickstream.sinks.postgres.installation import Migration, migrations
from clickstream.sinks.postgres.rows import CLICK_JSON, CLICK_SCALARS

TEMPLATES = {1: "03ed7d91b0ec424f", 2: "3233fbac1d93ee75"}
"""Digest of the templates of each version."""
MIGRATIONS = {
    1: "96eb2eef02cf7489",
    2: "e054f44fef43c6b5",
    3: "d6da3c0b4e152730",
    4: "cdf5515706533ed2",
    5: "c87985516fdf8a36",
    6: "27742efffe7cf26b",
    7: "4a9910d122d136af",
}
"""Digest of each migration that a release may have applied."""


RENAMED = {"session": "session_id", "timestamp": "client_timestamp"}
"""Columns of another name than their field (sinks/postgres/statements.py)."""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_templates_that_change_have_another_version():
    """Otherwise a new sink would begin before setup, and its records would be blocked by the old mapping."""
    made = templates(Names("team", "shop"), ElasticsearchSink("http://unused:9200"))
    found = digest(json.dumps(made, sort_keys=True))
    assert TEMPLATES.get(TEMPLATE_VERSION) == found, (
        f"the index templates are no longer those of version {TEMPLATE_VERSION}: raise TEMPLATE_VERSION "
        f"(sinks/elasticsearch/templates.py), and note {found!r} for it here"
    )


@pytest.mark.parametrize("migration", migrations(), ids=lambda each: each.name)
def test_a_migration_is_never_changed_afterwards(migration: Migration):
    assert MIGRATIONS.get(migration.version) == migration.checksum[:16], (
        f"migration {migration.version} is another one than before: undo that, and write a new one. "
        f"If it is new, note {migration.checksum[:16]!r} for it here"
    )


def test_every_column_of_clicks_is_made_and_explained_by_a_migration():
    text = "\n".join(each.text for each in migrations())
    table = re.search(r"CREATE TABLE clicks \((.*?)\n\)", text, re.DOTALL)
    assert table
    made = set(re.findall(r"^\s+(\w+)\s+\w", table[1], re.MULTILINE))
    made |= set(re.findall(r"ALTER TABLE clicks\s+ADD COLUMN (\w+)", text))
    commented = set(re.findall(r"COMMENT ON COLUMN clicks\.(\w+) IS", text))
    written = {RENAMED.get(field, field) for field in (*CLICK_SCALARS, *CLICK_JSON)}
    assert written - made == set(), "no migration adds these columns, which rows.py writes"
    assert written - commented == set(), "no migration has a COMMENT for these columns"


def test_a_column_that_is_added_later_is_optional():
    """The release before goes on inserting without it."""
    for migration in migrations():
        for name, rest in re.findall(r"ADD COLUMN (\w+)([^,;]*)", migration.text):
            assert "NOT NULL" not in rest.upper() or "DEFAULT" in rest.upper(), f"{migration.name}: {name}"
