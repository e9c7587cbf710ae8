"""Real servers for the integration tests: one set a test run, a pipeline with names of its own a test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from clickstream.contracts.pipeline import Pipeline, dump_pipeline, parse_pipeline
from clickstream.contracts.topics import topics_of
from clickstream.setup.topics import TopicAdmin
from devstack import Stack

KEPT = "15000d"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, Elasticsearch and PostgreSQL, started once and ended with the run."""
    started = Stack.up(home=tmp_path_factory.mktemp("servers"))
    try:
        yield started
    finally:
        started.down(wipe=True)


@pytest.fixture(scope="session")
def new_pipeline(stack: Stack) -> Callable[..., Pipeline]:
    """Makes pipelines, with their topics: keyword arguments are members of the document that replace the defaults."""

    def make(*, topics: bool = True, **members: object) -> Pipeline:
        document = {
            "namespace": "it",
            "name": f"t{os.getpid()}-{next(_numbers)}",
            "kafka": stack.kafka.member(),
            "sources": [{"name": "web", "writeKey": "test-write-key", "allowedOrigins": ["*"]}],
            "funnels": [
                {
                    "name": "checkout",
                    "steps": [
                        {"name": "Homepage", "page": "/"},
                        {"name": "Product", "page": "/products/*"},
                        {"name": "Checkout", "page": "/checkout"},
                    ],
                }
            ],
            # The clicks of many tests have days of their own, of long ago: stores that keep them.
            "sinks": {
                "elasticsearch": stack.elasticsearch.member() | {"retention": KEPT},
                "postgres": {"dsn": stack.postgres.dsn, "retention": KEPT},
            },
        } | members
        made = parse_pipeline(msgspec.json.encode(document))
        if topics:
            TopicAdmin(made.kafka).create(topics_of(made))
        return made

    return make


@pytest.fixture
def pipeline(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    """A fresh pipeline on those servers, its topics created."""
    return new_pipeline()


@pytest.fixture
def pipeline_file(pipeline: Pipeline, tmp_path: Path) -> Path:
    """The document of `pipeline`, for processes that are started by command."""
    path = tmp_path / "pipeline.json"
    path.write_bytes(dump_pipeline(pipeline))
    return path
