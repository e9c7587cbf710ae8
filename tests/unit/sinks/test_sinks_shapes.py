"""What both stores are told about a record's shape agrees with the contracts."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest

from clickstream.contracts.clicks import EnrichedClick
from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import ElasticsearchSink
from clickstream.contracts.session_records import Retraction, Session
from clickstream.sinks.elasticsearch.documents import RetractedDocument, SessionDocument, action
from clickstream.sinks.elasticsearch.templates import CLICK_FIELDS, SESSION_FIELDS, templates
from clickstream.sinks.postgres.installation import migrations
from clickstream.sinks.postgres.rows import (
    CLICK_JSON,
    CLICK_SCALARS,
    SESSION_JSON,
    SESSION_SCALARS,
    click_line,
    session_line,
)
from clickstream.sinks.records import Record, StoredClick

NAMES = Names("shop", "web")


def fields(struct):
    return [field.name for field in msgspec.structs.fields(struct)]


def click(**members):
    required = dict.fromkeys(("event_id", "user_id", "client_session_id", "page", "page_path", "page_category"), "x")
    times = {"timestamp": 1, "event_time": 2, "received_at": 3, "storage_day": "2026-01-31"}
    return msgspec.convert(required | times | members, StoredClick)


def test_a_field_that_the_contract_gains_cannot_be_forgotten_by_a_store():
    assert set(CLICK_FIELDS) ^ set(fields(EnrichedClick)) == set(), (
        "fields of only one of templates.py and EnrichedClick"
    )
    assert sorted([*CLICK_SCALARS, *CLICK_JSON]) == sorted(fields(EnrichedClick))
    assert set(SESSION_FIELDS) == set(fields(SessionDocument)) | set(fields(RetractedDocument))
    assert set(fields(Session)) <= set(fields(SessionDocument))
    renamed = {"start": "start_ms", "end": "end_ms"}
    assert {renamed.get(name, name) for name in fields(Session)} <= {*SESSION_SCALARS, *SESSION_JSON}


@pytest.mark.parametrize("text", ["plain", 'a "b" \\ \\N', "tab\tline\n\r", "null", "\\.", "ü🛒", "", "a,b"])
def test_a_line_reads_back_as_csv_with_backslash_escapes(text):
    line = click_line(click(title=text, user_id="u" + text, properties={"k": text}, late=True)).decode()
    (row,) = csv.reader(io.StringIO(line, newline=""), doublequote=False, escapechar="\\", strict=True)
    found = dict(zip([*CLICK_SCALARS, *CLICK_JSON], row, strict=True))
    assert (found["title"], found["user_id"], found["late"], found["ip"]) == (text, "u" + text, "true", "null")
    assert json.loads(found["properties"]) == {"k": text}
    assert line.count('"null"') == (1 if text == "null" else 0), "only a string is quoted, so that null is NULL"


def test_session_lines_have_every_column():
    session = Session("2026-01-01-a", "u", "2026-01-01", 1, 2, 3, 4, 5, "/", "/x", "direct", "other", merged_ids=["b"])
    for content in (session, Retraction("2026-01-01-a", 3, "2026-01-01-b")):
        line = session_line(Record(content, ("t", 0), 0, b"", 9)).decode()
        (row,) = csv.reader(io.StringIO(line), doublequote=False, escapechar="\\", strict=True)
        found = dict(zip([*SESSION_SCALARS, *SESSION_JSON], row, strict=True))
        assert (found["id"], found["version"], found["storage_day"], found["recorded_at"]) == (
            "2026-01-01-a",
            "3",
            "2026-01-01",
            "9",
        )
        assert found["merged_into"] == ("null" if content is session else "2026-01-01-b")


def lines(content):
    return [json.loads(line) for line in action(Record(content, ("t", 0), 0, b"", 9), NAMES).splitlines()]


def test_a_click_is_created_in_the_index_of_its_storage_day():
    order, document = lines(click(storage_day="2026-01-31"))
    assert order == {"create": {"_index": "clickstream.shop.web.clicks.2026.01.31", "_id": "x"}}
    assert document["type"] == "page_view", "defaults are written out"
    assert sorted(document) == sorted(CLICK_FIELDS)
    assert lines(click(storage_day="undated"))[0]["create"]["_index"] == "clickstream.shop.web.clicks.undated"


def test_a_session_and_its_retraction_are_versions_of_one_document():
    session = Session("2026-01-01-a", "u", "2026-01-01", 1, 61, 3, 4, 5, "/", "/x", "direct", "other", funnels={"f": 2})
    order, document = lines(session)
    gone_order, gone = lines(Retraction("2026-01-01-a", 8, "2026-01-01-b"))
    place = {"_index": "clickstream.shop.web.sessions.2026.01.01", "_id": "2026-01-01-a", "version_type": "external"}
    assert order == {"index": place | {"version": 3}}
    assert gone_order == {"index": place | {"version": 8}}
    assert (document["duration"], document["funnel_steps"], document["retracted"]) == (60, ["f:1", "f:2"], False)
    assert (gone["retracted"], gone["merged_into"], gone["retracted_at"]) == (True, "2026-01-01-b", 9)


def test_templates_are_strict_belong_to_one_pipeline_and_hide_retracted_sessions():
    found = templates(NAMES, ElasticsearchSink(url="http://x", shards=3, replicas=1))
    assert list(found) == ["clickstream.shop.web.clicks", "clickstream.shop.web.sessions"]
    for name, body in found.items():
        assert body["index_patterns"] == [f"{name}.*"]
        assert body["template"]["mappings"]["dynamic"] == "strict"
        assert body["template"]["settings"]["index"]["number_of_shards"] == 3
        absent = {"scaled_float", "wildcard", "constant_keyword", "version", "match_only_text", "unsigned_long"}
        assert not absent & {field["type"] for field in body["template"]["mappings"]["properties"].values()}
    hidden = found["clickstream.shop.web.sessions"]["template"]["aliases"]["clickstream.shop.web.sessions"]
    assert hidden["filter"] == {"bool": {"must_not": {"term": {"retracted": True}}}}


def test_migrations_are_numbered_without_a_gap():
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))
