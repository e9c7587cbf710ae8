"""A broker that denies what no ACL allows, and PostgreSQL, for a pipeline whose processes are users of their own."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka.admin import AdminClient

from clickstream.contracts.pipeline import Pipeline, parse_pipeline
from clickstream.contracts.topics import Topic, topics_of
from clickstream.runtime.kafka import client_config
from clickstream.setup.topics import TopicAdmin
from devstack import Settings, Stack

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = Settings.from_environment(home=tmp_path_factory.mktemp("strict"))
    settings = dataclasses.replace(settings, external={}, kafka_acls=True)
    started = Stack.up(services=("kafka", "postgres"), secure=True, settings=settings)
    try:
        yield started
    finally:
        started.down(wipe=True)


@pytest.fixture(scope="package")
def elastic_url(stack: Stack) -> str:
    return stack.elasticsearch.url


@pytest.fixture(scope="package")
def document(strict: Stack, elastic_url: str) -> Callable[..., dict[str, Any]]:
    """The document of a pipeline of that name (a new one), with another user's authentication to Kafka."""

    def make(name: str | None = None, authentication: dict[str, str] | None = None) -> dict[str, Any]:
        kafka = strict.kafka.member()
        return {
            "namespace": "rights",
            "name": name or f"p{next(_numbers)}",
            "kafka": kafka | ({} if authentication is None else {"authentication": authentication}),
            "sources": [{"name": "web", "writeKey": "test-write-key", "allowedOrigins": ["*"]}],
            "enricher": {"joins": [{"name": "product", "topic": "web.catalogue", "page": "/products/{key}"}]},
            "sinks": {"elasticsearch": {"url": elastic_url}, "postgres": {"dsn": strict.postgres.dsn}},
        }

    return make


@pytest.fixture(scope="package")
def admin(document: Callable[..., dict[str, Any]]) -> AdminClient:
    """Who may do everything. The topic that the pipelines join is there."""
    pipeline = parse_pipeline(msgspec.json.encode(document("admin")))
    TopicAdmin(pipeline.kafka).create([Topic("web.catalogue", 1, 1, {"cleanup.policy": "compact"})])
    return AdminClient(client_config(pipeline.kafka, "test"))


@pytest.fixture(scope="package")
def shop(document: Callable[..., dict[str, Any]], admin: AdminClient) -> Pipeline:
    """A pipeline with its topics, as who may do everything."""
    pipeline = parse_pipeline(msgspec.json.encode(document()))
    TopicAdmin(pipeline.kafka).create(topics_of(pipeline))
    return pipeline


@pytest.fixture
def written(tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    """Writes a document into a file of its own."""

    def write(document: dict[str, Any]) -> str:
        path = tmp_path / f"pipeline-{next(_numbers)}.json"
        path.write_bytes(msgspec.json.encode(document))
        return str(path)

    return write
