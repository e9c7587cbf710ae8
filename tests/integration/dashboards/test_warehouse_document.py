"""docs/warehouse.md: every sample question is run on the scenario and answers what the page says."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "warehouse.md"
SAMPLE = re.compile(
    r"\*\*(?P<question>[^*]+)\*\*.*?```sql\n(?P<sql>.*?)```\n(?P<answer>(?:\|[^\n]*\n)+|No rows)", re.DOTALL
)
SAMPLES = [
    (found["question"], found["sql"], found["answer"]) for found in SAMPLE.finditer(PAGE.read_text(encoding="utf-8"))
]


def test_the_page_has_its_samples() -> None:
    assert len(SAMPLES) == 10


@pytest.mark.parametrize(("question", "sql", "answer"), SAMPLES, ids=[sample[0] for sample in SAMPLES])
def test_the_sample_answers_what_the_page_says(dashboards, question: str, sql: str, answer: str) -> None:
    connection = dashboards.stores.connection
    connection.execute(f'SET search_path TO "{dashboards.system.pipeline.names.schema}"')
    cursor = connection.execute(sql)
    rows = [tuple(shown(value, dashboards.monday) for value in row) for row in cursor.fetchall()]
    if answer == "No rows":
        assert rows == []
        return
    head, _, *body = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in answer.splitlines()]
    assert tuple(column.name for column in cursor.description) == head
    assert rows == body


def shown(value: object, monday: int) -> str:
    """A cell as the page writes it: days by their names."""
    match value:
        case None:
            return ""
        case date():
            days = (value - datetime.fromtimestamp(monday / 1_000, UTC).date()) // timedelta(days=1)
            return ("Monday", "Tuesday", "Wednesday")[days]
        case Decimal() | float():
            return f"{float(value):g}"
        case _:
            return str(value)
