"""What is accepted, in which forms, and what of it is in Kafka afterwards."""

from __future__ import annotations

import gzip
import time
from urllib.parse import urlencode

import msgspec
import pytest

from clickstream.contracts.times import parse_rfc3339
from clickstream.runtime.listening import EVERYWHERE

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36"
GIF = b"GIF89a"


def test_an_event_is_in_kafka_as_it_was_sent_when_the_answer_comes(api, clicks, event):
    before = time.time_ns() // 1_000_000
    sent = event(
        user_id="Zoë",
        type="add_to_cart",
        title="Cast Iron Skillet",
        referrer="https://www.google.com/",
        sent_at="2026-01-31T09:30:00.5+01:00",
        properties={"price": 68.5, "pieces": 2, "gift": False, "note": None, "name": "日本語 👍"},
    )
    answer = api.post(sent, User_Agent=CHROME, Origin="https://shop.example")
    [message] = clicks.new()
    click = msgspec.json.decode(message.value())

    assert (answer.status, answer.json) == (202, {"accepted": 1})
    assert message.key() == "Zoë".encode()
    received_at = click.pop("received_at")
    assert before <= received_at <= time.time_ns() // 1_000_000
    assert click == {
        "event_id": sent["event_id"],
        "timestamp": parse_rfc3339("2026-01-31T08:30:00Z"),
        "sent_at": parse_rfc3339("2026-01-31T08:30:00.5Z"),
        "user_id": "Zoë",
        "session_id": "s-1",
        "page": "https://shop.example/products/item-7",
        "source": "web",
        "type": "add_to_cart",
        "title": "Cast Iron Skillet",
        "referrer": "https://www.google.com/",
        "user_agent": CHROME,
        "ip": "127.0.0.0",
        "properties": sent["properties"],
    }


def test_clicks_of_a_pipeline_that_groups_by_session_are_keyed_by_session(start_api, read, event):
    api = start_api(enricher={"groupBy": "session_id"})
    assert api.post(event(session_id="the session")).status == 202
    assert [message.key() for message in read(api, "raw_clicks").new()] == [b"the session"]


FORMS = [
    ("as text/plain with the key in the query, like a beacon", {"Content-Type": "text/plain;charset=UTF-8"},
     "?key=wk-web", bytes),
    ("with a charset", {"Content-Type": 'Application/JSON; charset="utf-8"', "X-Write-Key": "wk-web"}, "", bytes),
    ("compressed", {"Content-Type": "application/json", "Content-Encoding": "gzip", "X-Write-Key": "wk-web"}, "",
     gzip.compress),
    ("with identity", {"Content-Type": "application/json", "Content-Encoding": "Identity", "X-Write-Key": "wk-web"},
     "", bytes),
    ("with a byte order mark", {"Content-Type": "application/json", "X-Write-Key": "wk-web"}, "",
     lambda body: b"\xef\xbb\xbf" + body),
    ("with space around", {"Content-Type": "application/json", "X-Write-Key": "wk-web"}, "",
     lambda body: b"\r\n " + body + b"\n"),
    ("from an allowed page", {"Content-Type": "text/plain", "Origin": "https://shop.example"}, "?a=b&key=wk%2Dweb",
     bytes),
    ("from any page", {"Content-Type": "text/plain", "Origin": "null"}, "?key=wk-any", bytes),
    ("from a server", {"Content-Type": "application/json", "X-Write-Key": "wk-server"}, "", bytes),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "query", "form"), [row[1:] for row in FORMS], ids=[row[0] for row in FORMS])
@pytest.mark.parametrize("batch", [False, True], ids=["one event", "a batch"])
def test_an_event_may_come(api, clicks, event, headers, query, form, batch):
    sent = event()
    body = msgspec.json.encode({"events": [sent]} if batch else sent)
    answer = api.request("POST", f"/v1/events{'/batch' if batch else ''}{query}", form(body), headers)

    assert answer.status == 202, answer
    assert answer.json == ({"accepted": 1, "rejected": []} if batch else {"accepted": 1})
    assert [click.event_id for click in clicks.clicks()] == [sent["event_id"]]


