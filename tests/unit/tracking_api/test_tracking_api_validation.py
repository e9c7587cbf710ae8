"""Reading bodies: JSON repairs, batches with their bytes, events; without any server."""

import gzip
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clickstream.contracts.clicks import Click, decode_click, encode_click
from clickstream.contracts.topics import RECORD_BYTES
from clickstream.tracking_api import limits
from clickstream.tracking_api.rejections import STATUS, Code, Rejection, RejectionError
from clickstream.tracking_api.requests import decode_body, without_key, write_key_in
from clickstream.tracking_api.validation.batch import Batch, parse_batch
from clickstream.tracking_api.validation.event import RequestContext, parse_event, parse_query
from clickstream.tracking_api.validation.fields import exceeds, shortened
from clickstream.tracking_api.validation.json_text import deeper, parse_json, repaired, without_nul_escapes
from clickstream.tracking_api.validation.properties import read_properties

HERE = RequestContext(source="web", received_at=1_769_848_200_000)
GOOD = {"event_id": "e", "timestamp": "2026-01-31T08:30:00Z", "user_id": "u", "session_id": "s", "page": "/"}

any_text = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates too
any_value = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=10,
)


def mended(value):
    """A value with U+0000 for each lone surrogate in it."""
    if isinstance(value, str):
        paired = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return re.sub("[\ud800-\udfff]", "\0", paired)
    if isinstance(value, list):
        return [mended(item) for item in value]
    if isinstance(value, dict):
        return {mended(name): mended(item) for name, item in value.items()}
    return value


@given(any_value)
def test_a_text_is_read_as_it_is_but_for_lone_surrogates(value):
    text = json.dumps(value).encode()
    fixed = repaired(text)
    assert len(fixed) == len(text)
    assert parse_json(fixed) == mended(json.loads(text))


@given(st.binary(max_size=60))
def test_a_repair_changes_nothing_but_surrogate_escapes(text):
    fixed = repaired(text)
    assert len(fixed) == len(text)
    if b"\\u" not in text:
        assert fixed == text


ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


def repaired_slowly(text: bytes) -> bytes:
    """One escape after the other, as RFC 8259 reads them."""
    escapes = list(ESCAPE.finditer(text.decode("latin-1")))
    units = [int(found[1], 16) if found[1] else 0 for found in escapes]
    fixed = bytearray(text)
    for number, (found, unit) in enumerate(zip(escapes, units, strict=True)):
        after = number + 1 < len(units) and escapes[number + 1].start() == found.end()
        before = number > 0 and escapes[number - 1].end() == found.start()
        high = 0xD800 <= unit < 0xDC00 and not (after and 0xDC00 <= units[number + 1] < 0xE000)
        low = 0xDC00 <= unit < 0xE000 and not (before and 0xD800 <= units[number - 1] < 0xDC00)
        if high or low:
            fixed[found.start() : found.end()] = rb"\u0000"
    return bytes(fixed)


escapes = st.lists(
    st.sampled_from([r"\ud83d", r"\uDE00", r"\uDBFF", r"\uDC00", r"\u0041", "\\\\", r"\"", r"\n", "ud83d",
                     "\\\\ud83d", "a", "é", r"\ud8"]),
    max_size=12,
).map(lambda parts: '"{}"'.format("".join(parts)).encode())  # fmt: skip


@given(escapes)
@example(rb'"\\\ud83d\\\ude00"')
@example(rb'"\ud83d\ud83d\ude00\ude00"')
def test_every_sequence_of_escapes_is_repaired_as_if_each_were_read_after_the_other(text):
    assert repaired(text) == repaired_slowly(text)


@given(st.binary(max_size=30))
def test_a_text_with_a_raw_nul_is_no_json_before_and_after_its_repair(text):
    assert isinstance(parse_json(repaired(b'"\\ud800' + text + b'\0"')), Rejection)


def depth(value) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max((depth(inner) for inner in (value.values() if isinstance(value, dict) else value)), default=0)


brackets = st.recursive(
    st.sampled_from(["[", "{", "]", '"', "\\", '\\"[', 1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["[", "}", '"']), inner, max_size=2),
    max_leaves=30,
)


@given(brackets, st.integers(0, 6))
def test_the_depth_of_a_text_is_that_of_its_value(value, levels):
    assert deeper(json.dumps(value).encode(), levels) == (depth(value) > levels)


