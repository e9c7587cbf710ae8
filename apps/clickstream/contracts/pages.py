"""Page patterns, as funnels, joins and page categories write them, and the path of a page that they are matched with.

A pattern is compared with the whole path: `/checkout` is only that page, `*` stands for any run of characters (also
none, also `/`), `{key}` for one path segment, which it captures. A trailing slash on the page does not count.

Paths are untrusted, so matching is linear in the path, whatever the pattern: a regular expression with several `*`
could backtrack exponentially. The positions where a part of the pattern can end are a set, the bits of one integer, and
each part advances the whole set at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit


def split_page(page: str) -> tuple[str | None, str, str]:
    """(host or None, path, query) of a page, given as a URL or a path.

    Never raises: what cannot be parsed is its own path.
    """
    if page.startswith("/") and not page.startswith("//"):
        path, _, rest = page.partition("#")[0].partition("?")
        return None, _tidy(path), rest
    try:
        parts = urlsplit(page)
        # Python leaves what follows a % as it is, where an IPv6 address has its zone.
        host = parts.hostname.lower() if parts.hostname else None
    except ValueError:
        return None, page, ""
    if not parts.netloc and not page.startswith("/"):
        return None, page, ""  # an app's screen name, not a URL
    return host, _tidy(parts.path), parts.query


def _tidy(path: str) -> str:
    return path.rstrip("/") or "/"


def matcher(pattern: str) -> Callable[[str], bool]:
    """A predicate on paths."""
    tokens = _tokens(pattern)
    head = tokens[0] if tokens[0] not in _WILD else ""
    tail = tokens[-1] if tokens[-1] not in _WILD else ""

    def matches(path: str) -> bool:
        # Most paths differ in their first characters.
        return path.startswith(head) and path.endswith(tail) and bool(_Places(path).after(tokens) >> len(path))

    return matches


def key_finder(pattern: str) -> Callable[[str], str | None]:
    """A function from a path to what `{key}` matched, None where the pattern does not match.

    Where several parts of a path match, it is the last one, and as much of it as possible. Raises ValueError for a
    pattern that has not exactly one `{key}`.
    """
    tokens = _tokens(pattern)
    if tokens.count(_KEY) != 1:
        msg = f"the page pattern {pattern!r} must have exactly one {{key}}"
        raise ValueError(msg)
    middle = tokens.index(_KEY)
    before, behind = tokens[:middle], tokens[middle + 1 :]
    head = before[0] if before and before[0] not in _WILD else ""
    tail = behind[-1] if behind and behind[-1] not in _WILD else ""

    def find(path: str) -> str | None:
        if not (path.startswith(head) and path.endswith(tail)):
            return None
        places = _Places(path)
        starts = places.after(before)
        ends = places.segment(starts) & places.ahead_of(behind)
        if not ends:
            return None
        end = ends.bit_length() - 1
        start = (starts & (1 << end) - 1).bit_length() - 1
        return path[start:end]

    return find


_ANY: Final = "*"
_KEY: Final = "{key}"
_WILD: Final = (_ANY, _KEY)


def _tokens(pattern: str) -> list[str]:
    """A pattern's literal pieces, `*` and `{key}`, in order; at least one."""
    tidy = pattern.rstrip("/") or "/"
    return [token for token in re.split(r"(\*|\{key\})", tidy) if token]


class _Places:
    """Sets of positions in one path, as integers: bit `n` is the position before character `n`, the highest the end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._all = (1 << len(path) + 1) - 1
        self._found: dict[str, int] = {}

    def after(self, tokens: Sequence[str]) -> int:
        """The places up to which the tokens match the path from its beginning."""
        places = 1
        for token in tokens:
            if token == _ANY:
                places = self._all & -(places & -places)
            elif token == _KEY:
                places = self.segment(places)
            else:
                places = (places & self._where(token)) << len(token)
            if not places:
                break
        return places

    def ahead_of(self, tokens: Sequence[str]) -> int:
        """The places from which the tokens (none of them `{key}`) match the path to its end."""
        places = 1 << len(self._path)
        for token in reversed(tokens):
            places = (1 << places.bit_length()) - 1 if token == _ANY else places >> len(token) & self._where(token)
        return places

    def segment(self, places: int) -> int:
        """The places that one or more characters other than `/` lead to."""
        inside = self._all >> 1 & ~self._where("/")
        first = (places & inside) << 1
        # An addition carries through all further characters of a segment at once.
        return ((first & inside) + inside ^ inside | first) & self._all if first else 0

    def _where(self, piece: str) -> int:
        """The places where a piece begins."""
        found = self._found.get(piece)
        if found is None:
            marks, path = bytearray(b"0") * (len(self._path) + 1), self._path
            place = path.find(piece)
            while place >= 0:
                marks[-1 - place] = _MARK
                place = path.find(piece, place + 1)
            found = self._found[piece] = int(marks, 2)
        return found


_MARK: Final = ord("1")
