"""Bad requests, each with its exact status, code, path and dead letter: the original bytes and the reason, or none."""

from __future__ import annotations

import gzip
import re
import socket
import threading
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field

import msgspec
import pytest

from clickstream.tracking_api.rejections import STATUS, Code

ORIGINAL = "the body as it was sent"
GOOD = {
    "event_id": "canary-e",
    "timestamp": "2026-01-31T08:30:00Z",
    "user_id": "canary-u",
    "session_id": "canary-s",
    "page": "/canary",
}
JSON = {"X-Write-Key": "wk-web", "Content-Type": "application/json"}


def j(value: object) -> bytes:
    return msgspec.json.encode(value)


def ev(**changes: object) -> bytes:
    return j({name: value for name, value in (GOOD | changes).items() if value is not ...})


def raw(members: str) -> bytes:
    """A good event with further members in JSON as it stands."""
    return ev()[:-1] + b"," + members.encode("utf-8", "surrogatepass") + b"}"


@dataclass(frozen=True)
class Bad:
    name: str
    code: str
    path: str = "$"
    body: bytes = b""
    letter: bytes | str | None = ORIGINAL
    target: str = "/v1/events"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=lambda: JSON)


def keyed(**changes: str | None) -> dict[str, str]:
    given = JSON | {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in given.items() if value is not None}


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


PIXEL = "event_id=canary&timestamp=2026-01-31T08:30:00Z&user_id=u&session_id=s&page=/"
GZIP = gzip.compress(ev(), mtime=0)

