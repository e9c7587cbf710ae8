"""Kafka and PostgreSQL with TLS and passwords, Elasticsearch behind a TLS proxy that wants a user."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from clickstream.contracts.pipeline import Pipeline, parse_pipeline
from devstack import Settings, Stack
from support.stores import Stores
from support.tls_proxy import TlsProxy

KEY = "test-write-key"
ELASTIC_PASSWORD = "elastic-p@ss:word"

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A secure stack of our own, whose broker would create any topic that somebody asks for."""
    settings = dataclasses.replace(
        Settings.from_environment(home=tmp_path_factory.mktemp("secure")),
        external={},
        kafka_properties={"auto.create.topics.enable": "true"},
    )
    started = Stack.up(services=("kafka", "postgres"), secure=True, settings=settings)
    try:
        yield started
    finally:
        started.down(wipe=True)


@pytest.fixture(scope="package")
def proxy(stack: Stack, secure: Stack) -> Iterator[TlsProxy]:
    """In front of the run's Elasticsearch."""
    files = secure.security
    started = TlsProxy(
        stack.elasticsearch.url, files.certificate("server"), files.key("server"), "elastic", ELASTIC_PASSWORD
    )
    yield started
    started.close()


@pytest.fixture(scope="package")
def secrets(secure: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files as Secrets are mounted: what is right, and what is wrong."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "dsn").write_text(secure.postgres.dsn.partition("?")[0] + "\n")
    (folder / "wrong-dsn").write_text(
        secure.postgres.dsn.partition("?")[0].replace(secure.security.password("postgres"), "hush")
    )
    (folder / "elastic-user").write_text("elastic\n")
    (folder / "elastic-password").write_text(f"{ELASTIC_PASSWORD}\n")
    (folder / "wrong-password").write_text("hush\n")
    trustme.CA().cert_pem.write_to_path(folder / "other-ca.crt")
    return folder


@pytest.fixture(scope="package")
def document(secure: Stack, proxy: TlsProxy, secrets: Path) -> Callable[..., dict[str, Any]]:
    """Makes documents of pipelines of their own, for a way of authentication to Kafka."""

    def make(authentication: str = "scram-sha-512") -> dict[str, Any]:
        ca = str(secure.security.ca)
        return {
            "namespace": "secure",
            "name": f"t{os.getpid()}-{next(_numbers)}",
            "kafka": secure.kafka.member(authentication),
            "sources": [{"name": "web", "writeKey": KEY, "allowedOrigins": ["*"]}],
            "sinks": {
                "elasticsearch": {
                    "url": proxy.url,
                    "usernameFile": str(secrets / "elastic-user"),
                    "passwordFile": str(secrets / "elastic-password"),
                    "caFile": ca,
                },
                "postgres": {"dsnFile": str(secrets / "dsn"), "caFile": ca},
            },
        }

    return make


@pytest.fixture(scope="package")
def pipeline_of() -> Callable[[dict[str, Any]], Pipeline]:
    """Reads a document."""
    return lambda document: parse_pipeline(msgspec.json.encode(document))


@pytest.fixture(scope="package")
def stores_of(stack: Stack, secure: Stack) -> Callable[[Pipeline], Stores]:
    """Looks into the stores of a pipeline past the proxy."""
    return lambda pipeline: Stores(pipeline, stack.elasticsearch.url, secure.postgres.dsn)
