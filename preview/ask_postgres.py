"""A PostgreSQL target of a panel, queried as Grafana's data source does: read-only, one statement."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import psycopg

from preview.tables import NUMBER, TEXT, TIME, Column, Table
from preview.variables import Range, Variables, sql_macros


def sql_of(target: Mapping[str, Any], variables: Variables, range_: Range, interval_ms: int) -> str:
    return sql_macros(variables.replace(target["rawSql"]), range_, interval_ms)


def ask_postgres(connection: psycopg.Connection[Any], statement: str) -> Table:
    """Its answer. Raises psycopg.Error."""
    with connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        cursor = connection.execute(statement.encode())
        names = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall()
    columns = []
    for place, name in enumerate(names):
        values = [_plain(row[place]) for row in rows]
        columns.append(Column(name, _kind(name, [row[place] for row in rows]), values))
    return Table(columns)


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return int(value.timestamp() * 1_000)
        case Decimal():
            return float(value)
        case date():
            return value.isoformat()
        case _:
            return value


def _kind(name: str, values: list[Any]) -> str:
    some = next((value for value in values if value is not None), None)
    if name == TIME or isinstance(some, datetime):
        return TIME
    return NUMBER if isinstance(some, int | float | Decimal) else TEXT