REQUESTS = [
    # Who is it?
    Bad("no key", "missing_key", body=ev(), letter=None, headers=keyed(X_Write_Key=None)),
    Bad("an empty key", "missing_key", body=ev(), letter=None, headers=keyed(X_Write_Key="")),
    Bad(
        "an empty key in the query",
        "missing_key",
        body=ev(),
        letter=None,
        target="/v1/events?key=",
        headers=keyed(X_Write_Key=None),
    ),
    Bad("an unknown key", "unknown_key", body=ev(), letter=None, headers=keyed(X_Write_Key="canary")),
    Bad("the beginning of a key", "unknown_key", body=ev(), letter=None, headers=keyed(X_Write_Key="wk-we")),
    Bad("a key in another case", "unknown_key", body=ev(), letter=None, headers=keyed(X_Write_Key="WK-WEB")),
    Bad("a key that is not ASCII", "unknown_key", body=ev(), letter=None, headers=keyed(X_Write_Key="schlüssel")),
    Bad(
        "an unknown key in the query",
        "unknown_key",
        body=ev(),
        letter=None,
        target="/v1/events?key=canary",
        headers=keyed(X_Write_Key=None),
    ),
    Bad(
        "an unknown key wins over a good one in the query",
        "unknown_key",
        body=ev(),
        letter=None,
        target="/v1/events?key=wk-web",
        headers=keyed(X_Write_Key="canary"),
    ),
    Bad(
        "bad input without a key is only counted",
        "missing_key",
        body=b"{",
        letter=None,
        headers=keyed(X_Write_Key=None),
    ),
    Bad(
        "a foreign origin", "origin_not_allowed", body=ev(), letter=None, headers=keyed(Origin="https://canary.example")
    ),
    Bad(
        "an origin with another scheme",
        "origin_not_allowed",
        body=ev(),
        letter=None,
        headers=keyed(Origin="http://shop.example"),
    ),
    Bad(
        "an origin that only begins well",
        "origin_not_allowed",
        body=ev(),
        letter=None,
        headers=keyed(Origin="https://shop.example.canary"),
    ),
    Bad("the null origin", "origin_not_allowed", body=ev(), letter=None, headers=keyed(Origin="null")),
    Bad(
        "a browser with the key of a server source",
        "origin_not_allowed",
        body=ev(),
        letter=None,
        headers=keyed(X_Write_Key="wk-server", Origin="https://shop.example"),
    ),
    # Can it be read?
    Bad(
        "a form",
        "unsupported_media_type",
        body=b"a=canary",
        headers=keyed(Content_Type="application/x-www-form-urlencoded"),
    ),
    Bad("no content type", "unsupported_media_type", body=ev(), headers=keyed(Content_Type=None)),
    Bad("another JSON type", "unsupported_media_type", body=ev(), headers=keyed(Content_Type="application/ld+json")),
    Bad(
        "another charset",
        "unsupported_media_type",
        body=ev(),
        headers=keyed(Content_Type="application/json; charset=utf-16"),
    ),
    Bad(
        "Latin-1 that says so",
        "unsupported_media_type",
        body=raw('"title":"@"').replace(b"@", b"Caf\xe9"),
        headers=keyed(Content_Type="application/json; charset=iso-8859-1"),
    ),
    Bad("a brotli body", "unsupported_encoding", body=b"canary", headers=keyed(Content_Encoding="br")),
    Bad("gzip twice", "unsupported_encoding", body=gzip.compress(GZIP), headers=keyed(Content_Encoding="gzip, gzip")),
    Bad("gzip that is none", "malformed_gzip", body=b"canary", headers=keyed(Content_Encoding="gzip")),
    Bad("zlib instead of gzip", "malformed_gzip", body=zlib.compress(ev()), headers=keyed(Content_Encoding="gzip")),
    Bad("gzip cut short", "malformed_gzip", body=GZIP[:-5], headers=keyed(Content_Encoding="gzip")),
    Bad(
        "gzip with a wrong checksum",
        "malformed_gzip",
        body=GZIP[:-8] + b"\0\0\0\0" + GZIP[-4:],
        headers=keyed(Content_Encoding="gzip"),
    ),
    Bad(
        "gzip with something behind it", "malformed_gzip", body=GZIP + b"canary", headers=keyed(Content_Encoding="gzip")
    ),
    Bad("two gzip members", "malformed_gzip", body=GZIP + GZIP, headers=keyed(Content_Encoding="gzip")),
    Bad("an empty gzip body", "malformed_gzip", body=b"", headers=keyed(Content_Encoding="gzip", Content_Length="0")),
    Bad(
        "a gzip bomb",
        "decompressed_too_large",
        body=gzip.compress(b" " * 50_000_000, mtime=0),
        headers=keyed(Content_Encoding="gzip"),
    ),
    Bad("a body over the limit", "body_too_large", body=ev() + b" " * 524_288, letter=None),
    Bad(
        "bad JSON in good gzip",
        "malformed_json",
        body=gzip.compress(b'{"canary"', mtime=0),
        letter=b'{"canary"',
        headers=keyed(Content_Encoding="gzip"),
    ),
    Bad("nothing", "malformed_json", body=b"", headers=keyed(Content_Length="0")),
    Bad("spaces", "malformed_json", body=b"  \n"),
    Bad("a cut object", "malformed_json", body=ev()[:-9]),
    Bad("a comma too many", "malformed_json", body=ev()[:-1] + b",}"),
    Bad("single quotes", "malformed_json", body=b"{'canary': 1}"),
    Bad("a comment", "malformed_json", body=b"/* canary */" + ev()),
    Bad("two values", "malformed_json", body=ev() + ev()),
    Bad("a value on each line", "malformed_json", body=ev() + b"\n" + ev() + b"\n"),
    Bad("Latin-1 that does not say so", "malformed_json", body=raw('"title":"@"').replace(b"@", b"Caf\xe9")),
    Bad("bytes that are not UTF-8", "malformed_json", body=raw('"title":"@"').replace(b"@", b"\xff\xfe")),
    Bad("an encoded surrogate", "malformed_json", body=raw('"title":"\ud800"')),
    Bad("UTF-16", "malformed_json", body=ev().decode().encode("utf-16")),
    Bad("a raw line break in a string", "malformed_json", body=raw('"title":"a\nb"')),
    Bad("a bad escape", "malformed_json", body=raw('"title":"\\x41"')),
    Bad("NaN", "malformed_json", body=raw('"x":NaN')),
    Bad("Infinity", "malformed_json", body=raw('"x":-Infinity')),
    Bad("a leading zero", "malformed_json", body=raw('"x":007')),
    # Is it an event?
    Bad("an array", "wrong_type", body=j([GOOD])),
    Bad("a string", "wrong_type", body=b'"canary"'),
    Bad("null", "wrong_type", body=b"null"),
    Bad("an empty object", "missing_field", "$.event_id", b"{}"),
    Bad("no event_id", "missing_field", "$.event_id", ev(event_id=...)),
    Bad("event_id null", "missing_field", "$.event_id", ev(event_id=None)),
    Bad("no timestamp", "missing_field", "$.timestamp", ev(timestamp=...)),
    Bad("no user_id", "missing_field", "$.user_id", ev(user_id=...)),
    Bad("no session_id", "missing_field", "$.session_id", ev(session_id=...)),
    Bad("no page", "missing_field", "$.page", ev(page=...)),
    Bad("an empty event_id", "empty", "$.event_id", ev(event_id="")),
    Bad("an empty user_id", "empty", "$.user_id", ev(user_id="")),
    Bad("an empty page", "empty", "$.page", ev(page="")),
    Bad("a number as user_id", "wrong_type", "$.user_id", ev(user_id=42)),
    Bad("a list as page", "wrong_type", "$.page", ev(page=["/"])),
    Bad("true as type", "wrong_type", "$.type", ev(type=True)),
    Bad("an object as title", "wrong_type", "$.title", ev(title={})),
    Bad("a number as ip", "wrong_type", "$.ip", ev(ip=2130706433)),
    Bad("a list as user_agent", "wrong_type", "$.user_agent", ev(user_agent=[])),
    Bad("NUL in an event_id", "bad_character", "$.event_id", ev(event_id="a\0X")),
    Bad("NUL in a user_id", "bad_character", "$.user_id", ev(user_id="a\0X")),
    Bad("half an emoji in an event_id", "bad_character", "$.event_id", ev(event_id="@").replace(b"@", rb"a\ud800X")),
    Bad("half an emoji in a session_id", "bad_character", "$.session_id", ev(session_id="@").replace(b"@", rb"\ude00")),
    Bad("a long event_id", "too_long", "$.event_id", ev(event_id="e" * 65)),
    Bad("an event_id that is long in bytes", "too_long", "$.event_id", ev(event_id="é" * 33)),
    Bad("a long user_id", "too_long", "$.user_id", ev(user_id="u" * 257)),
    Bad("a type that is too long once NUL is replaced", "too_long", "$.type", ev(type="\0" * 86)),
    Bad("a long session_id", "too_long", "$.session_id", ev(session_id="s" * 257)),
    Bad("a long page", "too_long", "$.page", ev(page="/" * 2049)),
    Bad("a long type", "too_long", "$.type", ev(type="t" * 257)),
    Bad("a long referrer", "too_long", "$.referrer", ev(referrer="r" * 8193)),
    Bad("a number as timestamp", "wrong_type", "$.timestamp", ev(timestamp=1769848200000)),
    Bad("a naive timestamp", "bad_timestamp", "$.timestamp", ev(timestamp="2026-01-31T08:30:00")),
    Bad("a date", "bad_timestamp", "$.timestamp", ev(timestamp="2026-01-31")),
    Bad("an empty timestamp", "bad_timestamp", "$.timestamp", ev(timestamp="")),
    Bad("a 30th of February", "bad_timestamp", "$.timestamp", ev(timestamp="2026-02-30T08:30:00Z")),
    Bad("a time that underflows UTC", "bad_timestamp", "$.timestamp", ev(timestamp="0001-01-01T00:00:00+14:00")),
    Bad("a time before 1970", "bad_timestamp", "$.timestamp", ev(timestamp="1969-12-31T23:59:59Z")),
    Bad("words as sent_at", "bad_timestamp", "$.sent_at", ev(sent_at="canary")),
    Bad("properties that are a list", "wrong_type", "$.properties", ev(properties=[])),
    Bad("a property that is an object", "not_flat", "$.properties.*", ev(properties={"canary": {}})),
    Bad("a property that is a list", "not_flat", "$.properties.*", ev(properties={"canary": [1]})),
    Bad("65 properties", "too_many_properties", "$.properties", ev(properties={str(n): n for n in range(65)})),
    Bad(
        "64 properties and an unknown field",
        "too_many_properties",
        "$.properties",
        ev(canary=1, properties={str(n): n for n in range(64)}),
    ),
    Bad("a property without a name", "empty", "$.properties.*", ev(properties={"": 1})),
    Bad("a long property name", "too_long", "$.properties.*", ev(properties={"canary" * 43: 1})),
    Bad("a long property", "too_long", "$.properties.*", ev(properties={"canary": "x" * 8193})),
    Bad("a long unknown field", "too_long", "$.*", ev(canary="x" * 8193)),
    Bad("an unknown object whose text is long", "too_long", "$.*", ev(canary=["x" * 8190])),
    Bad(
        "an integer beyond 64 bits",
        "integer_out_of_range",
        "$.properties.*",
        raw('"properties":{"canary":9223372036854775808}'),
    ),
    Bad("a negative one, unknown field", "integer_out_of_range", "$.*", raw('"canary":-9223372036854775809')),
    Bad("a number beyond all floats", "number_out_of_range", body=raw('"properties":{"canary":1e999}')),
    Bad(
        "an exponent of a hundred digits",
        "number_out_of_range",
        body=raw(f'"properties":{{"canary":0.4e00{"9" * 100}}}'),
    ),
    Bad(
        "a number beyond all floats as time",
        "number_out_of_range",
        body=ev().replace(b'"2026-01-31T08:30:00Z"', b"1e400"),
    ),
    Bad("17 levels", "too_deep", "$.*", raw(f'"canary":{nested(16)}')),
    Bad("thousands of levels", "too_deep", body=raw(f'"canary":{nested(9_000)}')),
    Bad("an event over 32 KiB", "event_too_large", body=ev(canary="x" * 32_768)),
    # Batches that are none.
    Bad("a batch that is a list", "wrong_type", body=j([GOOD]), target="/v1/events/batch"),
    Bad(
        "a batch without events",
        "missing_field",
        "$.events",
        j({"sent_at": "2026-01-31T08:30:00Z"}),
        target="/v1/events/batch",
    ),
    Bad("an event instead of a batch", "missing_field", "$.events", ev(), target="/v1/events/batch"),
    Bad("a batch that is null", "wrong_type", body=b"null", target="/v1/events/batch"),
    Bad("events null", "wrong_type", "$.events", b'{"events":null}', target="/v1/events/batch"),
    Bad("events an object", "wrong_type", "$.events", j({"events": GOOD}), target="/v1/events/batch"),
    Bad("no events", "empty_batch", "$.events", b'{"events":[]}', target="/v1/events/batch"),
    Bad("501 events", "too_many_events", "$.events", j({"events": [GOOD] * 501}), target="/v1/events/batch"),
    Bad(
        "a field that a batch does not have",
        "unknown_field",
        "$.*",
        j({"events": [GOOD], "canary": 1}),
        target="/v1/events/batch",
    ),
    Bad(
        "a batch sent_at that is a number",
        "wrong_type",
        "$.sent_at",
        j({"events": [GOOD], "sent_at": 1}),
        target="/v1/events/batch",
    ),
    Bad(
        "a batch sent_at that is no time",
        "bad_timestamp",
        "$.sent_at",
        j({"events": [GOOD], "sent_at": "canary"}),
        target="/v1/events/batch",
    ),
    Bad("a batch cut short", "malformed_json", body=b'{"events":[' + ev(), target="/v1/events/batch"),
    Bad(
        "a batch with an event thousands of levels deep",
        "too_deep",
        body=b'{"events":[' + nested(9_000).encode() + b"]}",
        target="/v1/events/batch",
    ),
    Bad(
        "a batch over the limit",
        "body_too_large",
        body=j({"events": [GOOD] * 400 + ["canary" * 80_000]}),
        letter=None,
        target="/v1/events/batch",
    ),
    Bad(
        "a batch of a foreign origin",
        "origin_not_allowed",
        body=j({"events": [GOOD]}),
        letter=None,
        target="/v1/events/batch",
        headers=keyed(Origin="https://canary.example"),
    ),
    Bad(
        "a list of events twice",
        "repeated_field",
        body=b'{"events":[' + ev() + b'],"events":[' + ev() + b"]}",
        target="/v1/events/batch",
    ),
    Bad(
        "a sent_at twice",
        "repeated_field",
        body=b'{"sent_at":null,"events":[' + ev() + b'],"sent_at":null}',
        target="/v1/events/batch",
    ),
    Bad(
        "a batch with NaN between two good events",
        "malformed_json",
        body=b'{"events":[' + b",".join([ev(), raw('"score":NaN'), ev()]) + b"]}",
        target="/v1/events/batch",
    ),
    Bad("no batch and no JSON", "malformed_json", body=b'["canary",]', target="/v1/events/batch"),
    Bad("an empty batch and more", "malformed_json", body=b'{"events":[]}canary', target="/v1/events/batch"),
    # Pixels; the write key is not part of the dead letter.
    Bad("a pixel without a key", "missing_key", letter=None, target=f"/v1/pixel.gif?{PIXEL}", method="GET", headers={}),
    Bad(
        "a pixel with an unknown key",
        "unknown_key",
        letter=None,
        target=f"/v1/pixel.gif?key=canary&{PIXEL}",
        method="GET",
        headers={},
    ),
    Bad(
        "a pixel without fields",
        "missing_field",
        "$.event_id",
        letter=b"",
        target="/v1/pixel.gif?key=wk-web",
        method="GET",
        headers={},
    ),
    Bad(
        "a pixel without a page",
        "missing_field",
        "$.page",
        letter=PIXEL[:-7].encode(),
        target=f"/v1/pixel.gif?key=wk-web&{PIXEL[:-7]}",
        method="GET",
        headers={},
    ),
    Bad(
        "a pixel whose page is only in the Referer",
        "missing_field",
        "$.page",
        letter=PIXEL[:-7].encode(),
        target=f"/v1/pixel.gif?key=wk-web&{PIXEL[:-7]}",
        method="GET",
        headers={"Referer": "https://shop.example/canary"},
    ),
    Bad(
        "a pixel whose ampersands are HTML",
        "missing_field",
        "$.timestamp",
        letter=PIXEL.replace("&", "&amp;").encode(),
        target=f"/v1/pixel.gif?key=wk-web&{PIXEL.replace('&', '&amp;')}",
        method="GET",
        headers={},
    ),
    Bad(
        "a pixel with a bad time",
        "bad_timestamp",
        "$.timestamp",
        letter=PIXEL.replace("31T", "32T").encode(),
        target=f"/v1/pixel.gif?{PIXEL.replace('31T', '32T')}&key=wk-web",
        method="GET",
        headers={},
    ),
    Bad(
        "a pixel that says something twice",
        "repeated_field",
        letter=f"{PIXEL}&page=/canary".encode(),
        target=f"/v1/pixel.gif?key=wk-web&{PIXEL}&page=/canary",
        method="GET",
        headers={},
    ),
    Bad(
        "a pixel in Latin-1",
        "malformed_query",
        letter=f"{PIXEL}&title=caf%E9".encode(),
        target=f"/v1/pixel.gif?key=wk-web&{PIXEL}&title=caf%E9",
        method="GET",
        headers={},
    ),
    Bad(
        "a pixel with properties that are no object",
        "wrong_type",
        "$.properties",
        letter=f"{PIXEL}&properties=canary".encode(),
        target=f"/v1/pixel.gif?{PIXEL}&key=wk-web&properties=canary",
        method="GET",
        headers={},
    ),
    Bad(
        "a pixel over 32 KiB",
        "event_too_large",
        letter=f"{PIXEL}&title={'x' * 32_768}".encode(),
        target=f"/v1/pixel.gif?key=wk-web&{PIXEL}&title={'x' * 32_768}",
        method="GET",
        headers={},
    ),
    # Not for us.
    Bad("a PUT", "method_not_allowed", body=ev(), letter=None, method="PUT"),
    Bad("a GET of events", "method_not_allowed", letter=None, method="GET"),
    Bad("a POST of the pixel", "method_not_allowed", body=ev(), letter=None, target="/v1/pixel.gif"),
    Bad("a TRACE", "method_not_allowed", letter=None, target="/canary", method="TRACE"),
    Bad("a TRACE of events", "method_not_allowed", letter=None, method="TRACE"),
    Bad("another path", "not_found", body=ev(), letter=None, target="/v1/event"),
    Bad("a slash too many", "not_found", body=ev(), letter=None, target="/v1/events/"),
]


