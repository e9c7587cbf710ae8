"""The properties of an event: those that the client gave, and its fields that the contract does not know.

Nothing is dropped. An unknown field that holds an object or array is stored as its compact JSON text; one whose name is
taken by a given property gets `_` in front until the name is free.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec

from clickstream.contracts.clicks import Scalar
from clickstream.contracts.text import without_nul
from clickstream.contracts.urls import without_credentials
from clickstream.tracking_api import limits
from clickstream.tracking_api.rejections import Code, RejectionError
from clickstream.tracking_api.validation.fields import exceeds
from clickstream.tracking_api.validation.json_text import deeper, without_nul_escapes

_GIVEN: Final = "$.properties.*"
_UNKNOWN: Final = "$.*"
_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**63 - 1


def read_properties(given: object, unknown: Collection[tuple[str, Any]]) -> dict[str, Scalar]:
    """The flat map of an event: its `properties`, as they were given, and its unknown fields. Raises RejectionError."""
    if given is None:
        given = {}
    elif type(given) is not dict:
        raise RejectionError(Code.WRONG_TYPE, "$.properties", "must be an object")
    if len(given) + len(unknown) > limits.PROPERTIES:  # before any of them is read
        message = f"at most {limits.PROPERTIES} properties, unknown fields included"
        raise RejectionError(Code.TOO_MANY_PROPERTIES, "$.properties", message)
    properties: dict[str, Scalar] = {}
    names = _FreeNames(properties)
    for name, value in given.items():
        if isinstance(value, dict | list):
            raise RejectionError(Code.NOT_FLAT, _GIVEN, "a property is a string, a number, true, false or null")
        properties[names.free(_name(name, _GIVEN), _GIVEN)] = _scalar(value, _GIVEN)
    for name, value in unknown:
        properties[names.free(_name(name, _UNKNOWN), _UNKNOWN)] = _scalar(flat(value, _UNKNOWN), _UNKNOWN)
    return properties


def flat(value: Any, path: str) -> Any:
    """The value itself, or the compact JSON text of an object or array. Raises RejectionError."""
    if not isinstance(value, dict | list):
        return value
    text = msgspec.json.encode(value)
    if deeper(text, limits.DEPTH - 1):
        raise RejectionError(Code.TOO_DEEP, path, f"an event nests at most {limits.DEPTH} objects and arrays")
    return without_nul_escapes(text).decode()


class _FreeNames:
    """Finds names that are not taken.

    Names that were found taken are skipped the next time, so that names made to collide cost no more than others.
    """

    __slots__ = ("_next", "_taken")

    def __init__(self, taken: dict[str, Scalar]) -> None:
        self._taken = taken
        self._next: dict[str, str] = {}

    def free(self, name: str, path: str) -> str:
        if name not in self._taken:
            return name
        passed = []
        while name in self._taken:
            passed.append(name)
            name = self._next.get(name) or f"_{name}"
        for each in passed:
            self._next[each] = name
        return _name(name, path)


def _name(name: str, path: str) -> str:
    if not name:
        raise RejectionError(Code.EMPTY, path, "a property's name must not be empty")
    name = without_credentials(without_nul(name))
    if exceeds(name, limits.PROPERTY_NAME_BYTES):
        raise RejectionError(Code.TOO_LONG, path, f"a property's name has at most {limits.PROPERTY_NAME_BYTES} bytes")
    return name


def _scalar(value: Scalar, path: str) -> Scalar:
    if isinstance(value, str):
        value = without_credentials(without_nul(value))
        if exceeds(value, limits.STRING_BYTES):
            raise RejectionError(Code.TOO_LONG, path, f"a property's value has at most {limits.STRING_BYTES} bytes")
    elif type(value) is int and not _MIN_INT <= value <= _MAX_INT:
        raise RejectionError(Code.INTEGER_OUT_OF_RANGE, path, "an integer must fit into 64 bits, signed")
    return value
