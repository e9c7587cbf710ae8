"""A ClickstreamPipeline as typed values: the parts that concern Kubernetes only, with the resource's defaults.

What the pipeline's processes are to know has its types in `clickstream.contracts.pipeline` (see `document`). Validation
is the CRD's business (manifests/crds); this only refuses what does not have the schema's shape, for a resource that was
stored under another one. Field names are the resource's, in snake case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from clickstream.contracts.pipeline import located
from clickstream_operator import naming
from clickstream_operator.defaults import spec_schema, with_defaults


class _Part(msgspec.Struct, frozen=True, rename="camel"):
    pass


class _Shown(_Part, frozen=True, omit_defaults=True):
    """A part that goes into a child as it is: `shown` is it as JSON, without what is left out."""

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


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
    """The Secrets with which the processes authenticate to Kafka."""

    password_secret_ref: KeyRef | None = None
    certificate_secret_ref: CertificateRef | None = None


class Kafka(_Part, frozen=True):
    """The Kafka cluster."""

    strimzi: Strimzi | None = None
    tls: Tls | None = None
    authentication: Authentication | None = None


class Source(_Part, frozen=True):
    """A sender of clicks."""

    name: str
    write_key_secret_ref: KeyRef


class Autoscaling(_Part, frozen=True):
    """Who sets the number of replicas, within which bounds, and by what.

    `scaler` is HPA, KEDA or None, as words. `replicas` counts with None; None there: the number is left to others.
    """

    min_replicas: int
    max_replicas: int
    target_cpu: int = msgspec.field(name="targetCPUUtilizationPercentage")
    scale_down_window: str
    scaler: str = "HPA"
    replicas: int | None = None
    metrics: list[dict[str, Any]] = []


class TriggerAuthenticationRef(_Part, frozen=True):
    """How KEDA authenticates to Kafka."""

    name: str
    kind: str


class ConsumerAutoscaling(Autoscaling, frozen=True):
    """The same of a consumer, which KEDA can scale by its lag."""

    lag_threshold: int = 1000
    trigger_authentication_ref: TriggerAuthenticationRef | None = None


class Resources(_Part, frozen=True):
    """Requests and limits of a container. The requests may be the resource's defaults, and above the limits."""

    requests: dict[str, int | str] = {}
    limits: dict[str, int | str] = {}


class LocalRef(_Part, frozen=True):
    """An object of the pipeline's namespace."""

    name: str


