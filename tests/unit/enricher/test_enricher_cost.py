"""What anybody can send costs time in proportion to its size: each decoder, matcher and fold on its worst input, once
and four times as long.

Four times as long may cost five times as much (sixteen times is what a quadratic step takes). Processor time of this
thread, the least of several tries, so that a busy machine does not count.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import clear_cache

import msgspec
import pytest

from clickstream.contracts.clicks import Click, decode_click, encode_click
from clickstream.contracts.pages import key_finder, matcher, split_page
from clickstream.contracts.pipeline import Enricher, Funnel, FunnelStep, Join, Kafka, PageCategory, Pipeline
from clickstream.enricher.join_rows import MAX_ROW, read_row
from clickstream.enrichment.bot import bots
from clickstream.enrichment.campaign import read_query
from clickstream.enrichment.channels import channel_of_host
from clickstream.enrichment.flow import Flow
from clickstream.enrichment.funnels import FunnelBook, add_hit, furthest_step, merge_hits
from clickstream.enrichment.geo import _read_address
from clickstream.enrichment.join import KeyReader
from clickstream.enrichment.page import PageReader
from clickstream.enrichment.referrer import read_referrer
from clickstream.enrichment.user_agent import MAX_PARSED, AgentParser, _device
from clickstream.enrichment.validation import MAX_RECORD, validate
from clickstream.runtime.geoip import no_country

WORST = 5.0
TRIES = 5
RECORD_SIZE = MAX_RECORD // 8
"""Four times that stays below what the allocator takes from the system anew each time, which costs more when it is
busy."""
AGENT = AgentParser()
CLICK = msgspec.to_builtins(Click("e", 1_769_860_800_000, "u", "s", "/", 1_769_860_800_000))


def seconds(work: Callable[[Any], object], given: Any) -> float:
    """The least processor time of one piece of work."""
    clear_cache()
    began = time.thread_time()
    work(given)
    times = max(1, int(0.004 / max(time.thread_time() - began, 1e-6)))
    least = float("inf")
    for _ in range(3):
        began = time.thread_time()
        for _ in range(times):
            clear_cache()  # of urlsplit, whose answer to the first time would be found
            work(given)
        least = min(least, (time.thread_time() - began) / times)
    return least


def growth(work: Callable[[Any], object], make: Callable[[int], Any], size: int) -> float:
    """How many times as long the work takes for an input four times as long."""
    ratios = []
    for _ in range(TRIES):
        ratios.append(seconds(work, make(4 * size)) / seconds(work, make(size)))
        if ratios[-1] <= WORST:
            break
    return min(ratios)


def repeated(text: str, before: str = "", behind: str = "") -> Callable[[int], str]:
    """Texts of a given number of characters."""
    return lambda size: (before + text * size)[: size - len(behind)] + behind


TEXTS: dict[str, Callable[[int], str]] = {
    each or "nothing": repeated(each)
    for each in (
        "a",
        " ",
        "/",
        ".",
        "%",
        "%41",
        "&",
        "=",
        "a=b&",
        ";",
        ":",
        "@",
        "[",
        "::",
        "1.",
        "\\",
        "é",
        "😀",
        "//",
        "?#",
        "-.",
    )
}
PATTERNS = (
    "*",
    "/*/*/*/item",
    "*a*a*a*a*a*",
    "/*/*/*/*/*/*/*/*x",
    "a*" * 100 + "b",
    "*/*é*/*",
    "*.*.*.*-",
    "/*a*b*c*d*/x",
)
KEYS = ("/{key}", "*{key}*", "/*/{key}/*/x", "*a*{key}*a*b", "{key}*" + "a*" * 50, "*/{key}")

READERS: dict[str, tuple[Callable[[str], object], int, str]] = {
    # the reader, the characters of the longest text that it may be given, what stands before the hostile part
    "a page": (split_page, 2_048, "https://"),
    "a page's category": (PageReader([PageCategory("c", pattern) for pattern in PATTERNS]), 2_048, "/"),
    "a page's keys": (KeyReader([Join(key, "t", key) for key in KEYS]), 2_048, "/"),
    "a referrer": (read_referrer, 8_192, "https://"),
    "a referrer's host": (channel_of_host, 253, "a"),
    "a query": (read_query, 2_048, "utm_source="),
    "an address": (_read_address, 8_192, ""),
    "a user agent": (AGENT, MAX_PARSED, "Mozilla/5.0 "),
    "a bot's name": (bots().kind, MAX_PARSED, "Mozilla/5.0 "),
    "a device": (lambda text: _device(text, None), MAX_PARSED, "Mozilla/5.0 "),
}


@pytest.mark.parametrize("name", READERS)
def test_a_text_of_any_kind_is_read_in_proportion_to_its_length(name: str) -> None:
    read, longest, before = READERS[name]
    for kind, make in TEXTS.items():
        for start in {"", before}:
            found = growth(read, lambda size, make=make, start=start: (start + make(size))[:size], longest // 4)
            assert found <= WORST, (name, kind, start)


@pytest.mark.parametrize("pattern", [*PATTERNS, *KEYS])
def test_a_pattern_is_matched_in_proportion_to_the_path(pattern: str) -> None:
    match = key_finder(pattern) if "{key}" in pattern else matcher(pattern)
    for make in (
        repeated("/"),
        repeated("a"),
        repeated("/a"),
        repeated("é/"),
        repeated("/a", behind="x"),
        repeated("ab", "/"),
    ):
        assert growth(match, make, 8_192) <= WORST


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_funnel_is_matched_in_proportion_to_the_path(pattern: str) -> None:
    def match(path: str) -> object:
        return FunnelBook([Funnel("f", [FunnelStep("s", pattern)])]).matches(path)

    assert growth(match, repeated("/a", behind="x"), 8_192) <= WORST


RECORDS: dict[str, Callable[[int], bytes]] = {
    "many properties": lambda size: click(properties={f"{n:05}": 1e15 for n in range(size // 16)}),
    "a property again and again": lambda size: click(properties={})[:-2] + b'"a":1,' * (size // 6) + b'"a":1}}',
    "a long text": lambda size: click(title="t" * size),
    "a long text of others": lambda size: click(title="é" * (size // 2)),
    "escapes": lambda size: click(title="\n" * (size // 2)),
    "NUL": lambda size: click(title="\0" * (size // 6)),
    "an unknown field": lambda size: click(x=[[]] * (size // 4)),
    "no end": lambda size: b"[" * size,
    "a long number": lambda size: click(x=7)[:-2] + b"9" * size + b"}",
    "a long fraction": lambda size: click(properties={"a": 7})[:-2] + b"." + b"9" * size + b"}}",
    "a long id": lambda size: click(event_id="e" * size),
    "spaces": lambda size: b" " * size,
    "a page": lambda size: click(page=("/" * size)[:2_048], referrer="/" * size, user_agent="/" * size, ip=":" * size),
}


def click(**changes: object) -> bytes:
    return json.dumps(CLICK | changes, ensure_ascii=False, separators=(",", ":")).encode()


def decoded(value: bytes) -> object:
    return validate(decode_click(value, 0), value, 0)


def flow() -> Flow:
    kafka = Kafka("unused:9092")
    joins = [Join(key, "t", key) for key in KEYS]
    categories = [PageCategory("c", pattern) for pattern in PATTERNS]
    pipeline = Pipeline("shop", "clicks", kafka, enricher=Enricher(joins=joins, page_categories=categories))
    return Flow(pipeline, no_country, {key: {} for key in KEYS})


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_is_decoded_and_enriched_in_proportion_to_its_size(kind: str) -> None:
    assert growth(decoded, RECORDS[kind], RECORD_SIZE) <= WORST
    enrich = flow().enrich
    assert growth(lambda value: enrich(value, 0), RECORDS[kind], RECORD_SIZE) <= WORST


ROWS: dict[str, Callable[[int], bytes]] = {
    "many fields": lambda size: json.dumps({f"{n:05}": 1 for n in range(size // 12)}).encode(),
    "nested fields": lambda size: json.dumps({f"{n:05}": ["\\"] for n in range(size // 16)}).encode(),
    "one nested field": lambda size: b'{"a":[' + b"[]," * (size // 3) + b"1]}",
    "no end": lambda size: b'{"a":' + b"[" * size,
    "depth": lambda size: b'{"a":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}",
    "a long number": lambda size: b'{"a":' + b"9" * size + b"}",
    "a long text": lambda size: json.dumps({"a": "\0" * (size // 6)}).encode(),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_of_a_joined_table_is_read_in_proportion_to_its_size(kind: str) -> None:
    assert growth(read_row, ROWS[kind], MAX_ROW // 4 - 16) <= WORST


@pytest.mark.parametrize("step", [lambda n: n, lambda n: -n, lambda n: n * 7_919 % 10_007, lambda n: n % 2])
def test_views_of_a_funnel_are_folded_in_proportion_to_their_number(step: Callable[[int], int]) -> None:
    def fold(views: list[tuple[int, int]]) -> None:
        hits: list[tuple[int, int]] = []
        for view in views:
            add_hit(hits, view)
        merge_hits(hits, hits)
        furthest_step(hits, 3)

    assert growth(fold, lambda size: [(step(n), n % 3) for n in range(size)], 500) <= WORST


HOSTILE_AGENTS = [
    *(make(MAX_PARSED) for make in TEXTS.values()),
    *(
        (start + part * MAX_PARSED)[:MAX_PARSED]
        for start in ("", "Mozilla/5.0 (Linux; Android 9; ", "Mozilla/5.0 (compatible; ")
        for part in (
            "Android 1.1; ",
            "Mozilla/5.0 ",
            "x Build/",
            "Version/1.1 Safari ",
            "craw",
            "bo",
            "-_",
            "kfa",
            " aft",
            "1.",
        )
    ),
]


def test_no_user_agent_costs_more_than_some_milliseconds() -> None:
    def parse(text: str) -> None:
        AGENT(text)
        bots().kind(text)

    slowest = max((seconds(parse, text), text[:40]) for text in HOSTILE_AGENTS)
    assert slowest[0] < 0.005, slowest


def test_a_whole_hostile_click_costs_no_more_than_that_either() -> None:
    """Nothing of it is remembered from the time before: every text is longer than what is."""
    enrich = flow().enrich
    value = encode_click(
        Click(
            "e", 0, "u", "s", "https://x/" + "a/" * 1_000, 0, referrer="https://" + "a." * 4_000, user_agent="/" * 8_000
        )
    )
    assert seconds(lambda value: enrich(value, 0), value) < 0.02
