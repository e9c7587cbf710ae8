"""Whatever lies on raw-clicks: it is a dead letter with a reason, or an enriched click that both sinks take."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.clicks import Click, EnrichedClick, encode_enriched
from clickstream.contracts.dead_letters import BadRow, Origin
from clickstream.contracts.pages import split_page
from clickstream.contracts.pipeline import Enricher, Join, Kafka, PageCategory, Pipeline
from clickstream.contracts.urls import bytes_without_credentials, without_credentials
from clickstream.enrichment.campaign import read_query
from clickstream.enrichment.flow import Flow
from clickstream.enrichment.referrer import read_referrer
from clickstream.enrichment.user_agent import AgentParser
from clickstream.runtime.geoip import no_country
from clickstream.sinks.records import Record, Refused, read_record
from clickstream.sinks.validation import kept_ms
from support.hostile import addresses, agents, texts, urls
from support.mutations import records_like

NOW = 1_769_860_800_000
RAW = Click(
    "e", NOW, "u", "s", "https://shop.example/products/7?utm_source=x", NOW, "web", "add", NOW, "https://x.example/",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "203.0.113.1", "t", "DE", {"a": 1.5},
)  # fmt: skip
PIPELINE = Pipeline(
    "shop",
    "clicks",
    Kafka("unused:9092"),
    enricher=Enricher(joins=[Join("p", "t", "/products/{key}")], page_categories=[PageCategory("c", "/products/*")]),
)
FLOW = Flow(PIPELINE, no_country, {"p": {"7": {"price": 1}}})
parse_agent = AgentParser()


@given(records_like(RAW), st.integers(0, 253_402_300_799_999) | st.none())
def test_any_record_is_a_dead_letter_or_a_click_that_the_sinks_take(value: bytes, record_time: int | None) -> None:
    found = FLOW.enrich(value, record_time)
    if isinstance(found, BadRow):
        assert found.original == value
        assert found.reason
        return
    assert isinstance(found, EnrichedClick)
    enriched = encode_enriched(found.finish(None, late=True))
    origin = Origin(PIPELINE.names.enriched_clicks, 0, 0, b"u")
    at, kept = record_time or found.received_at, kept_ms(PIPELINE)
    stored = read_record(PIPELINE.names, origin, enriched, at, kept)
    if at - found.received_at > kept:
        assert isinstance(stored, Refused)  # received before all that may still wait on raw-clicks
        assert stored.path == "$.received_at"
        return
    assert isinstance(stored, Record), stored


@given(agents | texts | st.binary(max_size=40).map(lambda each: each.decode("utf-8", "replace")))
def test_any_user_agent_is_parsed_and_what_is_said_of_it_is_short(text: str) -> None:
    agent = parse_agent(text.encode("utf-8", "replace").decode())  # no JSON reader lets lone surrogates pass
    said = [agent.browser, agent.version, agent.os, agent.device]
    assert all(each is None or len(each) <= 1_024 for each in said)
    assert agent.device in {"desktop", "mobile", "tablet", "other"}


@given(urls | texts)
def test_any_address_of_a_page_is_taken_apart_and_loses_its_credentials_at_once(text: str) -> None:
    host, path, query = split_page(text)
    assert host is None or host == host.lower()
    assert isinstance(path, str)
    msgspec.json.encode([each.encode("utf-8", "surrogatepass") for each in (host or "", path)])
    read_query(query)
    read_referrer(text)
    plain = without_credentials(text)
    assert without_credentials(plain) == plain
    assert len(plain) <= len(text)
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert bytes_without_credentials(text.encode()) == plain.encode()


@given(addresses | texts, st.sampled_from(["", "x", "203.0.113.9"]))
def test_any_address_of_a_client_is_one_or_nothing(text: str, given_country: str) -> None:
    value = msgspec.json.encode(msgspec.structs.replace(RAW, ip=None, country=given_country or None))
    changed = msgspec.json.decode(value) | {"ip": text.encode("utf-8", "replace").decode()}
    found = FLOW.enrich(msgspec.json.encode(changed), NOW)
    assert isinstance(found, EnrichedClick)
    assert found.ip is None or "%" not in found.ip
