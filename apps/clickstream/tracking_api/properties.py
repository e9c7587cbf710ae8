"""The properties of an event: those that the client gave, and its fields that the contract does not know.

Nothing is dropped. An unknown field that holds an object or array is kept as its compact JSON text; one whose name is
taken by a given property gets `_` in front until the name is free.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from clickstream.contracts.clicks import Scalar
from clickstream.tracking_api import limits
from clickstream.tracking_api.fields import RefusedError, property_name, scalar, without_nul
from clickstream.tracking_api.rejections import Code

GIVEN: Final = "$.properties.*"
UNKNOWN: Final = "$.*"


def read_properties(event: dict[str, Any], unknown: Iterable[str]) -> dict[str, Scalar]:
    """The flat map of an event: `properties` and the event's fields named in `unknown`. Raises RefusedError."""
    given = event.get("properties")
    if given is None:
        given = {}
    elif type(given) is not dict:
        raise RefusedError(Code.WRONG_TYPE, "$.properties", "must be an object")
    kept: dict[str, Scalar] = {}
    for name, value in given.items():
        if isinstance(value, dict | list):
            raise RefusedError(Code.NOT_FLAT, GIVEN, "a property is a string, a number, true, false or null")
        _keep(kept, name, scalar(value, GIVEN), GIVEN)
    for name in unknown:
        _keep(kept, name, scalar(_flat(event[name]), UNKNOWN), UNKNOWN)
    if len(kept) > limits.PROPERTIES:
        message = f"at most {limits.PROPERTIES} properties, unknown fields included"
        raise RefusedError(Code.TOO_MANY_PROPERTIES, "$.properties", message)
    return kept


def _keep(kept: dict[str, Scalar], name: str, value: Scalar, path: str) -> None:
    name = property_name(name, path)
    while name in kept:
        name = property_name(f"_{name}", path)
    kept[name] = value


def _flat(value: Any) -> Scalar:
    if not isinstance(value, dict | list):
        return value  # type: ignore[no-any-return]
    return msgspec.json.encode(_cleaned(value, limits.DEPTH - 1)).decode()


def _cleaned(value: Any, levels: int) -> Any:
    """A value without NUL characters in it, at most so many levels deep."""
    if isinstance(value, str):
        return without_nul(value)
    if not isinstance(value, dict | list):
        return value
    if levels == 0:
        raise RefusedError(Code.TOO_DEEP, UNKNOWN, f"an event nests at most {limits.DEPTH} objects and arrays")
    if isinstance(value, list):
        return [_cleaned(item, levels - 1) for item in value]
    return {without_nul(name): _cleaned(item, levels - 1) for name, item in value.items()}