def test_the_table_has_its_size_and_no_name_twice():
    assert len(REQUESTS) >= 60
    assert len({bad.name for bad in REQUESTS}) == len(REQUESTS)


@pytest.mark.parametrize("bad", REQUESTS, ids=lambda bad: bad.name)
def test_a_bad_request_gets_its_status_and_its_dead_letter(api, letters, clicks, bad):
    before = refusals(api)
    answer = api.request(bad.method, bad.target, bad.body, bad.headers)

    assert refusals(api) - before == Counter({bad.code: 1})
    assert (answer.status, answer.json["error"]["code"], answer.json["error"]["path"]) == (
        STATUS[Code(bad.code)],
        bad.code,
        bad.path,
    ), answer
    assert b"canary" not in answer.body
    assert not any("canary" in value for value in answer.headers.values())
    assert bad.code == "not_found" or answer.headers["cache-control"] == "no-store"
    expected = bad.body if bad.letter is ORIGINAL else bad.letter
    rows = letters.letters()
    assert [(row.original, row.stage, row.code, row.path) for row in rows] == (
        [] if expected is None else [(expected, "collect", bad.code, bad.path)]
    )
    assert all("canary" not in row.reason for row in rows)
    assert clicks.new() == []


def test_in_a_batch_each_bad_event_is_named_and_kept_and_the_others_are_accepted(api, letters, clicks):
    events = [
        ev(event_id="a"),
        ev(page=...),
        raw('"x":1e999'),
        b'  {"canary" : [ ] }'.strip(),
        raw('"title":"@"').replace(b"@", b"\xff"),
        ev(canary="x" * 40_000),
        b"17",
        ev(event_id="b"),
    ]
    answer = api.post(b'\n{"events": [ ' + b" ,\n ".join(events) + b' ], "sent_at": null}', "/v1/events/batch")
    refused = [
        (1, "missing_field", "$.events[1].page"),
        (2, "number_out_of_range", "$.events[2]"),
        (3, "missing_field", "$.events[3].event_id"),
        (4, "malformed_json", "$.events[4]"),
        (5, "event_too_large", "$.events[5]"),
        (6, "wrong_type", "$.events[6]"),
    ]

    assert answer.status == 202
    assert answer.json["accepted"] == 2
    assert [(r["index"], r["code"], r["path"]) for r in answer.json["rejected"]] == refused
    assert [(row.original, row.code) for row in letters.letters()] == [(events[at], code) for at, code, _ in refused]
    assert {click.event_id for click in clicks.clicks()} == {"a", "b"}
    assert b"canary" not in answer.body


