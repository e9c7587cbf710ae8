"""Whether a live object still is what was applied: every field that we sent is there with the value that we sent.

Fields that others own (defaults, `replicas`, what controllers write) are not compared: sending less than there is is
the point of server-side apply. In lists whose items have a name, items of others are not compared either.
"""

from __future__ import annotations

import re
from typing import Any, Final

from clickstream_operator.quantities import same

_QUANTITIES: Final = re.compile(r"\.(requests|limits)\.[^.]+$|\.sizeLimit$")
_MERGE_KEYS: Final = ("name", "containerPort", "mountPath", "uid", "topologyKey")


def differs(wanted: Any, live: Any, path: str = "") -> str | None:
    """The path of the first difference, None when there is none."""
    if isinstance(wanted, dict):
        return _dict_differs(wanted, live, path)
    if isinstance(wanted, list):
        return _list_differs(wanted, live, path)
    agrees = wanted == live or (_QUANTITIES.search(path) is not None and same(wanted, live))
    return None if agrees else path


def part_of(wanted: Any, live: Any) -> Any:
    """Of a live object what stands in the fields that `wanted` has."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        return {name: part_of(value, live[name]) for name, value in wanted.items() if name in live}
    if isinstance(wanted, list) and isinstance(live, list) and (key := _merge_key(wanted)) is not None:
        there = {item.get(key): item for item in live if isinstance(item, dict)}
        return [part_of(item, there.get(item[key])) for item in wanted]
    return live


def _dict_differs(wanted: dict[str, Any], live: Any, path: str) -> str | None:
    if not isinstance(live, dict):
        return path or "."
    for name, value in wanted.items():
        where = f"{path}.{name}"
        # The API server leaves empty members out.
        found = differs(value, live[name], where) if name in live else None if _is_empty(value) else where
        if found is not None:
            return found
    return None


def _list_differs(wanted: list[Any], live: Any, path: str) -> str | None:
    if not isinstance(live, list):
        return path
    key = _merge_key(wanted)
    if key is None:
        if len(wanted) != len(live):
            return path
        pairs = [(f"[{number}]", *pair) for number, pair in enumerate(zip(wanted, live, strict=True))]
    else:
        there = {item.get(key): item for item in live if isinstance(item, dict)}
        pairs = [(f"[{item[key]}]", item, there.get(item[key])) for item in wanted]
    for label, item, other in pairs:
        found = differs(item, other, f"{path}{label}")
        if found is not None:
            return found
    return None


def _merge_key(items: list[Any]) -> str | None:
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    for key in _MERGE_KEYS:
        values = [item.get(key) for item in items]
        if None not in values and len(set(values)) == len(values):
            return key
    return None


def _is_empty(value: Any) -> bool:
    return value is None or value in ({}, [], "", 0) or value is False
