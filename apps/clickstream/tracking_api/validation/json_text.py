"""JSON as clients really send it: strict, but for two repairs without which events would be lost for nothing.

A byte order mark is cut, and a lone surrogate escape (what `JSON.stringify` makes of an emoji cut in half) becomes
U+0000. Readers of fields treat both alike: they put U+FFFD in its place, or refuse it in an id. Everything else that is
not JSON (NaN, comments, trailing commas, other encodings) is rejected.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from clickstream.tracking_api import rejections
from clickstream.tracking_api.rejections import Code, Rejection

_BOM: Final = b"\xef\xbb\xbf"
# High ones that no low one follows, low ones that follow no high one; for texts in which `\\` is masked.
_LONE: Final = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_POSITION: Final = re.compile(r"\(byte (\d+)\)")
_decoder: Final = msgspec.json.Decoder()


def without_bom(text: bytes) -> bytes:
    """The text without a leading byte order mark."""
    return text[3:] if text.startswith(_BOM) else text


def repaired(text: bytes) -> bytes:
    r"""The text with each lone surrogate escape replaced by `\u0000`; as long as before, byte for byte."""
    if b"\\ud" not in text and b"\\uD" not in text:
        return text
    masked = _masked(text)
    return text if masked is None else _unmasked(_LONE.sub(rb"\\u0000", masked))


def without_surrogates(text: bytes) -> bytes:
    """The text with another character in the place of each surrogate escape, as long as before.

    For finding the positions of values, which are the same; not for reading them.
    """
    if b"\\ud" not in text and b"\\uD" not in text:
        return text
    masked = _masked(text)
    return text if masked is None else _unmasked(masked.replace(rb"\ud", rb"\u0").replace(rb"\uD", rb"\u0"))


def deeper(text: bytes, levels: int) -> bool:
    """Whether a (well-formed) JSON text nests objects and arrays in more levels than these."""
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    outside = text.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2]
    brackets = b"".join(outside).translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(levels):
        brackets = brackets.replace(b"[]", b"")  # the innermost level
    return bool(brackets)


def without_nul_escapes(text: bytes) -> bytes:
    r"""The (well-formed) JSON text with U+FFFD in the place of each `\u0000`."""
    if rb"\u0000" not in text:
        return text
    masked = text.replace(rb"\\", b"\0\0")
    return _unmasked(masked.replace(rb"\u0000", b"\xef\xbf\xbd"))


def parse_json(text: bytes) -> Any | Rejection:
    """The value of a (repaired) JSON text. Numbers beyond a float are rejected; large integers stay exact."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return rejection_of(error)


def rejection_of(error: msgspec.DecodeError | UnicodeDecodeError | RecursionError) -> Rejection:
    """What a parser's error means for the client. The parser's own words are not passed on."""
    if isinstance(error, RecursionError):
        return rejections.TOO_DEEP
    if isinstance(error, msgspec.ValidationError):
        return rejections.NUMBER_OUT_OF_RANGE
    if isinstance(error, UnicodeDecodeError):
        return rejections.NOT_UTF8
    found = _POSITION.search(str(error))
    where = f" at byte {found[1]}" if found else ": it ends too early"
    return Rejection(Code.MALFORMED_JSON, "$", f"not JSON{where}")


def _masked(text: bytes) -> bytes | None:
    r"""The text with each `\\` replaced, so that every backslash left begins an escape; None if it cannot be JSON."""
    return None if b"\0" in text else text.replace(rb"\\", b"\0\0")


def _unmasked(text: bytes) -> bytes:
    return text.replace(b"\0\0", rb"\\")