def test_a_batch_without_one_good_event_is_refused_with_the_same_list(api, letters, clicks):
    answer = api.post({"events": [{"canary": 1}, 5]}, "/v1/events/batch")

    assert answer.status == 422
    assert answer.json["accepted"] == 0
    assert [r["code"] for r in answer.json["rejected"]] == ["missing_field", "wrong_type"]
    assert [row.original for row in letters.letters()] == [b'{"canary":1}', b"5"]
    assert clicks.new() == []


def test_the_bytes_of_a_refused_event_are_unchanged_even_where_its_batch_had_to_be_repaired(api, letters, clicks):
    cut, whole = rb'{"title":"\ud83d"}', rb'{"title":"\ud83d\ude00 \\ud83d"}'
    good = raw(r'"title":"half \uDE00"')
    answer = api.post(b'{"events":[' + b", ".join([cut, good, whole, cut]) + b"]}", "/v1/events/batch")

    assert answer.json["accepted"] == 1
    assert [row.original for row in letters.letters()] == [cut, whole, cut]
    assert [click.title for click in clicks.clicks()] == ["half \ufffd"]


def test_what_a_gzipped_event_was_refused_for_can_be_read_in_its_dead_letter(api, letters):
    answer = api.post(gzip.compress(b'{"canary": 1}'), Content_Encoding="gzip")

    assert answer.status == 422
    assert [row.original for row in letters.letters()] == [b'{"canary": 1}']