@given(st.lists(st.sampled_from(["\0", "\\", "u0000", "\\u0000", '"', "a"]), max_size=8).map("".join))
def test_nul_in_json_text_is_replaced_as_it_is_in_a_value(text):
    assert json.loads(without_nul_escapes(json.dumps(text).encode())) == text.replace("\0", "\ufffd")


@given(
    st.lists(st.sampled_from(["a", "_a", "__a", "___a", "_", "__", "b"]), unique=True),
    st.lists(st.sampled_from(["a", "_a", "__a", "___a", "_", "__", "b"]), unique=True),
)
def test_a_field_whose_name_is_taken_gets_the_next_free_one(given_names, unknown):
    event = {"properties": dict.fromkeys(given_names, 0)} | dict.fromkeys(unknown, 1)
    expected = dict.fromkeys(given_names, 0)
    for name in unknown:
        free = name
        while free in expected:
            free = f"_{free}"
        expected[free] = 1
    assert read_properties(event.get("properties"), [(name, event[name]) for name in unknown]) == expected


def test_a_free_name_that_would_be_too_long_is_refused():
    name = "_" * 255 + "a"
    with pytest.raises(RejectionError):
        read_properties({name: 0}, [(name, 1)])


spaces = st.text(" \t\r\n", max_size=3).map(str.encode)


@given(
    st.lists(st.tuples(any_value.map(lambda value: json.dumps(value).encode()), spaces, spaces), min_size=1, max_size=8)
)
def test_each_event_of_a_batch_keeps_the_bytes_that_the_client_sent(events):
    listed = b",".join(before + text + after for text, before, after in events)
    space = events[0][1]
    for body in (
        b'{"sent_at":null,"events":[' + listed + b"]}",
        b'{"sent_at":"2026-01-31T08:30:00Z"' + space + b',"events":' + space + b"[" + listed + b"]}",
        b'{"events"' + space + b":[" + listed + b"]" + space + b',"sent_at"' + space + b":null}" + space,
        b"\xef\xbb\xbf" + space + b'{"events":[' + listed + b"]}",
    ):
        batch = parse_batch(body)
        assert isinstance(batch, Batch), body
        assert batch.events == [text for text, _, _ in events]


members = st.lists(
    st.sampled_from(
        [b'"events":[1]', b'"events" : [ "\\ud800" , 2 ]', b'"sent_at":null', b'"sent_at": "2026-01-31T08:30:00Z"',
         b'"x":[1]',
         b'"events":[]', b'"\\u0065vents":[3]', b'"sent_at":"events"', b'"events":"events"']
    ),
    max_size=4,
)  # fmt: skip


@given(members, spaces)
def test_a_member_of_a_batch_that_is_given_twice_is_refused_and_never_passed_over(parts, space):
    body = space + b"{" + space + (space + b"," + space).join(parts) + space + b"}"
    names = [name for name, _ in json.loads(body, object_pairs_hook=list)]
    read = parse_batch(body)
    if isinstance(read, Batch):
        assert sorted(names) in (["events"], ["events", "sent_at"])
    elif "x" not in names and "events" in names and len(names) > len(set(names)):
        assert read.code in {Code.REPEATED_FIELD, Code.WRONG_TYPE}
    elif "x" in names:
        assert read.code in {Code.UNKNOWN_FIELD, Code.MISSING_FIELD, Code.WRONG_TYPE}


# Of the kinds of texts that JSONTestSuite calls n_: no JSON, whatever a batch is.
NO_JSON = [
    b"[1,]", b'["",]', b"[1 true]", b"[-01]", b"[0.e1]", b"[1eE2]", b"[NaN]", b"[-Infinity]", b"[++1]", b"[.5]",
    b"[0x1]",
    b'["\x1f"]', b'["\\x00"]', b'["\\u00A"]', b"['a']", b'["a"', b"[1", b"[1]x", b"[1]]", b"[[1]", b"[]\0", b"[1]#",
    b"1 2",
    b"01", b"nul", b"truth", b'"', b'{"a":1,}', b'{"a"}', b"{a:1}", b'{"a":1 "b":2}', b'{"a":1,,"b":2}',
    b'{"events":[1]}x',
    b'{"events":1,}', b'{"events":[1,]}', b'{"x":1,"events":[1],}', b"\xef\xbb\xbf", b"", b" ", b"<a>", b"/**/[1]",
    b"[\xff\xff",
    "[1]".encode("utf-16"), b'["\xff"]', b'{"a":"\xc0\xaf"}', b'["\xed\xa0\x80"]', '["é"]'.encode("latin-1"),
]  # fmt: skip