@pytest.mark.parametrize(
    ("version", "header", "body"),
    [
        ("1.0", b"Content-Length: %d", b"%b"),
        ("1.1", b"Host: x\r\nExpect: 100-continue\r\nContent-Length: %d", b"%b"),
        ("1.1", b"Host: x\r\nTransfer-Encoding: chunked\r\nX-Length: %d", b"1\r\n{\r\n%x\r\n%b\r\n0\r\n\r\n"),
    ],
    ids=["HTTP/1.0 without Host", "asking first", "in chunks"],
)
def test_an_event_may_come_by_any_http(api, clicks, event, version, header, body):
    text = msgspec.json.encode(event())
    sent = body % (len(text) - 1, text[1:]) if b"%x" in body else body % text
    head = f"POST /v1/events?key=wk-web HTTP/{version}\r\nContent-Type: text/plain\r\nConnection: close\r\n".encode()
    answer = api.raw(head + header % len(text) + b"\r\n\r\n" + sent)
    assert b" 202 Accepted\r\n" in answer
    assert len(clicks.clicks()) == 1


@pytest.mark.parametrize(
    ("query", "field", "kept"),
    [
        (b"user_id=dGVzdA==", "user_id", "dGVzdA=="),
        (b"page=%2Fa%2Bb+c%20d", "page", "/a+b c d"),
        (b"title=caf%C3%A9", "title", "café"),
        (b"title=100%", "title", "100%"),
        (b"title=%zz", "title", "%zz"),
        (b"title=a%2525b", "title", "a%25b"),
        (b"page=/D%C3%BCfte/index16.html", "page", "/Düfte/index16.html"),
    ],
)
def test_a_value_of_a_pixel_is_decoded_once(api, clicks, query, field, kept):
    names = (
        ("event_id", "e"),
        ("timestamp", "2026-01-31T08:30:00Z"),
        ("user_id", "u"),
        ("session_id", "s"),
        ("page", "/"),
    )
    rest = "&".join(f"{name}={value}" for name, value in names if name != field)
    answer = api.request("GET", f"/v1/pixel.gif?key=wk-web&{query.decode()}&{rest}")
    assert (answer.status, answer.headers["content-type"], answer.headers["cache-control"]) == (
        200,
        "image/gif",
        "no-store",
    )
    [click] = clicks.clicks()
    assert getattr(click, field) == kept


FIELDS = [
    ("a lone surrogate", rb'"title":"cut \ud83d here"', {"title": "cut \ufffd here"}),
    ("a surrogate pair", rb'"title":"\ud83d\ude00"', {"title": "\U0001f600"}),
    ("a backslash before ud83d", rb'"title":"\\ud83d"', {"title": "\\ud83d"}),
    ("surrogates in the wrong order", rb'"title":"\ude00\ud83d"', {"title": "\ufffd\ufffd"}),
    ("NUL in a string", rb'"title":"a\u0000b"', {"title": "a\ufffdb"}),
    ("NUL in a property's name", rb'"properties":{"a\u0000":"\u0000"}', {"properties": {"a\ufffd": "\ufffd"}}),
    ("null for what is optional", b'"title":null,"type":null,"properties":null,"sent_at":null,"ip":null', {}),
    ("an empty referrer", b'"referrer":"","title":"","type":"","user_agent":""', {}),
    ("an unknown scalar", b'"plan":"pro","age":7,"ok":true,"none":null', {"properties": {"plan": "pro", "age": 7,
                                                                                         "ok": True, "none": None}}),
    ("an unknown object", b'"cart": { "items" : [1, "x\\u0000"] }',
     {"properties": {"cart": '{"items":[1,"x\ufffd"]}'}}),
    ("an unknown field whose name is taken", b'"a":1,"properties":{"a":2,"_a":3}', {"properties": {"a": 2, "_a": 3,
                                                                                                   "__a": 1}}),
    ("16 levels", b'"deep":' + b"[" * 15 + b"]" * 15, {"properties": {"deep": "[" * 15 + "]" * 15}}),
    ("the largest integers", b'"properties":{"a":9223372036854775807,"b":-9223372036854775808}',
     {"properties": {"a": 2**63 - 1, "b": -(2**63)}}),
    ("a large float", b'"properties":{"a":1e300}', {"properties": {"a": 1e300}}),
    ("a leap second", b'"sent_at":"2026-06-30T23:59:60Z"', {"sent_at": parse_rfc3339("2026-07-01T00:00:00Z")}),
    ("a long user agent is cut", b'"user_agent":"' + "é".encode() * 600 + b'"', {"user_agent": "é" * 512}),
    ("a repeated member: the last one counts", b'"title":"first","title":"last"', {"title": "last"}),
    ("markup", b'"title":"<script>alert(1)</script>"', {"title": "<script>alert(1)</script>"}),
]  # fmt: skip


