"""Records that are nearly valid: valid ones, with members that are another's."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from hypothesis import strategies as st

from support.hostile import damaged, json_of, names, nested, scalars, texts

NUMBERS = st.sampled_from([-1, 0, 1, 2**31, 2**53, 2**62, 2**63 - 1, 2**63, -(2**63), 10**30, 0.5])


def members_of(valid: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The object with up to three members replaced by anything, left out, or added."""
    one = st.tuples(st.sampled_from(sorted(valid)) | names, texts | NUMBERS | scalars | nested)
    gone = st.sampled_from(["", "", *valid])
    return st.builds(
        lambda changes, name: {n: v for n, v in (valid | dict(changes)).items() if n != name},
        st.lists(one, max_size=3),
        gone,
    )


def records_like(valid: object) -> st.SearchStrategy[bytes]:
    """The JSON of such objects, of it damaged, and bytes of no kind."""
    written = members_of(msgspec.to_builtins(valid)).map(json_of)
    return written | damaged(written) | st.binary(max_size=60)


def arrays_like(valid: object) -> st.SearchStrategy[bytes]:
    """MessagePack of what is written as arrays in arrays, with one of the places within another's."""
    whole = msgspec.msgpack.decode(msgspec.msgpack.encode(valid))
    places = list(places_in(whole))
    small = NUMBERS.filter(lambda number: -(2**63) <= number < 2**64) | st.none() | st.booleans()
    odd = (
        small
        | st.binary(max_size=20)
        | st.text(max_size=5)
        | st.sampled_from(["x" * 300, "é" * 200, [], {}, [[]], [[1, 2]], [[2**63, -1]]])
    )
    written = st.lists(st.tuples(st.sampled_from(places), odd), min_size=1, max_size=2).map(
        lambda changes: msgspec.msgpack.encode(with_changes(whole, changes))
    )
    return written | damaged(written) | damaged(st.just(msgspec.msgpack.encode(whole))) | st.binary(max_size=40)


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in it, but of itself."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from places_in(each, (*path, name))


def with_changes(whole: Any, changes: Iterable[tuple[tuple[Any, ...], Any]]) -> Any:
    """A copy with other values at some places."""
    made = copy.deepcopy(whole)
    for path, value in changes:
        place = made
        try:
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value
        except (TypeError, IndexError, KeyError):  # the change before has taken the place away
            continue
    return made