@pytest.mark.parametrize("text", NO_JSON)
def test_what_is_no_json_is_malformed_on_both_paths_whatever_it_begins_like(text):
    assert parse_batch(text).code is Code.MALFORMED_JSON
    assert parse_event(text, HERE).code is Code.MALFORMED_JSON


parameters = st.lists(
    st.text("abé=", max_size=8) | st.sampled_from(["utm_source=x", "utm_term=" + "t" * 30, "a", ""]), max_size=12
)


@given(st.text("/aé", min_size=1, max_size=40), parameters, st.sampled_from(["", "#f", "#?a&b"]), st.integers(10, 80))
def test_a_long_query_loses_whole_parameters_the_campaigns_last(path, parts, fragment, most):
    url = f"{path}?{'&'.join(parts)}{fragment}"
    short = shortened(url, most)
    if not exceeds(url, most):
        assert short == url
        return
    assert short.partition("?")[0] == path, "the path is never cut"
    assert "#" not in short
    kept = short.partition("?")[2].split("&") if "?" in short else []
    left = iter(parts)
    assert all(part in left for part in kept), "whole parameters, in their order"
    assert exceeds(path, most) or not exceeds(short, most)
    for part in parts:
        if part.startswith("utm_") and part not in kept:
            campaign = "&".join([each for each in kept if each.startswith("utm_")] + [part])
            assert exceeds(f"{path}?{campaign}", most)


def test_a_click_is_not_refused_for_a_long_query_but_for_a_long_path():
    long = "x" * 3_000
    for page, kept in (
        (f"/p?utm_campaign={long}", "/p"),
        (f"/p?a={long}&utm_source=b&c=d", "/p?utm_source=b&c=d"),
        (f"https://h/p?a=1&b={long}#top", "https://h/p?a=1"),
        (f"/p#{long}", "/p"),
    ):
        click = parse_event(json.dumps(GOOD | {"page": page, "referrer": page + "x" * 8_192}).encode(), HERE)
        assert isinstance(click, Click)
        assert click.page == kept
    assert parse_event(json.dumps(GOOD | {"page": f"/{long}?a=1"}).encode(), HERE).code is Code.TOO_LONG


SECRET = "https://user:S3cret@host/"


@given(
    st.dictionaries(
        st.sampled_from(["page", "referrer", "title", "type", "user_agent", "x", "properties"]),
        st.sampled_from([SECRET, f"see {SECRET}", [SECRET], {SECRET: SECRET}, {"a": {"b": [SECRET]}}, "\0" + SECRET,
                         "/?next=https%3A%2F%2Fuser%3AS3cret%40host"]),
    )
)  # fmt: skip
def test_no_credentials_are_left_in_any_text_of_a_click(fields):
    here = RequestContext(source="web", received_at=HERE.received_at, user_agent=f"bot (+{SECRET})")
    click = parse_event(json.dumps(GOOD | fields).encode(), here)
    if isinstance(click, Click):
        assert b"S3cret" not in encode_click(click)


@pytest.mark.parametrize(
    ("sent", "kept"), [("\0", "\ufffd"), ("\ud83d", "\ufffd"), ("\ud83d\U0001f600", "\ufffd\U0001f600")]
)
def test_what_no_store_can_hold_is_replaced_in_every_text_of_a_click(sent, kept):
    """The same in both stores."""
    texts = ("page", "type", "title", "referrer", "user_agent")
    event = GOOD | dict.fromkeys(texts, f"a{sent}b") | {"properties": {f"a{sent}b": sent}, f"c{sent}": [sent]}
    click = parse_event(json.dumps(event).encode(), HERE)
    assert isinstance(click, Click)
    assert [getattr(click, name) for name in texts] == [f"a{kept}b"] * len(texts)
    assert click.properties == {f"a{kept}b": kept, f"c{kept}": f'["{kept}"]'}
    assert decode_click(encode_click(click), 0) == click


@pytest.mark.parametrize("name", ["event_id", "user_id", "session_id"])
@pytest.mark.parametrize("sent", ["a\0X", "\0", "a\ud800X", "\udc00", "\ud83d\U0001f600"])
def test_an_id_that_no_store_can_hold_is_refused_since_two_would_become_one(name, sent):
    refused = parse_event(json.dumps(GOOD | {name: sent}).encode(), HERE)
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.path, refused.status) == ("bad_character", f"$.{name}", 422)
    click = parse_event(json.dumps(GOOD | {name: "a\ufffdX"}).encode(), HERE)
    assert getattr(click, name) == "a\ufffdX"


