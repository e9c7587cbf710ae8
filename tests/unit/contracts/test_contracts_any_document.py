"""Whatever stands in the files that a process is given: settings, or an error that quotes no secret."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.durations import duration_ms
from clickstream.contracts.pipeline import dump_pipeline, parse_pipeline, read_pipeline
from clickstream.contracts.topics import topics_of
from clickstream.runtime.kafka import client_config
from clickstream.runtime.settings import SettingsError
from support.hostile import damaged, json_of, nested, scalars, texts
from support.mutations import places_in, with_changes

WHOLE: dict[str, Any] = {
    "namespace": "team", "name": "shop", "timeZone": "Europe/Berlin",
    "kafka": {"bootstrapServers": "k:9092", "tls": {"caFile": "/ca"},
              "authentication": {"type": "scram-sha-512", "username": "u", "passwordFile": "/p"},
              "topics": {"rawClicks": {"partitions": 3, "replicas": 3, "retention": "7d"}}},
    "sources": [{"name": "web", "writeKeyFile": "/k", "allowedOrigins": ["https://shop.example"],
                 "limits": {"source": {"eventsPerSecond": 9, "burst": 500}, "address": {"eventsPerSecond": 9},
                            "deadLetters": {"bytesPerSecond": 1024}}}],
    "trackingApi": {"trustedProxies": ["10.0.0.0/8"], "privacy": {"anonymizeIp": True, "respectGpc": False}},
    "enricher": {"sessionGap": "10m", "grace": "1h", "lateAfter": "7d", "groupBy": "user_id", "geoip": "/g.mmdb",
                 "joins": [{"name": "p", "topic": "t", "page": "/products/{key}"}],
                 "pageCategories": [{"name": "c", "page": "/c/*"}]},
    "funnels": [{"name": "f", "steps": [{"name": "s", "page": "/"}]}],
    "sinks": {"elasticsearch": {"url": "http://e:9200", "retention": "30d", "shards": 1},
              "postgres": {"dsn": "host=p"}},
}  # fmt: skip


odd = (
    texts
    | scalars
    | nested
    | st.sampled_from(["0s", "99999999d", "9" * 9 + "d", "/{key}{key}", "*", "user_id", -1, 0, 2**63])
)
documents = (
    st.lists(st.tuples(st.sampled_from(list(places_in(WHOLE))), odd), max_size=3)
    .map(partial(with_changes, WHOLE))
    .map(json_of)
)


@given(documents | damaged(documents) | st.binary(max_size=60))
def test_any_document_is_a_pipeline_that_can_be_written_again_or_a_value_error(document: bytes) -> None:
    try:
        pipeline, unknown = read_pipeline(document)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - any other error fails the test
        return
    assert all(isinstance(name, str) for name in unknown)
    assert parse_pipeline(dump_pipeline(pipeline)) == pipeline
    assert len({topic.name for topic in topics_of(pipeline)}) == 5


@given(texts | st.text("0123456789mshd .-+", max_size=24))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        assert duration_ms(text) >= 0
    except ValueError as error:
        assert "is not a duration" in str(error)  # noqa: PT017


lines = st.lists(
    texts.filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text))
    | st.sampled_from(["linger.ms=5", "linger.ms=hush", "sasl.password=hush", "#x", "=", "a=b=c",
                        "client.rack = r ", "\x85"]),
    max_size=4,
).map("\n".join)  # fmt: skip


@given(lines.map(str.encode) | st.binary(max_size=40))
def test_any_properties_file_is_a_configuration_or_an_error_that_names_the_line_and_quotes_no_value(
    content: bytes,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kafka.properties"
        path.write_bytes(content)
        kafka = parse_pipeline(
            msgspec.json.encode(
                {"namespace": "n", "name": "p", "kafka": {"bootstrapServers": "k:1", "clientConfigFile": str(path)}}
            )
        ).kafka
        try:
            config = client_config(kafka, "test")
        except SettingsError as error:
            assert str(path) in str(error)  # noqa: PT017
            assert "hush" not in str(error)  # noqa: PT017
        else:
            assert config["bootstrap.servers"]
            assert all(isinstance(name, str) for name in config)
