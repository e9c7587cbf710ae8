"""Whatever is sent over HTTP is answered as described, and what is accepted is in both stores, once and the same.

A run draws its own seed, and tells it when it fails: FUZZ_SEED=… repeats it, FUZZ_DEPTH=10 sends ten times as much.
"""

from __future__ import annotations

import gzip
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode

from clickstream.contracts.dead_letters import KEPT_BYTES, bad_row
from clickstream.tracking_api import limits
from clickstream.tracking_api.endpoints import Endpoint
from support.described import follows_its_description
from support.hostile import (
    addresses,
    agents,
    damaged,
    event_texts,
    events_at_limits,
    good_events,
    json_of,
    names,
    scalars,
    texts,
    times,
)
from support.ledger import Request
from support.processes import wait_for
from support.topics import count, read_all

NOW = int(time.time() * 1_000)
EVENTS = 5_000

sources = st.sampled_from(["web", "web", "other"])

COLLECTING = {"POST /v1/events": 120, "POST /v1/events/batch": 80, "GET /v1/pixel.gif": 120, "HEAD /v1/pixel.gif": 40}
"""With so many cases each that the description allows, and that it does not."""
PLAIN = ["GET /healthz", "GET /readyz", "GET /tracker.js"]


def batches(fuzz: Any) -> None:
    @fuzz.cases(480)
    @given(
        st.lists(event_texts(NOW), min_size=3, max_size=12),
        st.sampled_from(["absent", "first", "last"]),
        times(NOW),
        sources,
        st.booleans(),
    )
    def drive(events: list[bytes], place: str, sent_at: Any, source: str, compress: bool) -> None:
        members = [b'"events":[' + b",".join(events) + b"]", b'"sent_at":' + json_of(sent_at)]
        chosen = {"absent": members[:1], "first": members[::-1], "last": members}[place]
        body = b"{" + b",".join(chosen) + b"}"
        sent = Request(Endpoint.BATCH, source, b"", body)
        fuzz.collect(replace(sent, body=gzip.compress(body), content_encoding=b"gzip") if compress else sent)

    drive()


def limits_of_fields(fuzz: Any) -> None:
    events = events_at_limits(NOW)
    for start in range(0, len(events), 20):
        for escaped in (True, False):
            texts_of_it = [json_of(event, escaped=escaped) for event in events[start : start + 20]]
            fuzz.collect(Request(Endpoint.BATCH, "web", b"", b'{"events":[' + b",".join(texts_of_it) + b"]}"))


def sizes(fuzz: Any) -> None:
    for size in (
        limits.HEAD_BYTES - 1_000,
        limits.HEAD_BYTES + 1_000,
        KEPT_BYTES - 1,
        KEPT_BYTES + 1,
        limits.BODY_BYTES,
    ):
        text = b'{"title":"' + b"x" * (size - 12) + b'"}'
        fuzz.collect(Request(Endpoint.EVENT, "web", b"", text))
        fuzz.collect(Request(Endpoint.BATCH, "web", b"", b'{"events":[' + text + b"]}"))
        if size < KEPT_BYTES - 1:
            fuzz.collect(Request(Endpoint.PIXEL, "web", b"title=" + b"x" * size))


def single_events(fuzz: Any) -> None:
    @fuzz.cases(500)
    @given(event_texts(NOW) | damaged(event_texts(NOW)) | st.binary(max_size=60), sources)
    def drive(text: bytes, source: str) -> None:
        fuzz.collect(Request(Endpoint.EVENT, source, b"", text))

    drive()


def damaged_batches(fuzz: Any) -> None:
    whole = st.lists(event_texts(NOW), min_size=1, max_size=3).map(
        lambda each: b'{"events":[' + b",".join(each) + b"]}"
    )

    @fuzz.cases(300)
    @given(damaged(whole), sources)
    def drive(body: bytes, source: str) -> None:
        fuzz.collect(Request(Endpoint.BATCH, source, b"", body))

    drive()


def pixels(fuzz: Any) -> None:
    @fuzz.cases(500)
    @given(good_events(NOW), st.lists(st.tuples(names, texts | scalars), max_size=2), st.binary(max_size=4), sources)
    def drive(event: dict[str, Any], more: list[tuple[str, Any]], junk: bytes, source: str) -> None:
        pairs = [(name, value) for name, value in event.items() if name != "properties"]
        pairs += [("properties", json_of(event["properties"]).decode())] if "properties" in event else []
        written = [b"%b=%b" % (quoted(name), quoted(value)) for name, value in [*pairs, *more]]
        tail = quote_from_bytes(junk, safe="%+=;").encode()
        fuzz.collect(Request(Endpoint.PIXEL, source, b"&".join([*written, tail]) if junk else b"&".join(written)))

    drive()


def quoted(value: Any) -> bytes:
    text = value if isinstance(value, str) else json_of(value).decode()
    return quote_from_bytes(text.encode("utf-8", "surrogatepass")).encode()