@pytest.mark.parametrize(("members", "kept"), [row[1:] for row in FIELDS], ids=[row[0] for row in FIELDS])
def test_a_field_is_kept(api, clicks, event, members, kept):
    body = msgspec.json.encode(event())[:-1] + b"," + members + b"}"
    assert api.post(body).status == 202
    [click] = clicks.clicks()

    expected = {"title": None, "referrer": None, "type": "page_view", "properties": {}, "sent_at": None} | kept
    assert {name: getattr(click, name) for name in expected} == expected


def test_the_limits_themselves_are_allowed(api, clicks, event):
    largest = event(
        event_id="é" * 32,
        user_id="u" * 256,
        session_id="s" * 256,
        page="p" * 2048,
        type="t" * 256,
        title="t" * 8192,
        referrer="r" * 8192,
        properties={f"{n:0256}": n for n in range(30)} | {"v": "v" * 2000},
    )
    small = [event(properties={str(n): n for n in range(64)}) for _ in range(499)]
    body = msgspec.json.encode({"events": [largest, *small]})
    body += b" " * (524_288 - len(body))

    assert api.post(body, "/v1/events/batch").json == {"accepted": 500, "rejected": []}
    assert len(clicks.clicks()) == 500


def test_the_sent_at_of_a_batch_counts_where_an_event_has_none(api, clicks, event):
    events = [event(event_id="own", sent_at="2026-01-31T08:00:01Z"), event(event_id="none")]
    api.post({"events": events, "sent_at": "2026-01-31T08:00:02Z"}, "/v1/events/batch")

    sent_at = {click.event_id: click.sent_at for click in clicks.clicks()}
    assert sent_at == {"own": parse_rfc3339("2026-01-31T08:00:01Z"), "none": parse_rfc3339("2026-01-31T08:00:02Z")}


def test_a_pixel_is_an_image_and_its_query_an_event(api, clicks, event):
    fields = event(title="a b+c é", page="/mail?x=1&y=2", properties='{"n": 1, "s": "\\ud83d"}', campaign="spring")
    answer = api.request("GET", f"/v1/pixel.gif?key=wk-web&{urlencode(fields)}", headers={"User-Agent": CHROME})
    [click] = clicks.clicks()

    assert (answer.status, answer.body[:6], answer.headers["content-type"]) == (200, GIF, "image/gif")
    assert answer.headers["cache-control"] == "no-store"
    assert (click.event_id, click.title, click.page) == (fields["event_id"], "a b+c é", "/mail?x=1&y=2")
    assert click.properties == {"n": 1, "s": "\ufffd", "campaign": "spring"}
    assert click.user_agent == CHROME


def test_head_answers_as_get_does_and_records_nothing(api, clicks, letters, event):
    query = f"key=wk-web&{urlencode(event())}"
    before = api.metrics()
    head = api.request("HEAD", f"/v1/pixel.gif?{query}", headers={"Origin": "https://shop.example"})
    bad = api.request("HEAD", "/v1/pixel.gif?key=wk-web&page=/")
    unknown = api.request("HEAD", "/v1/pixel.gif?key=no")
    counted = {name: value for name, value in api.metrics().items() if "_events_" in name or "dead_letters" in name}
    assert counted == {name: before[name] for name in counted}
    assert (head.body, bad.body, clicks.new(), letters.new()) == (b"", b"", [], [])
    get = api.request("GET", f"/v1/pixel.gif?{query}", headers={"Origin": "https://shop.example"})
    assert (head.status, bad.status, unknown.status) == (200, 422, 403)
    assert head.headers.keys() == get.headers.keys()
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}
    for path in ("/healthz", "/readyz", "/tracker.js"):
        get, head = api.request("GET", path), api.request("HEAD", path)
        assert (head.status, head.headers["content-length"], head.body) == (200, get.headers["content-length"], b"")


# (headers, target, the click's user agent)
USER_AGENTS = [
    ("a server", {}, "/v1/events", None),
    ("a server with a Referer", {"Referer": "https://shop.example/"}, "/v1/events", None),
    ("a page of another origin", {"Origin": "https://shop.example"}, "/v1/events", CHROME),
    ("a page of its own origin", {"Sec-Fetch-Site": "same-origin"}, "/v1/events", CHROME),
    ("an image", {}, "/v1/pixel.gif", CHROME),
]


@pytest.mark.parametrize(
    ("headers", "target", "kept"), [row[1:] for row in USER_AGENTS], ids=[r[0] for r in USER_AGENTS]
)
def test_the_header_is_the_visitors_user_agent_only_where_a_browser_sent_it(api, clicks, event, headers, target, kept):
    headers = {"User-Agent": CHROME, "Content-Type": "text/plain"} | headers
    if target == "/v1/pixel.gif":
        assert api.request("GET", f"{target}?key=wk-web&{urlencode(event())}", headers=headers).status == 200
    else:
        assert api.request("POST", f"{target}?key=wk-web", msgspec.json.encode(event()), headers).status == 202
    assert [click.user_agent for click in clicks.clicks()] == [kept]


