"""The properties of an event: those that the client gave, and its fields that the contract does not know.

Nothing is dropped. An unknown field that holds an object or array is kept as its compact JSON text; one whose name is
taken by a given property gets `_` in front until the name is free.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from clickstream.contracts.clicks import Scalar
from clickstream.contracts.urls import without_credentials
from clickstream.tracking_api import limits
from clickstream.tracking_api.fields import RefusedError, property_name, scalar
from clickstream.tracking_api.json_text import deeper, without_nul_escapes
from clickstream.tracking_api.rejections import Code

GIVEN: Final = "$.properties.*"
UNKNOWN: Final = "$.*"
_NOT_FLAT: Final = "a property is a string, a number, true, false or null"


def read_properties(event: dict[str, Any], unknown: list[str]) -> dict[str, Scalar]:
    """The flat map of an event: `properties` and the event's fields named in `unknown`. Raises RefusedError."""
    given = event.get("properties")
    if given is None:
        given = {}
    elif type(given) is not dict:
        raise RefusedError(Code.WRONG_TYPE, "$.properties", "must be an object")
    if len(given) + len(unknown) > limits.PROPERTIES:  # before any of them is looked at
        message = f"at most {limits.PROPERTIES} properties, unknown fields included"
        raise RefusedError(Code.TOO_MANY_PROPERTIES, "$.properties", message)
    kept: dict[str, Scalar] = {}
    names = _FreeNames(kept)
    for name, value in given.items():
        if isinstance(value, dict | list):
            raise RefusedError(Code.NOT_FLAT, GIVEN, _NOT_FLAT)
        kept[names.free(property_name(name, GIVEN), GIVEN)] = scalar(value, GIVEN)
    for name in unknown:
        kept[names.free(property_name(name, UNKNOWN), UNKNOWN)] = _flat(event[name])
    return kept


class _FreeNames:
    """Finds names that are not taken.

    What was found taken once is skipped the next time, so that names which are made to collide cost no more than others.
    """

    __slots__ = ("_onward", "_taken")

    def __init__(self, taken: dict[str, Scalar]) -> None:
        self._taken = taken
        self._onward: dict[str, str] = {}

    def free(self, name: str, path: str) -> str:
        if name not in self._taken:
            return name
        passed = []
        while name in self._taken:
            passed.append(name)
            name = self._onward.get(name) or f"_{name}"
        for each in passed:
            self._onward[each] = name
        return property_name(name, path)


def _flat(value: Any) -> Scalar:
    if not isinstance(value, dict | list):
        return scalar(value, UNKNOWN)
    text = msgspec.json.encode(value)
    if deeper(text, limits.DEPTH - 1):
        raise RefusedError(Code.TOO_DEEP, UNKNOWN, f"an event nests at most {limits.DEPTH} objects and arrays")
    return scalar(without_credentials(without_nul_escapes(text).decode()), UNKNOWN)
