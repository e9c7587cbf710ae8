"""Small rules: availability, readiness, the description, the tracker's file."""

from pathlib import Path

import cramjam

import clickstream.tracking_api
from clickstream.contracts import dead_letters
from clickstream.tracking_api import limits
from clickstream.tracking_api.access import Access, SourceAccess
from clickstream.tracking_api.openapi import openapi
from clickstream.tracking_api.rejections import STATUS, WITHOUT_BODY, Code
from clickstream.tracking_api.requests import read_headers, without_key, write_key_in
from clickstream.tracking_api.script import FILES
from clickstream.tracking_api.server import Lifecycle, Phase


def test_it_is_ready_only_between_start_and_drain():
    lifecycle = Lifecycle()
    assert lifecycle.not_ready() == "starting"
    lifecycle.phase = Phase.SERVING
    assert lifecycle.not_ready() is None
    lifecycle.phase = Phase.DRAINING
    assert lifecycle.not_ready() == "draining"


def test_each_code_that_an_event_can_meet_is_described_under_its_status():
    paths = openapi()["paths"]
    for path, method in (("/v1/events/batch", "post"), ("/v1/pixel.gif", "get")):
        for status, answer in paths[path][method]["responses"].items():
            if status.startswith("2") or "content" not in answer:  # 431 comes before any code
                continue
            codes = answer["description"].partition("Codes: ")[2].rstrip(".").split(", ")
            assert {STATUS[Code(code)] for code in codes} == {int(status)}
    described = str(paths)
    for code in set(Code) - {Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED, Code.INTERNAL} - WITHOUT_BODY:
        assert code.value in described


def test_the_description_has_the_version_of_the_software():
    assert openapi()["info"]["version"] == dead_letters.VERSION


def test_an_answer_waits_longer_than_a_delivery_may_take_and_less_than_ten_seconds():
    assert 8 < limits.DELIVERY_SECONDS < 10


def test_the_key_decides_and_only_whole_keys_count():
    web = SourceAccess("web", b"key", frozenset({"https://shop.example"}))
    server = SourceAccess("server", b"key2", frozenset())
    access = Access((web, server))
    assert access.source_of(b"key") is web
    assert access.source_of(b"key2") is server
    for key, code in (
        (None, Code.MISSING_KEY),
        (b"", Code.MISSING_KEY),
        (b"ke", Code.UNKNOWN_KEY),
        (b"key3", Code.UNKNOWN_KEY),
    ):
        assert access.source_of(key).code is code
    assert access.admit(b"key2", None) is server
    assert access.admit(b"key2", "https://shop.example").code is Code.ORIGIN_NOT_ALLOWED


def test_the_tracker_is_small_plain_and_calls_nobody_else():
    static = Path(clickstream.tracking_api.__file__).parent / "static"
    for name in FILES.values():
        script = (static / name).read_text(encoding="utf-8")
        assert len(cramjam.brotli.compress(script.encode(), 11)) < (4_000 if name == "tracker.js" else 700), name
        for word in ("eval(", "http://", "https://", "</script"):
            assert word not in script, name


def test_only_a_browsers_request_brings_the_visitors_user_agent():
    def browser(**headers: bytes) -> bool:
        raw = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
        return read_headers({"query_string": b"", "client": None, "headers": [(b"user-agent", b"x"), *raw]}).browser

    assert browser(origin=b"https://shop.example")
    assert browser(origin=b"null")
    for name in ("sec_fetch_site", "sec_fetch_dest", "sec_fetch_user"):
        assert browser(**{name: b"cross-site"})
    assert not browser()
    assert not browser(sec_fetch_mode=b"cors"), "Node's fetch sends it"
    assert not browser(referer=b"https://shop.example/", sec_gpc=b"1", accept=b"*/*")


def test_of_several_keys_in_a_query_the_first_counts_and_none_is_part_of_the_event_as_the_description_says():
    query = b"page=/&key=a&user_id=u&key=b"
    assert (write_key_in(query), without_key(query)) == (b"a", b"page=/&user_id=u")
    assert "of several keys the first one counts" in openapi()["paths"]["/v1/pixel.gif"]["get"]["description"]
