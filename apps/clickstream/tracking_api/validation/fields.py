"""Readers of single fields of a parsed event: type, length, emptiness, NUL characters, credentials in URLs, times.

A reader raises `RejectionError`, so that it can stop its caller without an `if` after every field. A field that is
absent, null or (but for times) empty is missing. Lengths are bytes of UTF-8.
"""

from __future__ import annotations

from typing import Any

from clickstream.contracts.text import without_nul
from clickstream.contracts.times import parse_rfc3339
from clickstream.contracts.urls import without_credentials
from clickstream.tracking_api.rejections import Code, RejectionError


def required_id(event: dict[str, Any], name: str, max_bytes: int) -> str:
    """A non-empty string, unchanged, so that no two ids become one; a character that cannot be stored is refused."""
    text = event.get(name)
    if isinstance(text, str) and "\0" in text:
        raise RejectionError(Code.BAD_CHARACTER, f"$.{name}", "an id has neither U+0000 nor a lone surrogate")
    return _required(event, name, _bounded(_text(event, name), name, max_bytes))


def required_url(event: dict[str, Any], name: str, max_bytes: int) -> str:
    """A URL, or whatever else was given for one, as `optional_url` reads it; not empty."""
    return _required(event, name, optional_url(event, name, max_bytes))


def optional_url(event: dict[str, Any], name: str, max_bytes: int) -> str | None:
    """A string, shortened if it is a URL with a long query; None when it is missing."""
    text = text_of_any_length(event, name)
    return _bounded(text if text is None else shortened(text, max_bytes), name, max_bytes)


def optional_text(event: dict[str, Any], name: str, max_bytes: int) -> str | None:
    """A string; None when it is missing."""
    return _bounded(text_of_any_length(event, name), name, max_bytes)


def text_of_any_length(event: dict[str, Any], name: str) -> str | None:
    """A string; None when it is missing."""
    text = _text(event, name)
    return text if text is None else without_credentials(text)


def required_time(event: dict[str, Any], name: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 date-time."""
    time = optional_time(event, name)
    if time is None:
        raise RejectionError(Code.MISSING_FIELD, f"$.{name}", "this field must be given")
    return time


def optional_time(event: dict[str, Any], name: str) -> int | None:
    """Milliseconds since the epoch of an RFC 3339 date-time; None when it is missing."""
    text = event.get(name)
    if text is None:
        return None
    if type(text) is not str:
        raise RejectionError(Code.WRONG_TYPE, f"$.{name}", "must be a string: an RFC 3339 date-time with an offset")
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise RejectionError(Code.BAD_TIMESTAMP, f"$.{name}", str(error)) from None


def exceeds(text: str, max_bytes: int) -> bool:
    """Whether a text is longer than this in UTF-8."""
    return len(text) > max_bytes or (not text.isascii() and len(text.encode()) > max_bytes)


def shortened(url: str, max_bytes: int) -> str:
    """The URL in at most `max_bytes` if its path allows that.

    A URL that is too long loses parameters of its query rather than its click. The path is never cut, since a page that
    is cut is another page. The fragment goes first, then the query's parameters, whole ones: the campaign's (`utm_…`)
    are kept as long as they fit, then the others from the left. Parameters that are kept stay in their order.
    """
    if not exceeds(url, max_bytes):
        return url
    path, _, query = url.partition("#")[0].partition("?")
    parameters = query.split("&")
    sizes = [len(parameter.encode()) + 1 for parameter in parameters]  # `?` or `&`
    left = max_bytes - len(path.encode())
    kept = set()
    for campaign in (True, False):
        for number, parameter in enumerate(parameters):
            if parameter.startswith("utm_") is campaign and sizes[number] <= left:
                kept.add(number)
                left -= sizes[number]
    query = "&".join(parameters[number] for number in sorted(kept))
    return f"{path}?{query}" if query else path


def _text(event: dict[str, Any], name: str) -> str | None:
    text = event.get(name)
    if text is None:
        return None
    if type(text) is not str:
        raise RejectionError(Code.WRONG_TYPE, f"$.{name}", "must be a string")
    return without_nul(text) or None


def _bounded(text: str | None, name: str, max_bytes: int) -> str | None:
    if text is not None and exceeds(text, max_bytes):
        raise RejectionError(Code.TOO_LONG, f"$.{name}", f"at most {max_bytes} bytes")
    return text


def _required(event: dict[str, Any], name: str, text: str | None) -> str:
    if text is not None:
        return text
    if event.get(name) is None:
        raise RejectionError(Code.MISSING_FIELD, f"$.{name}", "this field must be given")
    raise RejectionError(Code.EMPTY, f"$.{name}", "this field must not be empty")