def headers(fuzz: Any) -> None:
    lines = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
    hops = st.lists(addresses | lines, max_size=4).map(", ".join)
    printable = agents.map(lambda text: "".join(c for c in text if " " <= c <= "ÿ" and not "\x7f" <= c < "\xa0"))

    @fuzz.cases(300)
    @given(
        good_events(NOW),
        st.fixed_dictionaries(
            {},
            optional={
                "X-Forwarded-For": hops | lines, "Forwarded": hops.map(lambda each: f"for={each}") | lines,
                "User-Agent": printable | lines, "Origin": lines | st.just("null"), "Sec-GPC": lines | st.just("1"),
                "Traceparent": lines, "Cookie": lines, "Referer": lines, "Sec-Fetch-Site": lines,
            },
        ),
        st.sampled_from([b"application/json", b"text/plain; charset=UTF-8", b"", b"TEXT/PLAIN;;", b"a/b"]),
        sources,
    )  # fmt: skip
    def drive(event: dict[str, Any], given_headers: dict[str, str], kind: bytes, source: str) -> None:
        sent = Request(Endpoint.EVENT, source, b"", json_of(event), kind)
        fuzz.collect(sent, {name: value.encode("latin-1") for name, value in given_headers.items()})

    drive()


Drive = Callable[[Any], None]


def described(operation: str, mode: GenerationMode, cases: int) -> Drive:
    return lambda fuzz: follows_its_description(fuzz, operation, mode, cases)


DRIVES: dict[str, Drive] = {
    **{f"{mode} {each}": described(each, mode, cases) for each, cases in COLLECTING.items() for mode in GenerationMode},
    **{each: described(each, GenerationMode.POSITIVE, 5) for each in PLAIN},
    "limits of fields": limits_of_fields,
    "sizes": sizes,
    "batches": batches,
    "damaged batches": damaged_batches,
    "single events": single_events,
    "pixels": pixels,
    "headers": headers,
}


@pytest.mark.parametrize("drive", DRIVES)
def test_whatever_is_sent_is_answered_as_it_is_described(fuzz: Any, drive: str) -> None:
    fuzz.once(drive, DRIVES[drive])


def test_all_that_was_accepted_is_in_both_stores_once_and_the_same_and_the_rest_is_a_dead_letter_of_the_door(
    fuzz: Any,
) -> None:
    for name, drive in DRIVES.items():
        fuzz.once(name, drive)
    system, ledger, told = fuzz.system, fuzz.ledger, f"FUZZ_SEED={fuzz.seed}"
    names, brokers = system.pipeline.names, system.pipeline.kafka.bootstrap_servers
    consumers = system.processes[1:]

    assert ledger.events >= EVENTS, ledger.events
    assert len(ledger.accepted) >= EVENTS // 2, "most of the strange things are to reach the stores"
    assert count(brokers, names.raw_clicks) == len(ledger.accepted), told
    processed = len(ledger.accepted)
    wait_for(
        lambda: system.enricher.metric("clickstream_events_processed_total") == processed,
        f"the enricher has read {processed} clicks; {told}",
        *system.processes,
    )
    enriched = count(brokers, names.enriched_clicks)
    for sink in (system.elasticsearch, system.postgres):
        wait_for(
            lambda sink=sink: clicks_seen(sink) == enriched, f"{sink.name} has seen {enriched} clicks; {told}", sink
        )  # type: ignore[misc]
    faults = list(islice(ledger.faults(system.stores.clicks_es(), system.stores.clicks_pg()), 5))
    assert not faults, "\n".join([told, *(fault[:2_000] for fault in faults)])
    assert sessions_pg(system) == sessions_es(system), told

    letters = [bad_row(message.value(), message.headers()) for message in read_all(brokers, names.dead_letters)]
    behind = [letter for letter in letters if letter.stage != "collect"]
    assert not behind, f"{told}: accepted, then refused: {behind[:5]}"
    kept = Counter(letter.original for letter in letters)
    assert kept == ledger.letters, f"{told}: {list((kept - ledger.letters) + (ledger.letters - kept))[:5]}"

    for process in system.processes:
        assert process.popen.poll() is None, told
        assert "Traceback" not in process.log.read_text(), told
    for process in consumers:
        wait_for(partial(has_no_lag, process), "no lag", process)
        assert process.get("/readyz")[0] == 200
    assert fuzz.costly() == [], told
    print(
        f"{told}: {fuzz.requests} requests with {ledger.events} events, of which {len(ledger.accepted)} were accepted:",
        f"{system.stores.counts()[0]} clicks, {sum(kept.values())} dead letters; the event loop worked",
        f"{fuzz.slowest * 1e3:.0f} ms at most for a request; {fuzz.told}",
    )


def has_no_lag(process: Any) -> bool:
    return process.metric("clickstream_consumer_lag_records") == 0


def clicks_seen(sink: Any) -> float:
    return sink.metric("clickstream_events_stored_total", kind="click") + sink.metric(
        "clickstream_events_duplicate_total", kind="click"
    )


def sessions_es(system: Any) -> dict[str, tuple[Any, ...]]:
    return {
        each["id"]: (each["user_id"], each["start"], each["end"], each["events"], each["entry_page"], each["exit_page"])
        for each in system.stores.sessions_es()
    }


def sessions_pg(system: Any) -> dict[str, tuple[Any, ...]]:
    rows = system.stores.sql(
        "SELECT session_id, user_id, (extract(epoch FROM started_at) * 1000)::bigint AS s,"
        " (extract(epoch FROM ended_at) * 1000)::bigint AS e, events, entry_page, exit_page FROM {s}.sessions"
    )
    return {r["session_id"]: (r["user_id"], r["s"], r["e"], r["events"], r["entry_page"], r["exit_page"]) for r in rows}
