"""Which Secrets a component needs, and under which file of its pods it finds each key.

The pipeline document names these files; the Secrets' contents never pass through the operator (Grafana's data sources
excepted, which have to hold them).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from clickstream_operator import naming
from clickstream_operator.spec import CredentialsRef, KeyRef, PipelineSpec

ROOT: Final = "/etc/clickstream/secrets"

KAFKA_CA: Final = "kafka/ca.crt"
KAFKA_PASSWORD: Final = "kafka/password"  # noqa: S105 - a file's name
KAFKA_CERTIFICATE: Final = "kafka/user.crt"
KAFKA_KEY: Final = "kafka/user.key"
ELASTICSEARCH_USERNAME: Final = "elasticsearch/username"
ELASTICSEARCH_PASSWORD: Final = "elasticsearch/password"  # noqa: S105
ELASTICSEARCH_API_KEY: Final = "elasticsearch/api-key"
ELASTICSEARCH_CA: Final = "elasticsearch/ca.crt"
POSTGRES_DSN: Final = "postgres/uri"
POSTGRES_CA: Final = "postgres/ca.crt"


class SecretKey(NamedTuple):
    """A key of a Secret in the pipeline's namespace."""

    secret: str
    key: str


class Mount(NamedTuple):
    """A key and the file below ROOT that it becomes."""

    key: SecretKey
    path: str


def file(path: str) -> str:
    """The absolute path in a pod."""
    return f"{ROOT}/{path}"


def write_key(source: str) -> str:
    """The file with a source's write key."""
    return f"sources/{source}"


def secret_key(ref: KeyRef) -> SecretKey:
    """The key that a reference names."""
    return SecretKey(ref.name, ref.key)


def mounts_of(spec: PipelineSpec, component: str) -> list[Mount]:
    """What a component (`tracking-api`, `enricher`, `sink-…`, `topics`, or a store's name for its setup) needs."""
    found: list[Mount] = []
    if component not in naming.STORES:
        found += _kafka(spec)
    if component == naming.TRACKING_API:
        found += [Mount(secret_key(source.write_key_secret_ref), write_key(source.name)) for source in spec.sources]
    if component in {naming.ELASTICSEARCH, naming.sink(naming.ELASTICSEARCH)}:
        found += _elasticsearch(spec)
    if component in {naming.POSTGRES, naming.sink(naming.POSTGRES)}:
        found += _postgres(spec)
    return found


def datasource_keys(spec: PipelineSpec) -> list[SecretKey]:
    """The keys that are copied into Grafana's data sources."""
    if not spec.dashboards.enabled:
        return []
    found: list[SecretKey] = []
    elasticsearch, postgres = spec.dashboards.datasources.elasticsearch, spec.dashboards.datasources.postgres
    if elasticsearch is not None and elasticsearch.credentials_secret_ref is not None:
        found += _pair(elasticsearch.credentials_secret_ref)
    if elasticsearch is not None and elasticsearch.api_key_secret_ref is not None:
        found.append(secret_key(elasticsearch.api_key_secret_ref))
    if (ca := elasticsearch_datasource_ca(spec)) is not None:
        found.append(secret_key(ca))
    if postgres is not None:
        found.append(secret_key(postgres.connection_secret_ref))
        if postgres.ca_secret_ref is not None:
            found.append(secret_key(postgres.ca_secret_ref))
    return found


def elasticsearch_datasource_ca(spec: PipelineSpec) -> KeyRef | None:
    """Grafana's certificate authority for Elasticsearch: its own, else the sink's where the address is the sink's."""
    wanted, sink = spec.dashboards.datasources.elasticsearch, spec.sinks.elasticsearch
    if wanted is not None and (wanted.ca_secret_ref is not None or wanted.url is not None):
        return wanted.ca_secret_ref
    return None if sink is None else sink.ca_secret_ref


def all_keys(spec: PipelineSpec) -> list[SecretKey]:
    """Every key that anything of the pipeline refers to, each once."""
    components = [naming.TRACKING_API, naming.ENRICHER, *(naming.sink(store) for store in spec.stores)]
    keys = [mount.key for component in components for mount in mounts_of(spec, component)]
    return list(dict.fromkeys([*keys, *datasource_keys(spec)]))


def _kafka(spec: PipelineSpec) -> Iterator[Mount]:
    tls, authentication = spec.kafka.tls, spec.kafka.authentication
    if tls is not None and tls.ca_secret_ref is not None:
        yield Mount(secret_key(tls.ca_secret_ref), KAFKA_CA)
    if authentication is None:
        return
    certificate = authentication.certificate_secret_ref
    if certificate is not None:
        yield Mount(SecretKey(certificate.name, certificate.certificate_key), KAFKA_CERTIFICATE)
        yield Mount(SecretKey(certificate.name, certificate.private_key_key), KAFKA_KEY)
    if authentication.password_secret_ref is not None:
        yield Mount(secret_key(authentication.password_secret_ref), KAFKA_PASSWORD)


def _elasticsearch(spec: PipelineSpec) -> Iterator[Mount]:
    sink = spec.sinks.elasticsearch
    assert sink is not None
    if sink.credentials_secret_ref is not None:
        username, password = _pair(sink.credentials_secret_ref)
        yield Mount(username, ELASTICSEARCH_USERNAME)
        yield Mount(password, ELASTICSEARCH_PASSWORD)
    if sink.api_key_secret_ref is not None:
        yield Mount(secret_key(sink.api_key_secret_ref), ELASTICSEARCH_API_KEY)
    if sink.ca_secret_ref is not None:
        yield Mount(secret_key(sink.ca_secret_ref), ELASTICSEARCH_CA)


def _postgres(spec: PipelineSpec) -> Iterator[Mount]:
    sink = spec.sinks.postgres
    assert sink is not None
    yield Mount(secret_key(sink.connection_secret_ref), POSTGRES_DSN)
    if sink.ca_secret_ref is not None:
        yield Mount(secret_key(sink.ca_secret_ref), POSTGRES_CA)


def _pair(ref: CredentialsRef) -> tuple[SecretKey, SecretKey]:
    return SecretKey(ref.name, ref.username_key), SecretKey(ref.name, ref.password_key)