SECRET = "https://user:S3cret@host/"
WITH_SECRETS = {
    "page": SECRET, "referrer": SECRET, "title": f"see {SECRET}", "type": SECRET, "user_agent": f"bot (+{SECRET})",
    "properties": {"a": SECRET, SECRET: 1, "b": "/?u=https%3A%2F%2Fuser%3AS3cret%40host"},
    "unknown": {"deep": [SECRET]},
}  # fmt: skip


def test_no_credentials_of_a_url_reach_kafka_in_clicks_or_dead_letters(api, clicks, letters, event):
    good = event(**WITH_SECRETS)
    bad = event(event_id=..., **WITH_SECRETS)
    broken = msgspec.json.encode(bad)[:-1]
    escaped = msgspec.json.encode(bad).replace(b"/", b"\\/")
    query = urlencode({name: str(value) for name, value in good.items()} | {"properties": "{}"})
    pixel = "/v1/pixel.gif?key=wk-web&"
    assert api.post(good).status == 202
    assert api.post({"events": [good, bad]}, "/v1/events/batch").status == 202
    assert api.request("GET", pixel + query).status == 200
    for body in (msgspec.json.encode(bad), escaped, broken):
        assert api.post(body).status in {400, 422}
        assert api.post(gzip.compress(body), Content_Encoding="gzip").status in {400, 422}
        assert api.post(body, Content_Type="text/csv").status == 415
    assert api.request("GET", pixel + query.replace("event_id", "event")).status == 422
    large = msgspec.json.encode(good | {"title": SECRET * 2_000})
    assert api.post(large).status == 413

    records = [*clicks.new(), *letters.new()]
    assert len(records) == 3 + 1 + 9 + 1 + 1
    for record in records:
        assert b"S3cret" not in record.value() + repr(record.headers()).encode()
        assert b"host" in record.value()


def test_a_click_is_kept_without_the_end_of_a_query_that_is_too_long(api, clicks, event):
    page = f"https://shop.example/p?session={'x' * 2_040}&utm_source=mail&utm_campaign={'y' * 3_000}"
    assert api.post(event(page=page, referrer=page * 3)).status == 202
    [click] = clicks.clicks()
    assert click.page == "https://shop.example/p?utm_source=mail"
    assert click.referrer.startswith("https://shop.example/p?utm_source=mail&utm_campaign=yyy")


PROXIES = ["127.0.0.0/8", "10.0.0.0/8", "2001:db8:ffff::/48"]
ADDRESSES = [
    ("no proxy header", PROXIES, None, None, "127.0.0.0"),
    ("one hop", PROXIES, "203.0.113.77", None, "203.0.113.0"),
    ("several trusted hops", PROXIES, "203.0.113.77, 10.1.2.3, 10.9.9.9", None, "203.0.113.0"),
    ("an invented first hop", PROXIES, "198.51.100.1, 203.0.113.77, 10.1.2.3", None, "203.0.113.0"),
    ("IPv6", PROXIES, "2001:db8:1:2:3:4:5:6", None, "2001:db8:1::"),
    ("IPv6 with a port behind a trusted one", PROXIES, "[2001:db8:1:2::9]:443, 2001:db8:ffff::1", None, "2001:db8:1::"),
    ("IPv4 written as IPv6", PROXIES, "::ffff:203.0.113.77", None, "203.0.113.0"),
    ("a port", PROXIES, "203.0.113.77:51234", None, "203.0.113.0"),
    ("a word", PROXIES, "unknown", None, "127.0.0.0"),
    ("a word behind which nothing is believed", PROXIES, "198.51.100.1, unknown, 10.1.2.3", None, "10.1.2.0"),
    ("only proxies", PROXIES, "10.1.2.3, 10.1.2.4", None, "10.1.2.0"),
    ("nobody is trusted", [], "203.0.113.77", None, "127.0.0.0"),
    ("somebody else is trusted", ["192.0.2.1"], "203.0.113.77", None, "127.0.0.0"),
    ("the event's own", PROXIES, "203.0.113.77", "198.51.100.200", "198.51.100.0"),
    ("the event's own is none", PROXIES, "203.0.113.77", "localhost", "203.0.113.0"),
]


