"""An event in a query string: what an `<img>` can send where no script runs (mail, AMP, `<noscript>`).

The parameters are the event's fields, all of them strings; `properties` is a JSON object; further parameters become
properties. The page must be named: the Referer header is not looked at. The original bytes of a refused pixel are its
query string without the write key.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from clickstream.contracts.clicks import Click
from clickstream.tracking_api import limits
from clickstream.tracking_api.events import KNOWN_FIELDS, TOO_LARGE, Circumstances, judge
from clickstream.tracking_api.json_text import parse, repaired
from clickstream.tracking_api.rejections import Code, Rejection

_KEY: Final = re.compile(rb"(?:^|&)key(?:=([^&]*))?(?=&|$)")
_MAX_FIELDS: Final = limits.PROPERTIES + len(KNOWN_FIELDS)

GIF: Final = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
"""A transparent image of one pixel."""

_ENCODING = Rejection(Code.MALFORMED_QUERY, "$", "the query string is not UTF-8")
_MANY = Rejection(
    Code.TOO_MANY_PROPERTIES,
    "$.properties",
    f"at most {limits.PROPERTIES} properties, parameters without a meaning included",
)
_REPEATED = Rejection(Code.REPEATED_FIELD, "$", "a parameter is given more than once")


def write_key_in(query: bytes) -> bytes | None:
    """The first `key` parameter of a query string, decoded."""
    found = _KEY.search(query)
    return None if found is None else unquote_to_bytes((found[1] or b"").replace(b"+", b" "))


def without_key(query: bytes) -> bytes:
    """The query string without its write key, otherwise unchanged."""
    return b"&".join(pair for pair in query.split(b"&") if not pair.startswith(b"key="))


def read_pixel(query: bytes, circumstances: Circumstances) -> Click | Rejection:
    """The click in a query string (`query` without the write key)."""
    if len(query) > limits.EVENT_BYTES:
        return TOO_LARGE
    event: dict[str, Any] = {}
    for pair in query.split(b"&"):
        if not pair:
            continue
        raw_name, _, raw_value = pair.partition(b"=")
        try:
            name, value = (unquote_to_bytes(part.replace(b"+", b" ")).decode() for part in (raw_name, raw_value))
        except UnicodeDecodeError:
            return _ENCODING
        if name in event:
            return _REPEATED
        if len(event) == _MAX_FIELDS:
            return _MANY
        event[name] = value
    properties = event.get("properties")
    if properties is not None:
        parsed = parse(repaired(properties.encode()))
        event["properties"] = properties if isinstance(parsed, Rejection) else parsed
    return judge(event, circumstances)
