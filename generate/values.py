"""The chart's values.yaml, read with its comments: each value's path, default, description and schema.

A comment that begins with `--` describes the value below it; further lines of the comment belong to it. One that begins
with `@schema` is a JSON object that is merged over what the default tells (its type; no further keys in an object that
has some).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_TYPES: Final = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}


@dataclass(frozen=True, slots=True)
class Value:
    """One value: `path` such as `("image", "tag")`, and what is known about it.

    Raises ValueError when nothing describes it.
    """

    path: tuple[str, ...]
    default: Any
    description: str
    narrowed: dict[str, Any]

    @property
    def key(self) -> str:
        """The path as `--set` takes it."""
        return ".".join(self.path)

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the value."""
        kind = {} if self.default is None else {"type": _TYPES[type(self.default)]}
        return kind | self.narrowed | {"description": self.description}


def read_values(path: Path) -> list[Value]:
    """All values of a values.yaml, in its order."""
    text = path.read_text()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        msg = f"{path}: not a mapping"
        raise TypeError(msg)
    return list(_values(root, yaml.safe_load(text), (), text.splitlines()))


def _values(node: yaml.MappingNode, defaults: Any, path: tuple[str, ...], lines: list[str]) -> Iterator[Value]:
    for key, child in node.value:
        here, default = (*path, key.value), defaults[key.value]
        comment = _comment_above(lines, key.start_mark.line)
        if comment:
            yield _value(here, default, comment)
        elif isinstance(child, yaml.MappingNode) and child.value:
            yield from _values(child, default, here, lines)
        else:
            msg = f"values.yaml: {'.'.join(here)} has no description: put a comment that begins with -- above it"
            raise ValueError(msg)


def _value(path: tuple[str, ...], default: Any, comment: list[str]) -> Value:
    described = [line for line in comment if not line.startswith("@schema ")]
    narrowed = [json.loads(line.removeprefix("@schema ")) for line in comment if line.startswith("@schema ")]
    return Value(path, default, " ".join(described).removeprefix("-- "), narrowed[0] if narrowed else {})


def _comment_above(lines: list[str], line: int) -> list[str]:
    """The comment that ends right above the line, from its `--` on; empty when there is none."""
    found: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].lstrip().removeprefix("#").strip())
        if found[0].startswith("-- "):
            return found
    return []
