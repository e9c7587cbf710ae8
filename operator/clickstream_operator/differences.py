"""Whether a live object still is what was applied: every field that we sent is there with the value that we sent.

Fields that others own (defaults, `replicas`, what controllers write) are not looked at: sending less than there is is
the point of server-side apply. In lists whose items have a name, items of others are not looked at either.
"""

from __future__ import annotations

from typing import Any, Final

_MERGE_KEYS: Final = ("name", "containerPort", "mountPath", "uid", "topologyKey")


def differs(wanted: Any, live: Any, path: str = "") -> str | None:
    """The path of the first difference, None when there is none."""
    if isinstance(wanted, dict):
        if not isinstance(live, dict):
            return path or "."
        for name, value in wanted.items():
            if name not in live:
                if _is_empty(value):  # the API server leaves empty members out
                    continue
                return f"{path}.{name}"
            found = differs(value, live[name], f"{path}.{name}")
            if found is not None:
                return found
        return None
    if isinstance(wanted, list):
        return _list_differs(wanted, live, path)
    return None if wanted == live else path


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
