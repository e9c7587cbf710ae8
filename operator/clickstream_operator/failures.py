"""What may be told of an exception: its type and the places in the code that it came through, never its message.

A message quotes the value that it is about, and that value may be a Secret's.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Iterator
from typing import Final

_OURS: Final = ("clickstream_operator", "clickstream")
_MOST_FRAMES: Final = 20
_MOST: Final = 60


class TellableError(Exception):
    """An exception whose message is made for people and holds nothing of a Secret."""


def describe(error: BaseException) -> str:
    """`ValueError at clickstream_operator.desired.pods:61 (pod_template)`: the innermost place in our own code."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(describe(each) for each in error.exceptions))
    if isinstance(error, TellableError):
        return str(error)
    frames = list(_walk(error))
    ours = [frame for frame in frames if frame.partition(".")[0] in _OURS]
    where = (ours or frames)[-1:]
    return f"{type(error).__name__} at {where[0]}" if where else type(error).__name__


def trace(error: BaseException) -> list[str]:
    """The exception, and what it was raised from: the type of each, then its places, the innermost last."""
    return [line for line, _ in zip(_trace(error, set()), range(_MOST), strict=False)]


def _trace(error: BaseException, seen: set[int]) -> Iterator[str]:
    if id(error) in seen:
        return
    seen.add(id(error))
    yield type(error).__name__
    yield from _walk(error)
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _trace(each, seen)
    source = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if source is not None:
        yield from _trace(source, seen)


def _walk(error: BaseException) -> Iterator[str]:
    """Of a long way (a recursion) its end."""
    frames = deque(traceback.walk_tb(error.__traceback__), _MOST_FRAMES)
    for frame, line in frames:
        yield f"{frame.f_globals.get('__name__', '?')}:{line} ({frame.f_code.co_name})"
