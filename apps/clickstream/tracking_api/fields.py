"""Readers of single fields of a parsed event: type, length, emptiness, NUL characters, credentials in URLs, times.

A reader raises `RefusedError`, which carries the rejection as data; it never leaves `events` and `envelope`, whose
callers see `… | Rejection`. It is there so that a reader can stop its caller without an `if` after every field.
"""

from __future__ import annotations

from typing import Any, Final

from clickstream.contracts.clicks import Scalar
from clickstream.contracts.times import parse_rfc3339
from clickstream.contracts.urls import without_credentials
from clickstream.tracking_api import limits
from clickstream.tracking_api.long_urls import longer, shortened
from clickstream.tracking_api.rejections import Code, Rejection

_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**63 - 1


class RefusedError(Exception):
    """A field cannot be taken."""

    def __init__(self, code: Code, path: str, message: str) -> None:
        super().__init__(message)
        self.rejection = Rejection(code, path, message)


def required_id(event: dict[str, Any], name: str, most: int) -> str:
    """A non-empty string of at most so many bytes, kept as it is: no two ids may become one."""
    return _given(event, name, _short(_text(event, name), name, most))


def required_url(event: dict[str, Any], name: str, most: int) -> str:
    """A URL, or whatever else was given for one, as `optional_url` reads it; not empty."""
    return _given(event, name, optional_url(event, name, most))


def optional_url(event: dict[str, Any], name: str, most: int) -> str | None:
    """A string of at most so many bytes, a long query cut; None when it is absent, null or empty."""
    text = uncut_text(event, name)
    return _short(text if text is None else shortened(text, most), name, most)


def optional_text(event: dict[str, Any], name: str, most: int) -> str | None:
    """A string of at most so many bytes; None when it is absent, null or empty."""
    return _short(uncut_text(event, name), name, most)


def uncut_text(event: dict[str, Any], name: str) -> str | None:
    """A string of any length; None when it is absent, null or empty."""
    text = _text(event, name)
    return text if text is None else without_credentials(text)


def optional_time(event: dict[str, Any], name: str) -> int | None:
    """Milliseconds since the epoch of an RFC 3339 date-time; None when it is absent or null."""
    text = event.get(name)
    if text is None:
        return None
    if type(text) is not str:
        raise RefusedError(Code.WRONG_TYPE, f"$.{name}", "must be a string: an RFC 3339 date-time with an offset")
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise RefusedError(Code.BAD_TIMESTAMP, f"$.{name}", str(error)) from None


def required_time(event: dict[str, Any], name: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 date-time."""
    time = optional_time(event, name)
    if time is None:
        raise RefusedError(Code.MISSING_FIELD, f"$.{name}", "this field must be given")
    return time


def property_name(name: str, path: str) -> str:
    """A non-empty name of at most 256 bytes."""
    if not name:
        raise RefusedError(Code.EMPTY, path, "a property's name must not be empty")
    name = without_credentials(without_nul(name))
    if longer(name, limits.PROPERTY_NAME_BYTES):
        raise RefusedError(Code.TOO_LONG, path, f"a property's name has at most {limits.PROPERTY_NAME_BYTES} bytes")
    return name


def scalar(value: Scalar, path: str) -> Scalar:
    """A property's value, a number of which fits into 64 bits."""
    if isinstance(value, str):
        value = without_credentials(without_nul(value))
        if longer(value, limits.STRING_BYTES):
            raise RefusedError(Code.TOO_LONG, path, f"a property's value has at most {limits.STRING_BYTES} bytes")
    elif type(value) is int and not _MIN_INT <= value <= _MAX_INT:
        raise RefusedError(Code.INTEGER_OUT_OF_RANGE, path, "an integer must fit into 64 bits, signed")
    return value


def _text(event: dict[str, Any], name: str) -> str | None:
    text = event.get(name)
    if text is None:
        return None
    if type(text) is not str:
        raise RefusedError(Code.WRONG_TYPE, f"$.{name}", "must be a string")
    return without_nul(text) or None


def _short(text: str | None, name: str, most: int) -> str | None:
    if text is not None and longer(text, most):
        raise RefusedError(Code.TOO_LONG, f"$.{name}", f"at most {most} bytes")
    return text


def _given(event: dict[str, Any], name: str, text: str | None) -> str:
    if text is not None:
        return text
    if event.get(name) is None:
        raise RefusedError(Code.MISSING_FIELD, f"$.{name}", "this field must be given")
    raise RefusedError(Code.EMPTY, f"$.{name}", "this field must not be empty")


def without_nul(text: str) -> str:
    """The text with U+0000 replaced by U+FFFD: PostgreSQL cannot store it, and both stores must hold the same."""
    return text.replace("\0", "\ufffd") if "\0" in text else text