def test_nul_in_a_pixel_is_replaced_but_in_an_id():
    pixel = "&".join(f"{name}={value}" for name, value in GOOD.items())
    click = parse_query(f"{pixel}%00".encode(), HERE)
    assert isinstance(click, Click)
    assert click.page == "/\ufffd"
    refused = parse_query(pixel.replace("user_id=u", "user_id=u%00").encode(), HERE)
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.path) == ("bad_character", "$.user_id")


def test_ids_are_kept_as_they_are_since_two_must_not_become_one():
    ids = {"event_id": "x://a@b", "user_id": "acct://alice@corp", "session_id": "x://s@b"}
    click = parse_event(json.dumps(GOOD | ids).encode(), HERE)
    assert isinstance(click, Click)
    assert (click.event_id, click.user_id, click.session_id) == tuple(ids.values())


def test_a_pixel_of_too_many_parameters_is_refused_before_all_are_read():
    query = b"&".join(b"%x=1" % number for number in range(4_000))
    assert parse_query(query, HERE).code is Code.TOO_MANY_PROPERTIES


# The most that a click may grow while it is read: escapes that are longer in JSON, bytes that become characters.
GROWING = {
    "control characters in a pixel": b"&".join(b"p%d=" % n + b"%%01" * 120 for n in range(60)),
    "quotes in lists": json.dumps(GOOD | {f"x{n}": ['"' * 60] for n in range(64)}).encode(),
    "numbers": json.dumps(GOOD)[:-1].encode()
    + b"".join(b',"x%d":[%s0]' % (n, b"1e15," * 90) for n in range(64))
    + b"}",
    "integers": json.dumps(GOOD | {f"x{n}": n for n in range(64)}).encode(),
}


@pytest.mark.parametrize("form", GROWING)
def test_no_legal_event_becomes_a_record_that_a_topic_would_not_take(form):
    text = GROWING[form]
    assert len(text) <= limits.EVENT_BYTES
    query = "&".join(f"{name}={value}" for name, value in GOOD.items()).encode() + b"&" + text.replace(b"%%", b"%")
    here = RequestContext(source="s" * 256, received_at=0, user_agent="u" * 100_000)
    click = parse_query(query, here) if "pixel" in form else parse_event(text, here)
    assert isinstance(click, Click)
    assert len(encode_click(click)) < RECORD_BYTES // 4


@given(st.dictionaries(any_text | st.sampled_from([*GOOD, "properties", "ip", "type"]), any_value, max_size=6))
def test_whatever_an_event_holds_it_becomes_a_click_that_the_enricher_can_read_or_a_rejection(fields):
    result = parse_event(json.dumps(GOOD | fields).encode(), HERE)
    if isinstance(result, Click):
        assert decode_click(encode_click(result), 0) == result
        assert "\\u0000" not in encode_click(result).decode()
    else:
        assert STATUS[result.code] in {400, 413, 422}


def test_unknown_fields_are_all_kept():
    fields = {f"field {n}": [n, {"deep": None}] for n in range(60)}
    click = parse_event(json.dumps(GOOD | fields).encode(), HERE)
    assert isinstance(click, Click)
    assert {name: json.loads(value) for name, value in click.properties.items()} == fields


def test_every_code_has_a_status_that_is_no_success():
    assert set(STATUS) == set(Code)
    assert all(400 <= status <= 503 for status in STATUS.values())


def test_a_rejection_inside_a_batch_says_where():
    rejection = Rejection(Code.EMPTY, "$.page", "")
    assert rejection.inside("$.events[3]").path == "$.events[3].page"
    assert Rejection(Code.WRONG_TYPE, "$", "").inside("$.events[3]").path == "$.events[3]"


@given(st.binary(max_size=200))
def test_gzip_is_undone_or_refused_never_raised(body):
    assert decode_body(gzip.compress(body), b"text/plain", b"gzip") == body
    decode_body(body, b"text/plain", b"gzip")


@pytest.mark.parametrize(
    ("query", "key", "rest"),
    [
        (b"", None, b""),
        (b"key=k", b"k", b""),
        (b"a=1&key=k&b=2", b"k", b"a=1&b=2"),
        (b"key=a%20b+c", b"a b c", b""),
        (b"keys=1&monkey=2", None, b"keys=1&monkey=2"),
        (b"key=one&key=two", b"one", b""),
        (b"key", b"", b"key"),
        (b"a=key=b&&", None, b"a=key=b&&"),
    ],
)
def test_the_key_is_found_in_a_query_and_taken_out_of_it(query, key, rest):
    assert write_key_in(query) == key
    assert without_key(query) == rest
