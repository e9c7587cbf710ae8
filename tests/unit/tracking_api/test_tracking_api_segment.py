"""What becomes of a call of Segment's API, and how a batch of them is taken apart."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.clicks import PAGE_VIEW, Click
from clickstream.contracts.times import iso_time
from clickstream.tracking_api import segment_answers
from clickstream.tracking_api.rejections import STATUS, Code, Rejection
from clickstream.tracking_api.requests import basic_user
from clickstream.tracking_api.validation.event import RequestContext
from clickstream.tracking_api.validation.segment import NOT_SET, Calls, reader_of
from clickstream.tracking_api.validation.segment_batch import SegmentBatch, parse_segment_batch, write_key_in_body
from support.hostile import json_of, nested

NOW = 1_769_848_200_000
HERE = RequestContext(source="web", received_at=NOW, address=ip_address("203.0.113.9"))
BROWSER = RequestContext(source="web", received_at=NOW, address=ip_address("203.0.113.9"), browser=True)
TRACK = {"type": "track", "messageId": "m-1", "userId": "u-1", "event": "Bought", "timestamp": "2026-01-31T08:30:00Z"}


def read(here: RequestContext = HERE, path: str | None = None, /, **call: object) -> Click | Rejection:
    """What the call becomes, less the members that are given as `...`."""
    said = {name: value for name, value in (TRACK | call).items() if value is not ...}
    return Calls(here, path).read(json.dumps(said).encode())


def click(here: RequestContext = HERE, path: str | None = None, /, **call: object) -> Click:
    found = read(here, path, **call)
    assert isinstance(found, Click), found
    return found


def test_a_track_call_is_an_event_of_its_name():
    made = click(
        anonymousId="a-1",
        properties={"price": 9.5, "products": [{"sku": "x"}], "url": "mine"},
        context={
            "ip": "198.51.100.7",
            "userAgent": "Firefox",
            "locale": "de-DE",
            "timezone": "Europe/Berlin",
            "screen": {"width": 1920, "height": 1080, "density": 2},
            "page": {
                "url": "https://shop.example/a?b=c",
                "path": "/a",
                "search": "?b=c",
                "title": "A",
                "referrer": "r",
            },
            "library": {"name": "x", "version": "1"},
        },
        integrations={},
        sentAt="2026-01-31T08:30:01Z",
        channel="web",
        writeKey="key",
    )
    assert made == Click(
        event_id="m-1",
        timestamp=NOW,
        user_id="u-1",
        session_id="a-1",
        page="https://shop.example/a?b=c",
        received_at=NOW,
        source="web",
        type="Bought",
        sent_at=NOW + 1_000,
        referrer="r",
        user_agent="Firefox",
        ip="198.51.100.0",
        title="A",
        properties={
            "price": 9.5,
            "products": '[{"sku":"x"}]',
            "url": "mine",
            "visitor_id": "a-1",
            "language": "de-DE",
            "time_zone": "Europe/Berlin",
            "screen": "1920x1080",
            "context": '{"screen":{"density":2},"library":{"name":"x","version":"1"}}',
            "channel": "web",
        },
    )


def test_an_empty_track_call_has_nothing_that_was_not_said():
    made = click(context={}, properties=None, integrations=[])
    assert made == Click("m-1", NOW, "u-1", "u-1", NOT_SET, NOW, "web", "Bought")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"type": "identify", "traits": {"plan": "pro"}, "event": ...}, ("identify", {"plan": "pro"})),
        ({"type": "identify", "context": {"traits": {"plan": "pro"}}, "event": ...}, ("identify", {"plan": "pro"})),
        (
            {"type": "identify", "context": {"traits": {"a": 1}}, "traits": {"a": 1}, "event": ...},
            ("identify", {"a": 1}),
        ),
        (
            {"type": "identify", "context": {"traits": {"a": 2}}, "traits": {"a": 1}, "event": ...},
            ("identify", {"a": 1, "context": '{"traits":{"a":2}}'}),
        ),
        (
            {"type": "group", "groupId": 7, "traits": {"plan": "pro", "group_id": "x"}, "event": ...},
            ("group", {"plan": "pro", "group_id": "x", "_group_id": "7"}),
        ),
        ({"type": "alias", "previousId": "old", "event": ...}, ("alias", {"previous_id": "old"})),
        ({"type": "page", "event": ...}, (PAGE_VIEW, {})),
        ({"type": "screen", "event": ...}, (PAGE_VIEW, {})),
        ({"type": "track", "traits": {"a": 1}}, ("Bought", {"traits": '{"a":1}'})),
        ({"context": {"traits": {"a": 1}}}, ("Bought", {"context": '{"traits":{"a":1}}'})),
        ({"properties": [], "context": []}, ("Bought", {})),
        ({"context": {"screen": {"width": 1.5}}}, ("Bought", {"context": '{"screen":{"width":1.5}}'})),
        ({"context": {"ip": 7, "locale": None}}, ("Bought", {"context": '{"ip":7,"locale":null}'})),
        ({"context": {"page": "x"}}, ("Bought", {"context": '{"page":"x"}'})),
        ({"properties": {"context": 1}, "context": {"app": {}}}, ("Bought", {"context": 1, "_context": '{"app":{}}'})),
        ({"user_id": "x", "properties": {"event_id": "y"}}, ("Bought", {"event_id": "y", "user_id": "x"})),
    ],
)  # fmt: skip
def test_each_kind_keeps_what_has_no_field(call, expected):
    made = click(**call)
    assert (made.type, made.properties) == expected


URL = "https://shop.example/a"


@pytest.mark.parametrize(
    ("call", "page", "properties"),
    [
        ({"type": "page", "properties": {"url": URL, "path": "/a", "search": ""}}, URL, {}),
        ({"type": "page", "properties": {"path": "/a"}}, "/a", {}),
        ({"type": "page", "properties": {"url": URL, "path": "/canonical"}}, URL, {"path": "/canonical"}),
        ({"type": "page", "name": "Docs", "category": "help"}, "Docs", {"name": "Docs", "category": "help"}),
        ({"type": "page", "name": "D", "properties": {"name": "D", "url": URL}}, URL, {"name": "D"}),
        ({"type": "page", "context": {"page": {"url": URL}}}, URL, {}),
        ({"type": "page", "context": {"page": {"url": URL}}, "properties": {"url": "/b"}}, "/b",
         {"context": f'{{"page":{{"url":"{URL}"}}}}'}),
        ({"type": "screen", "name": "Cart", "properties": {"url": URL}}, "Cart", {"url": URL, "name": "Cart"}),
        ({"type": "screen", "properties": {"name": "Cart"}}, "Cart", {"name": "Cart"}),
        ({"properties": {"url": "/not/this"}}, NOT_SET, {"url": "/not/this"}),
        ({"name": "x"}, NOT_SET, {"name": "x"}),
    ],
)  # fmt: skip
def test_the_page_is_where_it_happened(call, page, properties):
    made = click(**{"event": ...} | call if "type" in call else call)
    assert (made.page, made.properties) == (page, properties)


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("/a", "/a?utm_campaign=Spring%20%26%20co&utm_source=mail"),
        ("https://s.example/a?b=c#d", "https://s.example/a?b=c&utm_campaign=Spring%20%26%20co&utm_source=mail#d"),
        ("/a?utm_source=own", "/a?utm_source=own"),
        ("Cart", "Cart"),
    ],
)
def test_a_campaign_is_where_the_enrichment_looks_for_it(url, page):
    campaign = {"name": "Spring & co", "source": "mail", "id": "7"}
    made = click(context={"page": {"url": url}, "campaign": dict(campaign)})
    assert made.page == page
    left = {"id": "7"} if page.startswith(("/a?utm_c", "https")) else campaign
    assert json.loads(made.properties["context"]) == {"campaign": left}


@pytest.mark.parametrize(
    ("context", "about", "address"),
    [
        (HERE, {}, None),
        (BROWSER, {}, "203.0.113.0"),
        (HERE, {"device": {"model": "x"}}, "203.0.113.0"),
        (HERE, {"ip": "198.51.100.7"}, "198.51.100.0"),
        (BROWSER, {"ip": "0.0.0.0"}, "0.0.0.0"),
        (HERE, {"ip": "nonsense"}, None),
    ],
)
def test_the_address_of_a_server_is_no_visitors(context, about, address):
    assert click(context, context=about).ip == address


@pytest.mark.parametrize(
    ("call", "ids"),
    [
        ({}, ("u-1", "u-1", None)),
        ({"anonymousId": "a"}, ("u-1", "a", "a")),
        ({"userId": None, "anonymousId": "a"}, ("a", "a", "a")),
        ({"userId": "", "anonymousId": "a"}, ("a", "a", "a")),
        ({"userId": 42, "anonymousId": 7}, ("42", "7", "7")),
        ({"anonymousId": "a", "context": {"sessionId": 1_685_443_201}}, ("u-1", "1685443201", "a")),
        ({"context": {"sessionId": "s"}}, ("u-1", "s", None)),
    ],
)
def test_the_user_is_who_is_known_else_the_visitor(call, ids):
    made = click(**call)
    assert (made.user_id, made.session_id, made.properties.get("visitor_id")) == ids


def test_a_message_id_that_is_too_long_is_told_apart_by_its_digest():
    one, other = "m" * 64 + "1", "m" * 64 + "2"
    first, second = click(messageId=one), click(messageId=other)
    assert click(messageId="m" * 64).event_id == "m" * 64
    assert len(first.event_id) == len(second.event_id) == 64
    assert first.event_id != second.event_id
    assert first == click(messageId=one)
    assert first.properties == {"message_id": one}


def test_without_a_message_id_each_call_counts():
    call = json.dumps(TRACK | {"messageId": None}).encode()
    calls = [
        Calls(RequestContext("web", NOW, nonce=nonce)).read(call, number)
        for nonce, number in ((b"a", 0), (b"b", 0), (b"a", 1), (b"a", 0))
    ]
    ids = [each.event_id for each in calls]
    assert len(set(ids)) == 3
    assert ids[0] == ids[3]


@pytest.mark.parametrize(
    ("call", "times"),
    [
        ({"timestamp": "2026-01-31T08:30:00.5+00:00"}, (NOW + 500, None)),
        ({"timestamp": None, "originalTimestamp": iso_time(NOW - 5)}, (NOW - 5, None)),
        ({"timestamp": iso_time(NOW - 9), "originalTimestamp": iso_time(NOW - 5)}, (NOW - 9, None)),
        ({"timestamp": None, "sentAt": iso_time(NOW - 7)}, (NOW - 7, NOW - 7)),
        ({"timestamp": None}, (NOW, None)),
    ],
)
def test_it_happened_when_the_client_says(call, times):
    made = click(**call)
    assert (made.timestamp, made.sent_at) == times


@pytest.mark.parametrize(
    ("call", "code", "path"),
    [
        ({"type": None}, Code.MISSING_FIELD, "$.type"),
        ({"type": 7}, Code.WRONG_TYPE, "$.type"),
        ({"type": "delete"}, Code.UNKNOWN_TYPE, "$.type"),
        ({"event": None}, Code.MISSING_FIELD, "$.event"),
        ({"event": ""}, Code.EMPTY, "$.event"),
        ({"event": {}}, Code.WRONG_TYPE, "$.event"),
        ({"event": "x" * 257}, Code.TOO_LONG, "$.event"),
        ({"userId": None}, Code.MISSING_FIELD, "$.userId"),
        ({"userId": {}}, Code.WRONG_TYPE, "$.userId"),
        ({"userId": 1.5}, Code.WRONG_TYPE, "$.userId"),
        ({"userId": True}, Code.WRONG_TYPE, "$.userId"),
        ({"userId": 2**63}, Code.INTEGER_OUT_OF_RANGE, "$.userId"),
        ({"userId": "u\0"}, Code.BAD_CHARACTER, "$.userId"),
        ({"userId": "u" * 257}, Code.TOO_LONG, "$.userId"),
        ({"messageId": "m\0" * 60}, Code.BAD_CHARACTER, "$.messageId"),
        ({"messageId": ["m"]}, Code.WRONG_TYPE, "$.messageId"),
        ({"context": {"sessionId": []}}, Code.WRONG_TYPE, "$.context.sessionId"),
        ({"context": "x"}, Code.WRONG_TYPE, "$.context"),
        ({"properties": "x"}, Code.WRONG_TYPE, "$.properties"),
        ({"properties": {str(n): n for n in range(65)}}, Code.TOO_MANY_PROPERTIES, "$.properties"),
        ({"properties": {"a": "x" * 8_193}}, Code.TOO_LONG, "$.properties.*"),
        ({"timestamp": "yesterday"}, Code.BAD_TIMESTAMP, "$.timestamp"),
        ({"timestamp": 1_769_848_200}, Code.WRONG_TYPE, "$.timestamp"),
        ({"sentAt": "later"}, Code.BAD_TIMESTAMP, "$.sentAt"),
        ({"type": "group"}, Code.MISSING_FIELD, "$.groupId"),
        ({"type": "alias"}, Code.MISSING_FIELD, "$.previousId"),
        ({"context": {"page": {"url": "/" + "x" * 2_048}}}, Code.TOO_LONG, "$.context.page.url"),
        ({"properties": {"a": [[]] * 20_000}}, Code.EVENT_TOO_LARGE, "$"),
    ],
)
def test_what_is_refused_is_named_as_the_client_wrote_it(call, code, path):
    found = read(**call)
    assert isinstance(found, Rejection), found
    assert (found.code, found.path) == (code, path)


@pytest.mark.parametrize("levels", [17, 900, 16_000])
@pytest.mark.parametrize("place", ["properties", "context", "integrations", "traits"])
def test_what_is_nested_too_deeply_is_refused(place, levels):
    text = json.dumps(TRACK)[:-1].encode() + b',"%b":{"a":' % place.encode() + b"[" * levels + b"]" * levels + b"}}"
    found = Calls(HERE).read(text)
    assert isinstance(found, Rejection)
    assert found.code in {Code.TOO_DEEP, Code.EVENT_TOO_LARGE}


def test_two_deep_traits_are_compared_without_an_error_of_ours():
    deep = "[" * 900 + "]" * 900
    call = f'{{"type":"identify","userId":"u","traits":{{"a":{deep}}},"context":{{"traits":{{"a":{deep}}}}}}}'
    found = Calls(HERE).read(call.encode())
    assert isinstance(found, Rejection)
    assert found.code is Code.TOO_DEEP


def test_the_path_of_a_request_says_what_it_is():
    assert click(HERE, "page").type == PAGE_VIEW
    assert click(HERE, "page").properties == {"event": "Bought", "type": "track"}
    assert click(HERE, "track").properties == {}


# Batches.

spaces = st.text(" \t\r\n", max_size=3).map(str.encode)


@given(
    st.lists(st.tuples((nested | st.just({"a": "\ud83d"})).map(json_of), spaces, spaces),
             min_size=1, max_size=6),
    st.permutations(["batch", "sentAt", "writeKey", "context", "other"]),
    spaces,
)  # fmt: skip
def test_a_batch_gives_back_each_calls_own_bytes_in_any_order_of_its_members(calls, order, space):
    values = {
        "batch": b"[" + b",".join(before + call + after for call, before, after in calls) + b"]",
        "sentAt": b'"2026-01-31T08:30:00Z"',
        "writeKey": rb'"\ud83d\ude00"',
        "context": rb'{"library":{"name":"\ud83d"}}',
        "other": b"[{}]",
    }
    text = space + b"{" + b",".join(space + b'"%b":' % n.encode() + space + values[n] for n in order) + b"}" + space
    batch = parse_segment_batch(text)
    assert isinstance(batch, SegmentBatch), batch
    assert batch == SegmentBatch([call for call, _, _ in calls], NOW, values["context"])


def test_a_batchs_context_and_time_count_for_calls_that_have_none():
    own = TRACK | {"context": {"locale": "fr"}, "sentAt": "2026-01-31T08:30:02Z"}
    text = json.dumps({"batch": [TRACK, own], "context": {"locale": "de", "x": 1}, "sentAt": iso_time(NOW)}).encode()
    batch = parse_segment_batch(text)
    first, second = (reader_of(batch, HERE).read(call, n) for n, call in enumerate(batch.calls))
    assert (first.sent_at, first.properties) == (NOW, {"language": "de", "context": '{"x":1}'})
    assert (second.sent_at, second.properties) == (NOW + 2_000, {"language": "fr", "context": '{"x":1}'})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"{", Code.MALFORMED_JSON),
        (b"[]", Code.WRONG_TYPE),
        (b"{}", Code.MISSING_FIELD),
        (b'{"batch":{}}', Code.WRONG_TYPE),
        (b'{"batch":[]}', Code.EMPTY_BATCH),
        (b'{"batch":[1],"batch":[2]}', Code.REPEATED_FIELD),
        (b'{"batch":[1],"a":1,"a":2}', Code.REPEATED_FIELD),
        (rb'{"batch":[1],"b\u0061tch":[2]}', Code.REPEATED_FIELD),
        (rb'{"b\u0061tch":[1]}', Code.REPEATED_FIELD),
        (b'{"batch":[1],"context":"x"}', Code.WRONG_TYPE),
        (b'{"batch":[1],"context":{"a":1e999}}', Code.NUMBER_OUT_OF_RANGE),
        (b'{"batch":[1],"sentAt":7}', Code.WRONG_TYPE),
        (b'{"batch":[1],"sentAt":"x"}', Code.BAD_TIMESTAMP),
        (b'{"batch":[1],"context":{"a":"' + b"x" * 2_048 + b'"}}', Code.TOO_LONG),
        (b'{"batch":[' + b"1," * 2_500 + b"1]}", Code.TOO_MANY_EVENTS),
        (b'{"batch":' + b"[" * 5_000 + b"]" * 5_000 + b"}", Code.TOO_DEEP),
    ],
)
def test_a_batch_that_cannot_be_taken_apart_is_refused_whole(text, code):
    found = parse_segment_batch(text)
    assert isinstance(found, Rejection), found
    assert found.code is code


def test_a_batch_has_as_many_calls_as_segment_allows():
    assert len(parse_segment_batch(b'{"batch":[' + b"1," * 2_499 + b"1]}").calls) == 2_500


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"writeKey":"wk","batch":[]}', b"wk"),
        (b'{"batch":[{"writeKey":"inner"}]}', None),
        (rb'{"writeKey":"a\/b"}', b"a/b"),
        (b'{"writeKey":7}', None),
        (b'{"writeKey":""}', None),
        (b'{"writeKey":"' + b"x" * 9_000 + b'"}', None),
        (b"[]", None),
    ],
)
def test_the_key_may_be_in_the_body(body, key):
    assert write_key_in_body(body) == key


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (b"Basic d2s6", b"wk"),
        (b"basic  d2s6 ", b"wk"),
        (b"Basic d2s=", b"wk"),
        (b"Basic d2s6cGFzcw==", b"wk"),
        (b"Basic ???", None),
        (b"Basic", b""),
        (b"Bearer d2s6", None),
        (b"", None),
    ],
)
def test_the_key_may_be_a_user_name(header, key):
    assert basic_user(header) == key


def test_each_code_has_a_status_that_the_libraries_know():
    assert set(segment_answers.SEGMENT_STATUS) == set(Code)
    assert set(segment_answers.SEGMENT_STATUS.values()) <= {400, 401, 403, 404, 405, 408, 413, 429, 431, 500, 503}
    assert STATUS[Code.UNKNOWN_KEY] == 403