class PodMetadata(_Part, frozen=True):
    """Labels and annotations of pods."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class EnvVar(_Shown, frozen=True):
    """An environment variable."""

    name: str
    value: str | None = None
    value_from: dict[str, Any] | None = None


class Volume(_Shown, frozen=True):
    """A volume, of one of the kinds that the restricted Pod Security Standard allows."""

    name: str
    config_map: dict[str, Any] | None = None
    csi: dict[str, Any] | None = None
    downward_api: dict[str, Any] | None = msgspec.field(name="downwardAPI", default=None)
    empty_dir: dict[str, Any] | None = None
    ephemeral: dict[str, Any] | None = None
    persistent_volume_claim: dict[str, Any] | None = None
    projected: dict[str, Any] | None = None
    secret: dict[str, Any] | None = None


class VolumeMount(_Shown, frozen=True):
    """Where a volume is mounted."""

    name: str
    mount_path: str
    sub_path: str | None = None
    read_only: bool | None = None


class PodTemplate(_Part, frozen=True):
    """What a component's pods have beside what the operator gives them; None: the pipeline's `scheduling` holds."""

    metadata: PodMetadata = PodMetadata()
    affinity: dict[str, Any] | None = None
    topology_spread_constraints: list[dict[str, Any]] | None = None
    node_selector: dict[str, str] | None = None
    tolerations: list[dict[str, Any]] | None = None
    priority_class_name: str | None = None
    env: list[EnvVar] = []
    volumes: list[Volume] = []
    volume_mounts: list[VolumeMount] = []


class Service(_Part, frozen=True):
    """The Service of the tracking API."""

    type: str
    annotations: dict[str, str] = {}
    node_port: int | None = None
    external_traffic_policy: str | None = None
    load_balancer_class: str | None = None
    load_balancer_source_ranges: list[str] | None = None
    ip_family_policy: str | None = None


class ParentRef(_Shown, frozen=True):
    """A Gateway, or a listener of it."""

    name: str
    namespace: str | None = None
    section_name: str | None = None
    port: int | None = None


class HttpRoute(_Part, frozen=True):
    """How the tracking API is reached through the Gateway API."""

    parent_refs: list[ParentRef]
    hostnames: list[str]
    annotations: dict[str, str] = {}


class ServiceAccount(_Part, frozen=True):
    """The account of all pods."""

    annotations: dict[str, str] = {}


class Jobs(_Part, frozen=True):
    """The Jobs that prepare stores and topics, and remove their data."""

    log_level: str | None = None
    pod_template: PodTemplate = PodTemplate()


class Ingress(_Part, frozen=True):
    """How the tracking API is reached from outside."""

    host: str
    annotations: dict[str, str]
    class_name: str | None = None
    tls_secret_name: str | None = None


class TrackingApi(_Part, frozen=True):
    """The tracking API."""

    autoscaling: Autoscaling
    resources: Resources
    service: Service
    ingress: Ingress | None = None
    http_route: HttpRoute | None = None
    log_level: str | None = None
    pod_template: PodTemplate = PodTemplate()


class Geoip(_Part, frozen=True):
    """A country database on a volume."""

    claim_name: str
    path: str


class Enricher(_Part, frozen=True):
    """The enricher."""

    autoscaling: ConsumerAutoscaling
    resources: Resources
    geoip: Geoip | None = None
    log_level: str | None = None
    pod_template: PodTemplate = PodTemplate()


class ElasticsearchSink(_Part, frozen=True):
    """The Elasticsearch sink."""

    autoscaling: ConsumerAutoscaling
    resources: Resources
    credentials_secret_ref: CredentialsRef | None = None
    api_key_secret_ref: KeyRef | None = None
    ca_secret_ref: KeyRef | None = None
    log_level: str | None = None
    pod_template: PodTemplate = PodTemplate()


class PostgresSink(_Part, frozen=True):
    """The PostgreSQL sink."""

    connection_secret_ref: KeyRef
    port: int
    autoscaling: ConsumerAutoscaling
    resources: Resources
    ca_secret_ref: KeyRef | None = None
    log_level: str | None = None
    pod_template: PodTemplate = PodTemplate()


class Sinks(_Part, frozen=True):
    """The stores; None: not wanted."""

    elasticsearch: ElasticsearchSink | None = None
    postgres: PostgresSink | None = None


class ElasticsearchSource(_Part, frozen=True):
    """Grafana's way to Elasticsearch."""

    url: str | None = None
    credentials_secret_ref: CredentialsRef | None = None
    api_key_secret_ref: KeyRef | None = None
    ca_secret_ref: KeyRef | None = None


class PostgresSource(_Part, frozen=True):
    """Grafana's way to PostgreSQL."""

    connection_secret_ref: KeyRef
    ca_secret_ref: KeyRef | None = None


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
    """What of `spec` concerns Kubernetes only, and in `fields` all of it as the API server would store it."""

    fields: dict[str, Any]

    suspend: bool
    deletion_policy: str
    kafka: Kafka
    sources: list[Source]
    tracking_api: TrackingApi
    enricher: Enricher
    sinks: Sinks
    dashboards: Dashboards
    telemetry: Telemetry
    network_policies: NetworkPolicies
    scheduling: Scheduling
    image_pull_secrets: list[LocalRef]
    service_account: ServiceAccount
    jobs: Jobs
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
    """The parts of the object that matter. `status` is what was written last."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    deleting: bool
    paused: bool
    finalizers: tuple[str, ...]
    raw_spec: Any
    status: Mapping[str, Any]
    api_version: str
    kind: str

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return self.namespace, self.name

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
        paused=(meta.get("annotations") or {}).get(naming.PAUSED_ANNOTATION) == "true",
        finalizers=tuple(meta.get("finalizers", ())),
        raw_spec=body.get("spec"),
        status=_status(body.get("status")),
        api_version=body["apiVersion"],
        kind=body["kind"],
    )


def _status(found: Any) -> Mapping[str, Any]:
    """The status, without conditions that lack what this operator writes: others may have written anything."""
    if not isinstance(found, dict):
        return {}
    conditions = found.get("conditions")
    needed = ("type", "status", "reason", "message", "lastTransitionTime")
    whole = [
        each
        for each in (conditions if isinstance(conditions, list) else [])
        if isinstance(each, dict) and all(isinstance(each.get(name), str) for name in needed)
    ]
    return found if whole == conditions else found | {"conditions": whole}


def parse_spec(raw: Any) -> PipelineSpec:
    """The spec with its defaults. Raises InvalidSpecError."""
    if not isinstance(raw, dict):
        msg = "spec: it is not an object"
        raise InvalidSpecError(msg)
    try:
        fields = with_defaults(spec_schema(), raw)
        return msgspec.convert(fields | {"fields": fields}, PipelineSpec)
    except msgspec.ValidationError as error:
        raise InvalidSpecError(located(error, "spec")) from error
