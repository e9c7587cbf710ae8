"""A query's result: columns with names and values, whichever store it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

TIME: Final = "time"
NUMBER: Final = "number"
TEXT: Final = "text"


@dataclass(frozen=True, slots=True)
class Column:
    """`kind`: time (ms since the epoch), number or text; None is an absent value."""

    name: str
    kind: str
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one length."""

    columns: Sequence[Column]

    def rows(self) -> list[tuple[Any, ...]]:
        return list(zip(*(column.values for column in self.columns), strict=True))

    def column(self, name: str) -> Column:
        """The column of that name. Raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)
