"""Malformed and borderline events: strategies for their fields, for their JSON and for whole requests.

A field is good more often than not, so that most events are accepted and the stores see the strange ones. Texts are
written by `json_of`, which can say what Python's own encoder never would: two members of one name, numbers beyond every
type, lone surrogates.
"""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from clickstream.contracts.times import MAX_MS, iso_time


@dataclass(frozen=True)
class Raw:
    """A piece of JSON as it is."""

    text: str


@dataclass(frozen=True)
class Members:
    """An object whose names need not differ."""

    pairs: tuple[tuple[str, Any], ...]


def json_of(value: Any, *, escaped: bool = True) -> bytes:
    """The value as JSON; characters beyond ASCII as escapes or, but for lone surrogates, as they are."""
    return _text_of(value, escaped).encode()


def _text_of(value: Any, escaped: bool) -> str:
    match value:
        case Raw(text):
            return text
        case dict():
            return _text_of(Members(tuple(value.items())), escaped)
        case Members(pairs):
            return "{" + ",".join(f"{_text_of(k, escaped)}:{_text_of(v, escaped)}" for k, v in pairs) + "}"
        case list():
            return "[" + ",".join(_text_of(each, escaped) for each in value) + "]"
        case str() if not escaped and not any("\ud800" <= c <= "\udfff" for c in value):
            return json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def edges(most: int, before: str = "") -> list[str]:
    """Texts of about `most` bytes: one less, as many, one and four more, of characters of one to four bytes."""
    chars = ["a", "é", "漢", "😀", '"', "\\", "\x01"]
    return [
        before + char * ((most + over - len(before)) // len(char.encode())) for char in chars for over in (-1, 0, 1, 4)
    ]


def of_bytes(most: int, before: str = "") -> st.SearchStrategy[str]:
    return st.sampled_from(edges(most, before))


def incompressible(most: int) -> st.SearchStrategy[str]:
    """Texts of so many letters that no store can pack."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return st.builds(
        lambda seed, size: "".join(random.Random(seed).choices(letters, k=size)),
        st.integers(0, 2**32),
        st.sampled_from([most // 2, most - 1, most]),
    )


STRANGE = [
    "", " ", "\0", "a\0b", "\ud83d", "x\udc00y", "\ude00\ud83d", "\ud83d\ud83d\ude00", "😀", "\\.", "\n\\.\n", '"',
    "\\",
    "\\N", "null", "\r\n", "\u2028", "\uffff", "\U0010ffff", "\ufeff", "\x1b[31m", "\x7f", "\u202e", "e\u0301", "%00",
    "<script>alert(1)</script>", "'; DROP TABLE clicks;--", "__proto__", "_id",
    "_source", "a.b", ".", "a..b", "..", "*",
    "NaN", "1e400", "{}", "-1", "https://user:pw@host/", "\\u0000", "\\ud800",
]  # fmt: skip
texts = (
    st.text(max_size=16)
    | st.text(st.characters(exclude_categories=()), max_size=6)  # lone surrogates, too
    | st.sampled_from(STRANGE)
)
urls = st.builds(
    str.__add__,
    st.sampled_from(
        ["/", "https://shop.example/", "http://[", "//", "android-app://", "/?utm_source=", "/?utm_medium=",
         "/products/", "HTTP://x@y:z/",
         "/?gclid=", "https://shop.example:99999/", "javascript:", "/p?a={b}&c=[d]^`", "/%", "/#/"]
    ),
    texts,
)  # fmt: skip
agents = st.lists(
    st.sampled_from(
        ["Mozilla/5.0", "(X11; Linux x86_64)", "Firefox/140.0", "(compatible; Googlebot/2.1; +http://x)", "curl/8",
         "Bot",
         "HeadlessChrome/113", "(iPad; CPU OS 13_7 like Mac OS X)", "Android 10; K", ";", "(", ")", "+"]
    )
    | texts,
    max_size=5,
).map(" ".join)  # fmt: skip
addresses = st.ip_addresses().map(str) | st.sampled_from(
    ["81.2.69.142:55220", "[2001:218::1]:8080", '"[2001:218::1]"', "::ffff:81.2.69.142", "fe80::1%eth0", "999.1.1.1",
     "2002:cb00:71c8::1", "unknown", "_hidden", "0.0.0.0", "255.255.255.255", "::"]
)  # fmt: skip

DAY = 86_400_000


def times(now: int) -> st.SearchStrategy[Any]:
    """Times around now, of any year, and invalid ones. Never within an hour of where a day is no longer believed."""
    near = st.integers(-20 * DAY, DAY).map(lambda shift: iso_time(now + shift))
    far = st.integers(0, MAX_MS).filter(lambda ms: all(abs(ms - now + at * DAY) > 3_600_000 for at in (30, -2)))
    return (
        near
        | near
        | far.map(iso_time)
        | st.sampled_from(
            ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "2026-01-31T08:30:60Z",
             "2026-01-31t08:30:00.123456789z",
             "2026-01-31 08:30:00+23:59", "1970-01-01T00:00:00+00:01", "0001-01-01T00:00:00+14:00",
             "2026-02-30T00:00:00Z",
             "2026-01-31T08:30:00", "20260131T083000Z", "yesterday", "", 1_770_112_800, 1.5,
             True, None, [], Raw("1e400")]
        )
    )  # fmt: skip


numbers = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([2**53 + 1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, 0, -1])
    | st.sampled_from(
        ["1e400", "-1e9999", "1e-400", "-0", "-0.0", "1E+2", "0.1000000000000000055511151231257827", "9" * 400, "1e308",
         "123456789012345678.5", "5e-324", "0.4e006699999999999999999999999999999999"]
    ).map(Raw)
)  # fmt: skip
scalars = (st.none() | st.booleans() | numbers | texts | of_bytes(8_192)).map(lambda value: value)
"""One strategy and not its parts, so that beside another one each has its half of the cases."""
nested = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
deep = st.builds(
    lambda depth, pair: Raw(pair[0] * depth + "1" + pair[1] * depth),
    st.sampled_from([1, 15, 16, 17, 200, 3_000]),
    st.sampled_from([("[", "]"), ('{"a":', "}")]),
)
names = texts | of_bytes(256) | st.sampled_from(["price", "status", "user_id", "k" * 300])
properties = st.dictionaries(names, scalars, max_size=4) | st.builds(
    lambda count, value: {f"k{number}": value for number in range(count)}, st.sampled_from([63, 64, 65]), scalars
)

some_ids = st.sampled_from(["e", "E", "é", "e\x01", "e\ufffd", "a" * 64, "😀" * 16, "_id", "e~" + "0" * 62, "0", " e"])
some_users = st.sampled_from(["u", "U", "ü", "u\ufffd", "user-1", "user-2", "u" * 256, "漢" * 85, " "])
new_ids = st.integers(0, 2**64).map("{:x}".format)
_numbers = itertools.count(10**8)  # always as long: what is drawn later may go by the length of what is drawn here
fresh_ids = st.builds(lambda end: f"{next(_numbers)}{end}", st.sampled_from(["", "é", "\x01", "~", " "]))
"""Ids that no other event of this run has: most clicks are to reach the stores, not to be known already."""
good_ids = fresh_ids | fresh_ids | some_ids


def good_events(now: int) -> st.SearchStrategy[dict[str, Any]]:
    """Events that are within every limit, and often share an id or a user with others."""
    recent = st.integers(-20 * DAY, DAY).map(lambda shift: iso_time(now + shift))
    flat = (
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    )
    return st.fixed_dictionaries(
        {"event_id": good_ids, "timestamp": recent, "user_id": some_users | new_ids,
         "session_id": some_ids, "page": urls},
        optional={
            "type": texts, "title": texts | incompressible(8_000), "referrer": urls | incompressible(8_000),
            "user_agent": agents | of_bytes(1_024), "ip": addresses,
            "properties": st.dictionaries(texts.filter(bool), flat | texts, max_size=3),
        },
    )  # fmt: skip


EDGES: dict[str, list[Any]] = {
    "event_id": edges(64), "user_id": edges(256), "session_id": edges(256), "page": edges(2_048, "/"),
    "type": edges(256), "title": edges(8_192), "referrer": edges(8_192, "https://"), "user_agent": edges(1_024),
    "properties": [{"v": text} for text in edges(8_192)] + [{name: 1} for name in edges(256)],
    "ip": edges(64),
}  # fmt: skip


def events_at_limits(now: int) -> list[dict[str, Any]]:
    """An event for each field at each edge of its limit: what chance would seldom draw."""
    good = {"timestamp": iso_time(now), "user_id": "u", "session_id": "s", "page": "/"}
    return [
        {"event_id": f"{field[:3]}-{number}"} | good | {field: text}
        for field, texts_of_it in EDGES.items()
        for number, text in enumerate(texts_of_it)
    ]


def hostile_events(now: int) -> st.SearchStrategy[Any]:
    """Good events of which up to three members are replaced, added, doubled or left out."""
    changes: dict[str, st.SearchStrategy[Any]] = {
        "event_id": some_ids | texts | of_bytes(64) | scalars,
        "user_id": some_users | texts | of_bytes(256) | scalars,
        "session_id": texts | of_bytes(256) | scalars,
        "page": of_bytes(2_048, "/") | incompressible(2_048) | of_bytes(3_000, "/?x=") | texts | scalars,
        "timestamp": times(now),
        "sent_at": times(now),
        "type": of_bytes(256) | scalars,
        "title": of_bytes(8_192) | scalars,
        "referrer": of_bytes(8_192, "https://") | scalars,
        "user_agent": of_bytes(20_000) | scalars,
        "ip": texts | scalars,
        "properties": properties | nested | deep,
        "anything": nested | deep | scalars,
    }
    change = st.sampled_from(sorted(changes)).flatmap(
        lambda field: st.tuples(names if field == "anything" else st.just(field), changes[field])
    )

    def changed(good: dict[str, Any], pairs: list[tuple[str, Any]], gone: str, doubled: bool) -> Any:
        kept = {name: value for name, value in good.items() if name != gone}
        return Members((*kept.items(), *pairs)) if doubled else kept | dict(pairs)

    absent = st.sampled_from(["", "", "", "", "", "event_id", "page", "timestamp"])
    return st.builds(changed, good_events(now), st.lists(change, min_size=1, max_size=3), absent, st.booleans())


def event_texts(now: int) -> st.SearchStrategy[bytes]:
    """The JSON of one event, hostile or good; now and then it is no event at all, or damaged."""
    whole = good_events(now) | hostile_events(now)
    return st.builds(lambda event, escaped: json_of(event, escaped=escaped), whole, st.booleans())


@st.composite
def damaged(draw: st.DrawFn, good: st.SearchStrategy[bytes]) -> bytes:
    """The bytes with a few of them changed, cut or put in."""
    content = bytearray(draw(good))
    piece = st.binary(max_size=3) | st.sampled_from(
        [b"\\u", b'"', b"[", b"\\", b"\xed\xa0\xbd", b"\xc0\x80", b"\0", b"NaN"]
    )
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        content[at : at + draw(st.integers(0, 3))] = draw(piece)
    return bytes(content)