def test_a_body_that_stops_coming_is_answered_with_408_after_ten_seconds(api, letters):
    head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Write-Key: wk-web\r\nContent-Type: application/json\r\n"
    received = api.raw(head + b'Content-Length: 500\r\n\r\n{"event_id"', 20)

    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"body_timeout" in received
    assert letters.new() == []


@pytest.mark.parametrize(
    "text",
    [
        b'{"events":[' + b"1," * 500_000 + b'1],"events":[' + b"1," * 499 + rb'"\ud800"]}',
        b'{"events":[' + b"[]," * 690_000 + b"[]]}",
        b'{"events":[' + b",".join([b'{"title":"' + rb"\n" * 2_000 + rb'\ud800"}'] * 500) + b"]}",
    ],
    ids=["a list twice", "half a million events", "escapes"],
)
def test_a_small_request_that_is_made_to_be_expensive_keeps_nobody_waiting(api, text):
    body = gzip.compress(text)
    assert len(body) < 8_192
    ended = threading.Event()
    statuses: list[int] = []

    def send() -> None:
        while not ended.is_set():
            statuses.append(api.post(body, "/v1/events/batch", Content_Encoding="gzip").status)

    sender = threading.Thread(target=send)
    sender.start()
    slowest = 0.0
    while len(statuses) < 3:
        started = time.monotonic()
        assert api.request("GET", "/healthz").status == 200
        slowest = max(slowest, time.monotonic() - started)
    ended.set()
    sender.join()
    assert set(statuses) <= {413, 422}
    assert slowest < 1


