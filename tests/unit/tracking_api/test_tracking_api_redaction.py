"""What a pipeline's `privacy` takes out of texts: values of parameters, e-mail addresses, addresses in dead letters."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.clicks import Click
from clickstream.contracts.pipeline import REDACTED, Privacy
from clickstream.tracking_api.redaction import redaction_of
from clickstream.tracking_api.validation.event import RequestContext, parse_event, parse_query
from clickstream.tracking_api.validation.segment import Calls

DEFAULT = redaction_of(Privacy())
LISTED = redaction_of(Privacy(keep_parameters=("q", "Page", "größe")))
OFF = redaction_of(Privacy(redact_parameters=(), redact_emails=False))
SECRET = "s3cr3t-Planted"
GOOD = {"event_id": "e", "timestamp": "2026-01-31T08:30:00Z", "user_id": "u", "session_id": "s", "page": "/"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://x.test/a?token=abc&utm_source=x#b", "https://x.test/a?token=&utm_source=x#b"),
        ("/callback#access_token=abc&expires_in=3600", "/callback#access_token=&expires_in=3600"),
        ("/reset?user[email]=a%40b.c&x=1", "/reset?user[email]=&x=1"),
        ("/reset?user%5BE-Mail%5D=a&x=1", "/reset?user%5BE-Mail%5D=&x=1"),
        ("/a?sessionToken=1&b=2", "/a?sessionToken=&b=2"),
        ("/a?X-Amz-Signature=1&b=2", "/a?X-Amz-Signature=&b=2"),
        ("/a&amp;token=1&amp;b=2", "/a&amp;token=&amp;b=2"),
        ("/x;jsessionid=AA/b?c=1", "/x;jsessionid=/b?c=1"),
        ("/a?password=a%26b&c=1", "/a?password=&c=1"),
        ("/a?password=a/b?c;d=e&f=1", "/a?password=&f=1"),
        ("/a?next=https%3A%2F%2Fx%2F%3Ftoken%3Dabc%26b%3D1&c=2", "/a?next=https%3A%2F%2Fx%2F%3Ftoken%3D%26b%3D1&c=2"),
        ("/a?next=%252Fx%253Fpassword%253Da%25252526%2526b%26c=1", "/a?next=%252Fx%253Fpassword%253D%2526b%26c=1"),
        ("see https://x.test/?token=abc now", "see https://x.test/?token= now"),
        ("/p?tokenization=1&keyword=2&page=3&emailed=4", "/p?tokenization=1&keyword=2&page=3&emailed=4"),
        ("/token=1/a", "/token=1/a"),
        ("/u/jane.doe@example.org/x", "/u/@example.org/x"),
        ("/u/jane.doe%40example.org?b=1", "/u/%40example.org?b=1"),
        ("/u?q=hi%20jane@example.org", "/u?q=hi%20@example.org"),
        ("/u?q=hi%2520jane%2540example.org", "/u?q=hi%2520%2540example.org"),
        ("Inbox (jane@example.com)", "Inbox (@example.com)"),
        ("mailto:jane@example.com", "mailto:@example.com"),
        ("https://medium.com/@user", "https://medium.com/@user"),
        ("/img/logo@2x.png", "/img/logo@2x.png"),
        ("/npm/lodash@4.17.21", "/npm/lodash@4.17.21"),
        ("/maps/@52.52,13.4,12z", "/maps/@52.52,13.4,12z"),
    ],
)
def test_by_default_personal_parameters_and_e_mail_addresses_lose_their_values(given: str, kept: str) -> None:
    assert DEFAULT.text(given) == kept
    assert OFF.text(given) is given


def test_with_a_list_only_its_parameters_and_the_campaign_keep_their_values() -> None:
    given = "/a?q=1&page=2&größe=3&gr%C3%B6%C3%9Fe=4&utm_source=n&gclid=g&fbclid=f&token=5&other=6#x=7"
    assert LISTED.text(given) == (
        "/a?q=1&page=2&größe=3&gr%C3%B6%C3%9Fe=4&utm_source=n&gclid=g&fbclid=f&token=&other=#x="
    )


def test_words_of_a_pipeline_s_own_replace_the_usual_ones() -> None:
    own = redaction_of(Privacy(redact_parameters=("member id",)))
    assert own.text("/a?memberId=1&x_member-ID=2&member=3&token=4") == "/a?memberId=&x_member-ID=&member=3&token=4"


@pytest.mark.parametrize("word", REDACTED)
def test_each_usual_word_is_found_alone_and_within_a_name(word: str) -> None:
    for name in (
        word,
        word.upper(),
        f"user[{word}]",
        f"my-{word}",
        f"{word}.x",
        f"user{word.title().replace('_', '')}",
    ):
        assert DEFAULT.text(f"/a?{name}={SECRET}") == f"/a?{name}="


def encoded(text: str, times: int) -> str:
    for _ in range(times):
        text = quote(text, safe="")
    return text


PIECES = st.sampled_from(
    ["/a", "?", "&", "#", ";", "=", "%", "%25", "%26", "%3F", "%3D", "\\", '"', " ", "é", "@", "x.y"]
)
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join)


@given(TEXTS, st.sampled_from("?&#"), st.integers(0, 4), st.sampled_from(REDACTED), TEXTS)
def test_a_secret_does_not_survive_wherever_its_url_lies(
    before: str, separator: str, times: int, word: str, after: str
) -> None:
    text = before + encoded(f"{separator}{word}={SECRET}", times) + after
    for redaction in (DEFAULT, LISTED):
        assert SECRET not in redaction.text(text)
    for kept in (
        DEFAULT.original(text.encode("latin-1", "replace"), ()),
        DEFAULT.original(text.encode(), ()),
    ):
        assert SECRET.encode() not in kept


@given(TEXTS, TEXTS)
def test_an_e_mail_address_in_a_url_does_not_survive(before: str, after: str) -> None:
    # What stands before it may look like a part of it.
    assert "jane.doe@" not in DEFAULT.text(f"/{before}/jane.doe@planted.example/{after}")
    assert "jane.doe%40" not in DEFAULT.text(f"/{before}/jane.doe%40planted.example/{after}")


@given(TEXTS)
def test_nothing_becomes_longer_and_a_second_time_changes_nothing(text: str) -> None:
    for redaction in (DEFAULT, LISTED):
        once = redaction.text(text)
        assert len(once) <= len(text)
        assert redaction.text(once) == once
        agent = redaction_of(Privacy(reduce_user_agent=True)).user_agent(text)
        assert len(agent) <= len(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS | st.just(f"/a?token={SECRET}"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def shape(value: object) -> object:
    """A JSON value with neither the values nor the names of texts."""
    if isinstance(value, dict):
        return [shape(each) for each in value.values()]
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


@given(st.dictionaries(TEXTS, JSON, max_size=4), st.booleans(), st.sampled_from([None, 1]))
def test_json_stays_json_of_the_same_shape(value: dict[str, object], ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(
        {str(number): each for number, each in enumerate(value.values())}, ensure_ascii=ascii_only, indent=indent
    )
    for sent in (text, text.replace("&", "\\u0026"), text.replace("/", "\\/")):
        kept = DEFAULT.original(sent.encode(), ())
        assert shape(json.loads(kept)) == shape(json.loads(text))
        assert SECRET.encode() not in kept


@given(st.binary(max_size=200))
def test_bytes_that_are_no_text_are_kept(data: bytes) -> None:
    data = data.replace(b"=", b"-").replace(b"3d", b"--").replace(b"3D", b"--").replace(b"@", b"-").replace(b"40", b"-")
    assert DEFAULT.original(data, ()) == data


def test_a_query_string_that_is_refused_loses_what_its_fields_would() -> None:
    link = quote(json.dumps({"link": f"https://x.test/jane@planted.example?token={SECRET}"}))
    sent = (
        f"session_id=s&token={SECRET}&page=%2Fa%3Ftoken%3D{SECRET}&properties={link.replace('%20', '+')}&other={link}"
    )
    kept = DEFAULT.original(sent.encode(), {"session_id"})
    assert kept.startswith(b"session_id=s&token=&page=%2Fa%3Ftoken%3D&"), "the event's own fields stay"
    assert b"session_id=&" in DEFAULT.original(b"page=/?session_id=s&x=1", {"session_id"})
    assert SECRET.encode() not in kept
    assert b"jane" not in kept
    assert kept.count(b"planted.example") == 2


def test_a_dead_letter_s_address_is_kept_as_clicks_keep_it() -> None:
    def kept(data: bytes, **privacy: bool) -> bytes:
        return redaction_of(Privacy(**privacy)).original(data, ())

    assert kept(b'{"ip" : "203.0.113.77","a":1}') == b'{"ip" : "203.0.113.0","a":1}'
    assert kept(b'{"context":{"ip":"2001:db8::1"}}') == b'{"context":{"ip":"2001:db8::"}}'
    assert kept(b"page=%2F&ip=203.0.113.77&a=1") == b"page=%2F&ip=203.0.113.0&a=1"
    assert kept(b'{"ip":"203.0.113.77"}', anonymize_ip=False) == b'{"ip":"203.0.113.77"}'
    assert kept(b'{"ip":"203.0.113.77"}', keep_ip=False, anonymize_ip=False) == b'{"ip":""}'
    assert kept(b'{"ip":"10 Downing Street"}') == b'{"ip":""}'


@pytest.mark.parametrize(
    ("agent", "reduced"),
    [
        (
            "Mozilla/5.0 (Windows NT 6.1; Win64) AppleWebKit/537.36 (KHTML) Chrome/120.0.6099.71 Safari/537.36",
            "Mozilla/5.0 (Windows NT 6.1; Win64) AppleWebKit/537.0 (KHTML) Chrome/120.0 Safari/537.0",
        ),
        (
            "Mozilla/5.0 (Linux; Android 13; Pixel 7 Build/TQ3A.230805.001; wv) Version/4.0 Chrome/116.0.0.0",
            "Mozilla/5.0 (Linux; Android 13; Pixel 7; wv) Version/4.0 Chrome/116.0",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1_2 like Mac OS X)",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17.0 like Mac OS X)",
        ),
        ("curl/8.5.0", "curl/8.0"),
        ("Python", "Python"),
    ],
)
def test_a_user_agent_may_be_reduced_to_main_versions(agent: str, reduced: str) -> None:
    assert redaction_of(Privacy(reduce_user_agent=True)).user_agent(agent) == reduced
    assert DEFAULT.user_agent(agent) == agent


def test_every_text_of_an_event_is_looked_through_and_ids_stay() -> None:
    url = f"https://shop.example/a?token={SECRET}&b=1"
    event = GOOD | {
        "user_id": "jane@example.org",
        "page": url,
        "referrer": url,
        "title": f"Inbox jane@example.org {url}",
        "user_agent": f"X {url}",
        "properties": {"link": url, "mail": "mailto:jane@example.org", "email": "jane@example.org", "n": 1},
        "unknown": {"url": url},
    }
    context = RequestContext(source="web", received_at=0, redaction=DEFAULT)
    clicks = [
        parse_event(json.dumps(event).encode(), context),
        parse_query(
            "&".join(f"{n}={quote(v if isinstance(v, str) else json.dumps(v))}" for n, v in event.items()).encode(),
            context,
        ),
    ]
    for click in clicks:
        assert isinstance(click, Click)
        kept = "https://shop.example/a?token=&b=1"
        assert (click.page, click.referrer, click.title) == (kept, kept, f"Inbox @example.org {kept}")
        assert click.user_id == "jane@example.org"
        assert click.properties["link"] == kept
        assert click.properties["mail"] == "mailto:@example.org"
        assert click.properties["email"] == "jane@example.org", "the site itself says so"
        assert SECRET not in repr(click)


def test_so_is_every_text_of_a_call() -> None:
    url = f"https://shop.example/a?token={SECRET}&b=1"
    call = {
        "type": "page",
        "userId": "u",
        "properties": {"url": url, "link": url, "referrer": url},
        "context": {
            "page": {"url": url, "search": f"?token={SECRET}"},
            "library": {"url": url},
            "userAgent": f"X {url}",
        },
        "integrations": {"x": url},
    }
    click = Calls(RequestContext(source="web", received_at=0, redaction=DEFAULT)).read(json.dumps(call).encode())
    assert isinstance(click, Click)
    assert click.page == "https://shop.example/a?token=&b=1"
    assert SECRET not in repr(click)
