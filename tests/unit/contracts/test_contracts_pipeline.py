"""The pipeline document, the names derived from it, and its topics."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from clickstream.contracts.durations import duration_ms
from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import dump_pipeline, parse_pipeline, read_pipeline
from clickstream.contracts.topics import topics_of
from clickstream.runtime.settings import load_pipeline, read_process_settings

MINIMAL: dict[str, Any] = {"namespace": "team", "name": "shop", "kafka": {"bootstrapServers": "kafka:9092"}}


def parse(**members: Any) -> Any:
    return parse_pipeline(json.dumps(MINIMAL | members).encode())


def test_a_minimal_document_has_sane_defaults() -> None:
    pipeline = parse()
    assert (pipeline.enricher.session_gap, pipeline.enricher.grace, pipeline.enricher.group_by) == (
        "10m",
        "10m",
        "user_id",
    )
    assert pipeline.tracking_api.privacy.anonymize_ip
    assert parse(enricher={"sessionGap": "1m", "grace": "25h"}).enricher.grace == "25h"
    assert parse_pipeline(dump_pipeline(pipeline)) == pipeline


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"kafka": {}}, "bootstrapServers"),
        ({"enricher": {"sessionGap": "1m", "grace": "25h1m"}}, "at most 1500 times sessionGap"),
        ({"nmae": "shop"}, "nmae"),
        ({"name": "Shop"}, "name 'Shop'"),
        ({"name": "a" * 41}, "at most 40"),
        ({"name": "a.b"}, "name 'a.b'"),
        ({"name": "-a"}, "not starting"),
        ({"enricher": {"sessionGap": "ten minutes"}}, "enricher.sessionGap: 'ten minutes' is not a duration"),
        ({"enricher": {"sessionGap": "0s"}}, "longer than 0"),
        ({"enricher": {"groupBy": "ip"}}, "not user_id or session_id"),
        ({"enricher": {"joins": [{"name": "p", "topic": "t", "page": "/products/*"}]}}, "exactly one {key}"),
        ({"sources": [{"name": "web"}, {"name": "web"}]}, "sources: the name 'web' is used twice"),
        ({"sources": [{"name": "web", "limits": {"source": {}}}]}, "sources[0].limits.source"),
        (
            {"sources": [{"name": "web", "limits": {"address": {"eventsPerSecond": 9, "burst": 499}}}]},
            "sources[0].limits.address.burst",
        ),
        ({"funnels": [{"name": "f", "steps": []}]}, "funnels"),
        ({"funnels": [{"name": "f", "steps": [{"name": "s", "page": "/" * 1_025}]}]}, "funnels[0].steps[0].page"),
        ({"funnels": [{"name": f"{n}", "steps": [{"name": "s", "page": "/"}]} for n in range(65)]}, "funnels"),
        ({"enricher": {"joins": [{"name": f"{n}", "topic": "t", "page": "/{key}"} for n in range(17)]}}, "joins"),
        ({"enricher": {"pageCategories": [{"name": "c", "page": "/"}] * 257}}, "pageCategories"),
        ({"kafka": {"bootstrapServers": "k", "topics": {"rawClicks": {"partitions": 0}}}}, "partitions"),
        ({"kafka": {"bootstrapServers": "k", "topics": {"rawClicks": {"retention": "x"}}}}, "rawClicks.retention"),
        ({"kafka": {"bootstrapServers": "k", "topics": {"sessions": {"retention": "0s"}}}}, "at least 1h and at most"),
        ({"sinks": {"postgres": {"retention": "999999999d"}}}, "sinks.postgres.retention: at least 1h"),
        (
            {"sinks": {"elasticsearch": {"url": "http://e", "retention": "59m59s"}}},
            "sinks.elasticsearch.retention: at l",
        ),
        ({"enricher": {"lateAfter": "36501d"}}, "enricher.lateAfter: at least 0s and at most 36500d"),
    ],
)
def test_a_wrong_document_is_refused_with_the_fields_name(members: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(**members)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.json"):
        load_pipeline(tmp_path / "nowhere.json")


NEWER: dict[str, Any] = {
    "namespace": "team",
    "name": "shop",
    "colour": "red",
    "kafka": {
        "bootstrapServers": "kafka:9092",
        "tls": {"version": 3},
        "authentication": {"type": "plain", "username": "u", "passwordFile": "/p", "realm": "hush"},
        "topics": {"rawClicks": {"partitions": 2, "shape": {"deep": [1]}}},
    },
    "enricher": {
        "joins": [{"name": "p", "topic": "t", "page": "/{key}"}, {"name": "q", "topic": "t", "page": "/{key}", "on": 1}]
    },
    "sinks": {"postgres": {"dsn": "host=db", "pool": None}, "clickhouse": {"url": "http://x"}},
}
UNKNOWN = [
    "colour",
    "kafka.tls.version",
    "kafka.authentication.realm",
    "kafka.topics.rawClicks.shape",
    "enricher.joins[1].on",
    "sinks.postgres.pool",
    "sinks.clickhouse",
]


def test_the_document_of_a_newer_release_is_read_and_what_it_says_in_vain_is_known() -> None:
    pipeline, unknown = read_pipeline(json.dumps(NEWER).encode())
    assert unknown == UNKNOWN
    assert pipeline.kafka.topics.raw_clicks.partitions == 2
    assert [join.name for join in pipeline.enricher.joins] == ["p", "q"]
    assert read_pipeline(dump_pipeline(pipeline)) == (pipeline, [])
    with pytest.raises(ValueError, match="unknown field colour"):
        parse_pipeline(json.dumps(NEWER).encode())


def test_a_process_warns_once_of_fields_that_have_no_effect_and_quotes_no_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps(NEWER | {f"field-{n}-" + "x" * 1_000: 1 for n in range(100)}))
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        read_process_settings({}, str(path)).set_up_logs("enricher")
    finally:
        logging.getLogger().handlers[:] = before[0]
        logging.getLogger().setLevel(before[1])
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) < 5_000
    entry = json.loads(line)
    assert (entry["level"], entry["process"], entry["unknown"]) == ("WARNING", "enricher", 107)
    assert all(name in entry["message"] for name in UNKNOWN)
    assert "hush" not in line


@pytest.mark.parametrize(
    ("members", "used"),
    [
        ({}, "/usual.mmdb"),
        ({"enricher": {"geoip": "/own.mmdb"}}, "/own.mmdb"),
        ({"trackingApi": {"privacy": {"keepCountry": False}}}, None),
        ({"trackingApi": {"privacy": {"keepCountry": False}}, "enricher": {"geoip": "/own.mmdb"}}, None),
    ],
)
def test_the_pipeline_says_which_country_database_counts(members: Any, used: str | None, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps(MINIMAL | members))
    env = {"CLICKSTREAM_GEOIP": "/usual.mmdb"}
    assert read_process_settings(env, str(path)).pipeline.enricher.geoip == used
    assert read_process_settings({}, str(path)).pipeline.enricher.geoip == (None if used == "/usual.mmdb" else used)


def test_names_of_two_pipelines_never_meet() -> None:
    everything = [
        {
            n.raw_clicks,
            n.enriched_clicks,
            n.sessions,
            n.dead_letters,
            n.enricher_group,
            n.enricher_changelog,
            n.sink_group("postgres"),
            n.clicks_alias,
            n.clicks_index("2026-01-31"),
            n.sessions_alias,
        }
        for n in (Names("a", "b"), Names("a", "b-c"), Names("a-b", "c"), Names("b", "a"))
    ]
    assert sum(len(names) for names in everything) == len(set().union(*everything))


def test_names_are_those_that_people_type() -> None:
    names = Names("team", "web-shop")
    assert names.raw_clicks == "team.web-shop.raw-clicks"
    assert names.clicks_index("2026-01-31") == "clickstream.team.web-shop.clicks.2026.01.31"
    assert names.clicks_index("undated") == "clickstream.team.web-shop.clicks.undated"
    assert names.schema == "web_shop"
    assert names.sink_group("elasticsearch") == "team.web-shop.sink-elasticsearch"


def test_the_changelog_has_the_partitions_of_its_source_and_keeps_recent_versions() -> None:
    pipeline = parse(kafka={"bootstrapServers": "k", "topics": {"rawClicks": {"partitions": 12, "replicas": 3}}})
    topics = {topic.name: topic for topic in topics_of(pipeline)}
    changelog = topics[pipeline.names.enricher_changelog]
    assert (changelog.partitions, changelog.replicas) == (12, 3)
    assert changelog.config["min.insync.replicas"] == "2", "acks=all must not mean a single copy"
    assert "min.insync.replicas" not in topics_of(parse())[0].config, (
        "fewer copies, or the brokers' own number: their rule"
    )
    assert changelog.config["cleanup.policy"] == "compact"
    assert changelog.config["min.compaction.lag.ms"] == "3600000"
    sessions = topics[pipeline.names.sessions]
    assert sessions.config["cleanup.policy"] == "compact,delete"
    assert sessions.config["retention.ms"] == str(30 * 86_400_000)
    assert sessions.config["delete.retention.ms"] == str(7 * 86_400_000)


@pytest.mark.parametrize(("text", "ms"), [("10m", 600_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("250ms", 250)])
def test_durations(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "10", "m", "10 m", "-1m", "1.5h", "10m ", "1w"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write a number and a unit"):
        duration_ms(text)
