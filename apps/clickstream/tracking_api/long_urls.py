"""A URL that is too long loses parameters of its query rather than its click: a long query is nobody's fault on the page.

The path is never cut, since a page that is cut is another page. The fragment goes first, then the query's parameters,
whole ones: the campaign's (`utm_…`) are kept as long as they fit, then the others from the left.
"""

from __future__ import annotations


def longer(text: str, most: int) -> bool:
    """Whether a text has more than so many bytes of UTF-8."""
    return len(text) > most or (not text.isascii() and len(text.encode()) > most)


def shortened(url: str, most: int) -> str:
    """The URL in at most so many bytes if its path allows that. Parameters that are kept stay in their order."""
    if not longer(url, most):
        return url
    path, _, query = url.partition("#")[0].partition("?")
    parameters = query.split("&")
    sizes = [len(parameter.encode()) + 1 for parameter in parameters]  # `?` or `&`
    left = most - len(path.encode())
    kept = set()
    for campaign in (True, False):
        for number, parameter in enumerate(parameters):
            if parameter.startswith("utm_") is campaign and sizes[number] <= left:
                kept.add(number)
                left -= sizes[number]
    query = "&".join(parameters[number] for number in sorted(kept))
    return f"{path}?{query}" if query else path
