"""Page patterns, as funnels, joins and page categories write them, and the path of a page that they are matched with.

A pattern is compared with the whole path: `/checkout` is only that page, `*` stands for any run of characters
(also none, also `/`), `{key}` for one path segment, which it captures. A trailing slash on the page does not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit


def split_page(page: str) -> tuple[str | None, str, str]:
    """(host or None, path, query) of a page, given as a URL or a path. Never raises: what cannot be parsed is its own path."""
    if page.startswith("/") and not page.startswith("//"):
        path, _, rest = page.partition("#")[0].partition("?")
        return None, _tidy(path), rest
    try:
        parts = urlsplit(page)
        host = parts.hostname
    except ValueError:
        return None, page, ""
    if not parts.netloc and not page.startswith("/"):
        return None, page, ""  # an app's screen name, not a URL
    return host, _tidy(parts.path), parts.query


def _tidy(path: str) -> str:
    return path.rstrip("/") or "/"


def matcher(pattern: str) -> Callable[[str], bool]:
    """A predicate on paths."""
    match = re.compile(_expression(pattern)).fullmatch
    return lambda path: match(path) is not None


def key_finder(pattern: str) -> Callable[[str], str | None]:
    """A function from a path to what `{key}` matched, None where the pattern does not match."""
    match = re.compile(_expression(pattern)).fullmatch

    def find(path: str) -> str | None:
        found = match(path)
        return None if found is None else found["key"]

    return find


def _expression(pattern: str) -> str:
    tidy = pattern if pattern == "/" else pattern.rstrip("/") or "/"
    parts = re.split(r"(\*|\{key\})", tidy)
    return "".join(
        "(?s:.*)" if part == "*" else r"(?P<key>[^/]+)" if part == "{key}" else re.escape(part) for part in parts
    )
