"""A ClickstreamPipeline as typed values: what users may write, with the resource's defaults filled in.

Validation is the CRD's business (manifests/crds); this only refuses what does not have the schema's shape, for a
resource that was stored under another one. Field names are the resource's, in snake case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from clickstream_operator.defaults import spec_schema, with_defaults


class _Part(msgspec.Struct, frozen=True, rename="camel"):
    pass


class KeyRef(_Part, frozen=True):
    """A key of a Secret in the pipeline's namespace."""

    name: str
    key: str


class CertificateRef(_Part, frozen=True):
    """A client certificate and its private key, in one Secret."""

    name: str
    certificate_key: str
    private_key_key: str


class CredentialsRef(_Part, frozen=True):
    """User and password, in one Secret."""

    name: str
    username_key: str
    password_key: str


class Strimzi(_Part, frozen=True):
    """The Strimzi cluster that makes the topics."""

    cluster: str
    namespace: str | None = None


class Tls(_Part, frozen=True):
    """TLS to Kafka."""

    ca_secret_ref: KeyRef | None = None


class Authentication(_Part, frozen=True):
    """Authentication to Kafka."""

    type: str
    username: str | None = None
    password_secret_ref: KeyRef | None = None
    certificate_secret_ref: CertificateRef | None = None


class TopicSpec(_Part, frozen=True):
    """One topic; `replicas` None: the brokers decide."""

    partitions: int
    retention: str
    replicas: int | None = None


class Topics(_Part, frozen=True):
    """All topics that can be sized."""

    raw_clicks: TopicSpec
    enriched_clicks: TopicSpec
    sessions: TopicSpec
    dead_letters: TopicSpec


class Kafka(_Part, frozen=True):
    """The Kafka cluster."""

    bootstrap_servers: str
    topics: Topics
    strimzi: Strimzi | None = None
    tls: Tls | None = None
    authentication: Authentication | None = None


class Source(_Part, frozen=True):
    """A sender of clicks."""

    name: str
    write_key_secret_ref: KeyRef
    allowed_origins: list[str]


class Autoscaling(_Part, frozen=True):
    """Bounds and target of an autoscaler."""

    min_replicas: int
    max_replicas: int
    target_cpu: int = msgspec.field(name="targetCPUUtilizationPercentage")
    scale_down_window: str


class Resources(_Part, frozen=True):
    """Requests and limits of a container."""

    requests: dict[str, int | str] = {}
    limits: dict[str, int | str] = {}


class Ingress(_Part, frozen=True):
    """How the tracking API is reached from outside."""

    host: str
    annotations: dict[str, str]
    class_name: str | None = None
    tls_secret_name: str | None = None


class Privacy(_Part, frozen=True):
    """What is done to personal data."""

    anonymize_ip: bool
    respect_gpc: bool


class TrackingApi(_Part, frozen=True):
    """The tracking API."""

    autoscaling: Autoscaling
    resources: Resources
    privacy: Privacy
    trusted_proxies: list[str]
    ingress: Ingress | None = None


class Geoip(_Part, frozen=True):
    """A country database on a volume."""

    claim_name: str
    path: str


class Enricher(_Part, frozen=True):
    """The enricher. `joins` and `page_categories` are handed on as they are."""

    session_gap: str
    grace: str
    late_after: str
    group_by: str
    joins: list[dict[str, str]]
    page_categories: list[dict[str, str]]
    autoscaling: Autoscaling
    resources: Resources
    geoip: Geoip | None = None


class ElasticsearchSink(_Part, frozen=True):
    """The Elasticsearch sink."""

    url: str
    retention: str
    shards: int
    replicas: int
    autoscaling: Autoscaling
    resources: Resources
    credentials_secret_ref: CredentialsRef | None = None
    api_key_secret_ref: KeyRef | None = None
    ca_secret_ref: KeyRef | None = None


class PostgresSink(_Part, frozen=True):
    """The PostgreSQL sink."""

    connection_secret_ref: KeyRef
    port: int
    retention: str
    autoscaling: Autoscaling
    resources: Resources
    ca_secret_ref: KeyRef | None = None