@pytest.fixture(scope="module")
def apis_by_proxies(start_api, read):
    started = {}

    def get(proxies):
        if tuple(proxies) not in started:
            # As in a pod, on one socket for both families: a peer of IPv4 is written as IPv6.
            api = start_api(host=EVERYWHERE, trackingApi={"trustedProxies": proxies})
            started[tuple(proxies)] = (api, read(api, "raw_clicks"))
        return started[tuple(proxies)]

    return get


@pytest.mark.parametrize(
    ("proxies", "forwarded", "own", "kept"), [row[1:] for row in ADDRESSES], ids=[row[0] for row in ADDRESSES]
)
def test_the_client_address_is_believed_of_trusted_proxies_only_and_anonymized(
    apis_by_proxies, event, proxies, forwarded, own, kept
):
    api, clicks = apis_by_proxies(proxies)
    headers = {} if forwarded is None else {"X_Forwarded_For": forwarded}
    assert api.post(event(ip=own), **headers).status == 202
    assert [click.ip for click in clicks.clicks()] == [kept]


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"Forwarded": 'for="[2001:218::1]:4711";proto=https, for=10.0.0.7'}, "2001:218::"),
        ({"Forwarded": "for=6.6.6.6", "X_Forwarded_For": "203.0.113.77"}, "203.0.113.0"),
        ({"X_Real_IP": "6.6.6.6", "CF_Connecting_IP": "6.6.6.6", "True_Client_IP": "6.6.6.6"}, "127.0.0.0"),
    ],
)
def test_the_standard_header_is_understood_and_other_headers_are_ignored(apis_by_proxies, event, headers, kept):
    api, clicks = apis_by_proxies(PROXIES)
    assert api.post(event(), **headers).status == 202
    assert [click.ip for click in clicks.clicks()] == [kept]


def test_a_pipeline_may_keep_whole_addresses_and_still_drops_them_for_visitors_who_object(start_api, read, event):
    privacy = {"anonymizeIp": False}
    api = start_api(trackingApi={"trustedProxies": ["127.0.0.1"], "privacy": privacy})
    for address, headers in (
        ("203.0.113.77", {}),
        ("::ffff:203.0.113.77", {}),
        ("2001:DB8::0:1", {}),
        ("203.0.113.77", {"Sec_GPC": "1"}),
        ("203.0.113.77", {"DNT": "1"}),
        ("203.0.113.77", {"Sec_GPC": "0", "DNT": "unspecified"}),
    ):
        assert api.post(event(), X_Forwarded_For=address, **headers).status == 202
    kept = sorted(click.ip or "" for click in read(api, "raw_clicks").clicks())
    assert kept == ["", "", "2001:db8::1", "203.0.113.77", "203.0.113.77", "203.0.113.77"]


def test_a_visitor_who_objects_is_anonymous_even_where_the_event_names_an_address(api, clicks, event):
    for headers in ({"Sec_GPC": "1"}, {"DNT": "1"}):
        assert api.post(event(ip="203.0.113.77"), **headers).status == 202
    assert [click.ip for click in clicks.clicks()] == [None, None]


def test_a_pipeline_may_keep_the_addresses_of_visitors_who_object(start_api, read, event):
    api = start_api(trackingApi={"privacy": {"respectGpc": False}})
    for headers in ({"Sec_GPC": "1"}, {"DNT": "1"}):
        assert api.post(event(ip="203.0.113.77"), **headers).status == 202
    assert [click.ip for click in read(api, "raw_clicks").clicks()] == ["203.0.113.0"] * 2


def test_a_sampled_traceparent_travels_on_unchanged_where_nothing_traces(api, clicks, event):
    sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for traceparent in (sampled, sampled[:-1] + "0", "canary"):
        assert api.post(event(event_id=traceparent), traceparent=traceparent).status == 202
    headers = {msgspec.json.decode(m.value())["event_id"]: m.headers() for m in clicks.new()}
    assert headers[sampled] == [("traceparent", sampled.encode())]
    assert not headers[sampled[:-1] + "0"]
    assert not headers["canary"]


def test_accepted_events_are_counted_by_source(api, event):
    before = api.metrics()
    api.post({"events": [event(), event(), {}]}, "/v1/events/batch", X_Write_Key="wk-server")
    after = api.metrics()
    name = 'clickstream_events_accepted_total{source="server"}'
    assert after[name] - before.get(name, 0) == 2
    assert after['clickstream_http_request_duration_seconds_count{route="POST /v1/events/batch",status="202"}'] >= 1
    assert after["clickstream_producer_queue_records"] == 0
