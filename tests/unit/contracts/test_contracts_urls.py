"""Credentials in URLs are cut out of texts, wherever the URLs are and however they are written, and nothing else is."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.urls import bytes_without_credentials, without_credentials

CUT = [
    ("http://user:secret@host/", "http://host/"),
    ("https://token@host/path?q=1#f", "https://host/path?q=1#f"),
    ("https://:secret@host", "https://host"),
    ("https://user:@host", "https://host"),
    ("ftp://user:se:cr:et@host/", "ftp://host/"),
    ("postgres://user:p@ss@host:5432/db", "postgres://host:5432/db"),
    ("https://user:p%40%2Fss@host/", "https://host/"),
    ("https://user:secret@[2001:db8::1]:8443/", "https://[2001:db8::1]:8443/"),
    ("https://user:sécret@host/", "https://host/"),
    ("https://user:{se|cr}[e]t^@host/", "https://host/"),
    ("see http://a:b@host/ and https://c:d@host/", "see http://host/ and https://host/"),
    ("https://shop.example/?next=https://user:secret@host/", "https://shop.example/?next=https://host/"),
    ("/login?next=https%3A%2F%2Fuser%3Asecret%40host%2F&a=b", "/login?next=https%3A%2F%2Fhost%2F&a=b"),
    ("/login?next=https%3a%2f%2fuser%3asecret%40host%2f", "/login?next=https%3a%2f%2fhost%2f"),
    ("/login?next=https%3A//user%3Asecret%40host/", "/login?next=https%3A//host/"),
    ("/login?next=https:%2F%2Fuser:secret%40host%2F", "/login?next=https:%2F%2Fhost%2F"),
    ("/login?next=https%3A%2F%2Fuser%3Ase%252Fcr%2540et%40host", "/login?next=https%3A%2F%2Fhost"),
    ("/?a=%253A%252F%252Fuser%253Asecret%2540host%252F", "/?a=%253A%252F%252Fhost%252F"),
    (r'{"page":"https:\/\/user:secret@host\/"}', r'{"page":"https:\/\/host\/"}'),
    (r'{"page":"https:\u002f\u002Fuser:secret\u0040host/"}', r'{"page":"https:\u002f\u002Fhost/"}'),
    (r'{"page":"https://user:secret\u0040host/"}', r'{"page":"https://host/"}'),
    ('{"page":"https://user:secret@host/","user":"me@host"}', '{"page":"https://host/","user":"me@host"}'),
]

KEPT = [
    "https://medium.com/@user",
    "https://medium.com?@user",
    "https://medium.com#@user",
    "https%3A%2F%2Fmedium.com%2F%40user",
    "https%3A%2F%2Fmedium.com%3Fmail%3Dme%40example.org",
    "/share?u=https%3A%2F%2Fmedium.com&mail=me%40example.org",
    "/?next=https%3A%2F%2Fa%3Fu%3Dhttps%253A%252F%252Fhost%26mail%3Dme%2540example.org",
    "me@example.org",
    "mailto:me@example.org?subject=http://example.org",
    "https://example.org/?mail=me@example.org",
    "https://example.org/?a=1&mail=me%40example.org",
    "https://example.org mail me@example.org",
    '["https://example.org","me@example.org"]',
    "/@user//x@y",
    "10:30 // me@example.org",
    "git@github.com:owner/name",
    "android-app://com.slack/",
    "",
]


@pytest.mark.parametrize(("text", "kept"), CUT)
def test_credentials_are_cut(text, kept):
    assert without_credentials(text) == kept
    assert bytes_without_credentials(text.encode()) == kept.encode()


@pytest.mark.parametrize("text", KEPT)
def test_what_holds_no_credentials_is_the_same_text(text):
    assert without_credentials(text) == text
    assert bytes_without_credentials(text.encode()) == text.encode()


hosts = st.sampled_from(["host", "shop.example:8443", "[::1]", "xn--bcher-kva.example"])
paths = st.sampled_from(["", "/", "/@me/a@b", "?mail=me@example.org", "#@", "/a:b//c@d"])
# Every character that a user or a password may be written with in a URL, and those that must be encoded there.
written = st.text(st.characters(min_codepoint=33, exclude_characters='/?#"\\', exclude_categories=["Cs"]), max_size=12)
secrets = written.map(lambda text: f"S3{text}3S")
encoders = st.sampled_from(
    [
        lambda text: text,
        lambda text: quote(text, safe=""),
        quote,  # leaves slashes as they are
        lambda text: quote(text, safe=":"),
        quote_plus,
        lambda text: quote(quote(text, safe=""), safe=""),
        lambda text: quote(quote(quote(text, safe=""), safe=""), safe=""),
    ]
)


@given(
    st.sampled_from(["http", "https", "ftp", "x"]), secrets, st.none() | secrets, hosts, paths, encoders, st.booleans()
)
def test_of_any_url_its_credentials_are_cut_and_the_rest_is_kept(scheme, user, password, host, path, encode, nested):
    userinfo = user if password is None else f"{user}:{password}"
    before, after = ("https://shop.example/login?next=", "&a=me@b") if nested else ("", "")
    if "&" in encode("&"):
        after = after.replace("&", " ")  # `&` may be a part of a password there
    text = before + encode(f"{scheme}://{userinfo}@{host}{path}") + after
    assert without_credentials(text) == before + encode(f"{scheme}://{host}{path}") + after
    as_json = json.dumps({"page": text, "mail": "me@example.org"})
    assert "S3" not in without_credentials(as_json)
    escaped = as_json.replace("/", "\\/")
    assert "S3" not in without_credentials(escaped)
    assert "S3" not in bytes_without_credentials(text.encode()).decode()


pieces = st.lists(
    st.sampled_from(["://", ":", "/", "@", "%3A", "%2F", "%40", "%25", "25", "2F", "\\", "\\/", "\\u0040", "a", " ",
                     "?", "&", '"', "é"]),
    max_size=14,
).map("".join)  # fmt: skip


@given(pieces | st.text(max_size=30))
def test_it_only_leaves_out_and_a_second_time_nothing(text):
    kept = without_credentials(text)
    rest = iter(text)
    assert all(character in rest for character in kept), "the characters that are kept stand in their order"
    assert without_credentials(kept) == kept
    if "@" not in text and "40" not in text:
        assert kept is text


@given(st.binary(max_size=60) | pieces.map(str.encode))
def test_bytes_that_are_no_text_are_only_left_out_of_too(data):
    kept = bytes_without_credentials(data)
    rest = iter(data)
    assert all(byte in rest for byte in kept)
    if b"/" not in data and b"2f" not in data.lower():
        assert kept == data