class Sinks(_Part, frozen=True):
    """The stores; None: not wanted."""

    elasticsearch: ElasticsearchSink | None = None
    postgres: PostgresSink | None = None


class ElasticsearchSource(_Part, frozen=True):
    """Grafana's way to Elasticsearch."""

    url: str | None = None
    credentials_secret_ref: CredentialsRef | None = None


class PostgresSource(_Part, frozen=True):
    """Grafana's way to PostgreSQL."""

    connection_secret_ref: KeyRef


class PrometheusSource(_Part, frozen=True):
    """Grafana's way to Prometheus."""

    url: str


class Datasources(_Part, frozen=True):
    """What to provision in Grafana."""

    labels: dict[str, str]
    elasticsearch: ElasticsearchSource | None = None
    postgres: PostgresSource | None = None
    prometheus: PrometheusSource | None = None


class Dashboards(_Part, frozen=True):
    """Grafana dashboards."""

    enabled: bool
    labels: dict[str, str]
    datasources: Datasources
    folder: str | None = None


class Telemetry(_Part, frozen=True):
    """Logs, metrics and traces."""

    log_level: str
    otlp_endpoint: str | None = None


class NetworkPolicies(_Part, frozen=True):
    """What pods may reach."""

    enabled: bool
    additional_egress_ports: list[int]


class Scheduling(_Part, frozen=True):
    """Where pods run."""

    node_selector: dict[str, str]
    tolerations: list[dict[str, Any]]
    priority_class_name: str | None = None


class PipelineSpec(_Part, frozen=True):
    """The whole of `spec`."""

    suspend: bool
    deletion_policy: str
    time_zone: str
    kafka: Kafka
    sources: list[Source]
    tracking_api: TrackingApi
    enricher: Enricher
    funnels: list[dict[str, Any]]
    sinks: Sinks
    dashboards: Dashboards
    telemetry: Telemetry
    network_policies: NetworkPolicies
    scheduling: Scheduling
    image: str | None = None

    @property
    def stores(self) -> list[str]:
        """The stores that are wanted."""
        return [name for name in ("elasticsearch", "postgres") if getattr(self.sinks, name) is not None]


# msgspec looks at a type when it is first used, and two threads that do so at once crash the process (seen with 0.22):
# made here, in the one thread that imports.
msgspec.json.Decoder(PipelineSpec)


class InvalidSpecError(ValueError):
    """The spec does not have the shape that this operator knows; the message names the field."""


class PipelineResource(msgspec.Struct, frozen=True):
    """The parts of the object that matter. `status` is what was written last, for transition times only."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    deleting: bool
    finalizers: tuple[str, ...]
    raw_spec: Mapping[str, Any]
    status: Mapping[str, Any]
    api_version: str
    kind: str

    def spec(self) -> PipelineSpec:
        """The typed spec. Raises InvalidSpecError."""
        return parse_spec(self.raw_spec)


def read_resource(body: Mapping[str, Any]) -> PipelineResource:
    """From the object as the API server gives it."""
    meta = body["metadata"]
    return PipelineResource(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta.get("resourceVersion", ""),
        generation=int(meta.get("generation", 0)),
        deleting=meta.get("deletionTimestamp") is not None,
        finalizers=tuple(meta.get("finalizers", ())),
        raw_spec=body.get("spec") or {},
        status=body.get("status") or {},
        api_version=body["apiVersion"],
        kind=body["kind"],
    )


def parse_spec(raw: Mapping[str, Any]) -> PipelineSpec:
    """The spec with its defaults. Raises InvalidSpecError."""
    try:
        return msgspec.convert(with_defaults(spec_schema(), dict(raw)), PipelineSpec)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        where = path.strip("`").removeprefix("$").removeprefix(".")
        msg = f"spec{'.' if where else ''}{where}: {reason}"
        raise InvalidSpecError(msg) from error