@pytest.mark.parametrize(
    ("name", "sent", "status"),
    [
        ("one read with a head that is too long", b"GET / HTTP/1.1\r\nX: " + b"x" * 120_000 + b"\r\n\r\n", b"431"),
        ("headers without an end", b"GET /v1/pixel.gif HTTP/1.1\r\nX: " + b"x" * 70_000, b"431"),
        ("a whole head that is a little too long", b"GET / HTTP/1.1\r\nX: " + b"x" * 65_536 + b"\r\n\r\n", b"431"),
        ("an address that is too long", b"GET /v1/pixel.gif?" + b"x" * 65_536 + b" HTTP/1.1\r\n\r\n", b"431"),
        ("many headers", b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 9_000, b"431"),
        ("no HTTP", b"canary canary canary\r\n\r\n", b"400"),
        ("a path that is not ASCII", b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (
            "two lengths",
            b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"400",
        ),
        ("a negative length", b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
        (
            "a bad chunk",
            (
                b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Write-Key: wk-web\r\nContent-Type: "
                b"text/plain\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
            ),
            b"400",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_hardly_http_is_refused_and_the_connection_closed(api, name, sent, status):
    before = refusals(api)
    received = api.raw(sent, 5)

    assert received.startswith(b"HTTP/1.1 " + status + b" "), received[:100]
    assert b"canary" not in received
    code = {b"400": "malformed_request", b"431": "head_too_large"}[status]
    assert refusals(api) - before == Counter({code: 1})
    assert "canary" not in api.output


def test_a_head_that_stops_coming_is_counted(api):
    before = refusals(api)
    assert api.raw(b"GET /healthz HTTP/1.1\r\nHost", 20).startswith(b"HTTP/1.1 408 ")
    assert refusals(api) - before == Counter({"head_timeout": 1})


def test_requests_that_a_browser_does_not_even_send_are_counted(api):
    before = refusals(api)
    assert api.request("OPTIONS", "/v1/events?key=wk-web", headers={"Origin": "https://canary.example"}).status == 403
    assert refusals(api) - before == Counter({"origin_not_allowed": 1})


def test_refused_requests_leave_nothing_in_the_log(api):
    before = api.output
    websocket = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\r\n"
    for path, status in ((b"/ws", b"404"), (b"/v1/events", b"405"), (b"/healthz", b"200")):
        received = api.raw(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + websocket + b"\x81\x85frames", 5)
        assert received.startswith(b"HTTP/1.1 " + status)
        assert received.count(b"HTTP/1.1 ") == 1
        assert b"\r\nconnection: close\r\n" in received
    api.raw(b"no HTTP\r\n\r\n", 5)
    assert api.request("POST", "/v1/events/").status == 404
    assert api.output == before


def refusals(api) -> Counter[str]:
    """How often requests were refused so far, by code."""
    counted = ((re.match(r'clickstream_events_rejected_total\{.*code="(\w+)"', x), n) for x, n in api.metrics().items())
    return Counter({found[1]: int(times) for found, times in counted if found})


def test_a_client_that_hangs_up_in_its_body_leaves_no_trace_and_no_error(api, letters, clicks):
    head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Write-Key: wk-web\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", api.port)) as connection:
        connection.sendall(head + b'Content-Length: 500\r\n\r\n{"event_id"')

    assert api.post(ev(event_id="after")).status == 202
    assert letters.new() == []
    assert [click.event_id for click in clicks.clicks()] == ["after"]
    assert "Traceback" not in api.output


def test_an_endless_chunked_body_is_cut_at_the_limit(api, letters):
    head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Write-Key: wk-web\r\nContent-Type: text/plain\r\n"
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    received = api.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 9, 3)

    assert received.startswith(b"HTTP/1.1 413 ")
    assert letters.new() == []


def test_refusals_and_dead_letters_are_counted_by_code(api):
    before = api.metrics()
    api.post(b"{}")
    api.request("POST", "/v1/events", b"{}", {"X-Write-Key": "no"})
    after = api.metrics()

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown('clickstream_events_rejected_total{code="missing_field"}') == 1
    assert grown('clickstream_events_rejected_total{code="unknown_key"}') == 1
    assert grown('clickstream_dead_letters_total{code="missing_field",stage="collect"}') == 1
    assert 'clickstream_dead_letters_total{code="unknown_key",stage="collect"}' not in after
