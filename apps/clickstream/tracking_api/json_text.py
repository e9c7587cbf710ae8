"""JSON as clients really send it, read strictly except where strictness would lose somebody's event for nothing.

Two repairs: a byte order mark is cut, and a lone surrogate escape (what `JSON.stringify` makes of an emoji cut in
half) becomes U+FFFD. Everything else that is not JSON (NaN, comments, trailing commas, other encodings) is refused.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from clickstream.tracking_api.rejections import Code, Rejection

_BOM: Final = b"\xef\xbb\xbf"
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
# One escape at a time, so that the `\\` of `\\ud83d` is not taken for the start of an escape. Only group 1 is lone.
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_POSITION: Final = re.compile(r"\(byte (\d+)\)")
_decoder: Final = msgspec.json.Decoder()


def without_bom(text: bytes) -> bytes:
    """The text without a leading byte order mark."""
    return text[3:] if text.startswith(_BOM) else text


def repaired(text: bytes) -> bytes:
    r"""The text with each lone surrogate escape replaced by `\ufffd`; as long as before, byte for byte."""
    if _SURROGATE.search(text) is None:
        return text
    return _ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], text)


def parse(text: bytes) -> Any | Rejection:
    """The value of a (repaired) JSON text. Numbers beyond a float are refused; large integers stay exact."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return fault(error)


def fault(error: msgspec.DecodeError | UnicodeDecodeError | RecursionError) -> Rejection:
    """What a parser's error means for the client. The parser's own words are not passed on."""
    if isinstance(error, RecursionError):
        return Rejection(Code.TOO_DEEP, "$", "objects and arrays are nested too deeply")
    if isinstance(error, msgspec.ValidationError):
        return Rejection(Code.NUMBER_OUT_OF_RANGE, "$", "a number is too large to be represented")
    if isinstance(error, UnicodeDecodeError):
        return Rejection(Code.MALFORMED_JSON, "$", "the text is not UTF-8")
    found = _POSITION.search(str(error))
    where = f" at byte {found[1]}" if found else ": it ends too early"
    return Rejection(Code.MALFORMED_JSON, "$", f"not JSON{where}")
