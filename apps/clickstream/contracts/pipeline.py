"""The pipeline document: what a process must know about the pipeline that it belongs to.

It has the shape of a ClickstreamPipeline's `spec` (camelCase), less what only Kubernetes cares about, and holds no
secret: credentials are named by file (`writeKeyFile`, …), so that it can lie in a ConfigMap. One document serves
all processes; each reads it once at its start.

A running process tolerates fields that it does not know, since the document may be that of a newer release, and tells
their names (`read_pipeline`). Whoever writes a document has it checked strictly (`parse_pipeline`), so that a typing
error is not a silent default.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from clickstream.contracts.durations import duration_ms
from clickstream.contracts.files import read_file
from clickstream.contracts.names import Names
from clickstream.contracts.security import Authentication, Tls, check_security


class _Spec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    pass


Positive = Annotated[int, msgspec.Meta(ge=1)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
PagePattern = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


MAX_GRACE_GAPS: Final = 1_500
"""How many times longer than the session gap the grace may be."""


class TopicSpec(_Spec, frozen=True):
    """Size of one topic. `replicas` left out: as many as the brokers' `default.replication.factor`."""

    partitions: Positive = 3
    replicas: Positive | None = None
    retention: str = "7d"


class Topics(_Spec, frozen=True):
    """The pipeline's topics."""

    raw_clicks: TopicSpec = TopicSpec()
    enriched_clicks: TopicSpec = TopicSpec()
    sessions: TopicSpec = TopicSpec(retention="30d")
    dead_letters: TopicSpec = TopicSpec(partitions=1, retention="30d")


class Kafka(_Spec, frozen=True):
    """How to reach Kafka. `clientConfigFile`: a file of further librdkafka properties (`key=value`), for tuning."""

    bootstrap_servers: str
    tls: Tls | None = None
    authentication: Authentication | None = None
    client_config_file: str | None = None
    topics: Topics = Topics()


class Source(_Spec, frozen=True):
    """A site or service that sends events: its name, its write key (given, or in a file), its browsers' origins."""

    name: Text
    write_key: str | None = None
    write_key_file: str | None = None
    allowed_origins: list[str] = []


class Privacy(_Spec, frozen=True):
    """What is done to personal data before it reaches Kafka."""

    anonymize_ip: bool = True
    respect_gpc: bool = False


class TrackingApi(_Spec, frozen=True):
    """Settings of the tracking API. `trustedProxies`: CIDRs whose X-Forwarded-For, or Forwarded, is believed."""

    trusted_proxies: list[str] = []
    privacy: Privacy = Privacy()


class Join(_Spec, frozen=True):
    """A compacted topic joined to clicks: `page` has one `{key}`, `/products/{key}`; the record's JSON object is the row."""

    name: Text
    topic: Text
    page: PagePattern


class PageCategory(_Spec, frozen=True):
    """A name for the pages that a pattern matches (`*` is any run of characters)."""

    name: Text
    page: PagePattern


class Enricher(_Spec, frozen=True):
    """Settings of the enricher. `geoip`: path of a MaxMind-format country or city database, which the tracking API reads too."""

    session_gap: str = "10m"
    grace: str = "10m"
    late_after: str = "7d"
    group_by: str = "user_id"
    geoip: str | None = None
    joins: Annotated[list[Join], msgspec.Meta(max_length=16)] = []
    page_categories: Annotated[list[PageCategory], msgspec.Meta(max_length=256)] = []


class FunnelStep(_Spec, frozen=True):
    """One step: its name and the pattern that a page view's path must match."""

    name: Text
    page: PagePattern


class Funnel(_Spec, frozen=True):
    """An ordered list of steps."""

    name: Text
    steps: Annotated[list[FunnelStep], msgspec.Meta(min_length=1, max_length=32)]


class ElasticsearchSink(_Spec, frozen=True):
    """`usernameFile`/`passwordFile` or `apiKeyFile` for credentials, `caFile` for a private certificate authority."""

    url: str
    username_file: str | None = None
    password_file: str | None = None
    api_key_file: str | None = None
    ca_file: str | None = None
    retention: str = "30d"
    shards: Positive = 1
    replicas: Annotated[int, msgspec.Meta(ge=0)] = 0


class PostgresSink(_Spec, frozen=True):
    """`dsn` without a password, or `dsnFile` with the whole connection string; `caFile` for TLS."""

    dsn: str | None = None
    dsn_file: str | None = None
    ca_file: str | None = None
    retention: str = "395d"


class Sinks(_Spec, frozen=True):
    """The stores; None means not wanted."""

    elasticsearch: ElasticsearchSink | None = None
    postgres: PostgresSink | None = None


class Pipeline(_Spec, frozen=True):
    """The whole document. Raises ValueError (from `parse_pipeline`) with the field's path for anything that is wrong."""

    namespace: str
    name: str
    kafka: Kafka
    sources: list[Source] = []
    tracking_api: TrackingApi = TrackingApi()
    enricher: Enricher = Enricher()
    funnels: Annotated[list[Funnel], msgspec.Meta(max_length=64)] = []
    sinks: Sinks = Sinks()
    time_zone: str = "UTC"

    @property
    def names(self) -> Names:
        """Every derived name."""
        return Names(self.namespace, self.name)


# Made once, by the thread that imports: msgspec's first look at a type is not safe in two threads at once (seen with 0.22).
_decoder = msgspec.json.Decoder(Pipeline)
_shape = msgspec.inspect.type_info(Pipeline)


def read_pipeline(document: bytes) -> tuple[Pipeline, list[str]]:
    """The pipeline in a JSON document, and the fields of it that are unknown (`enricher.joins[0].x`).

    Raises ValueError whose message names the field that is wrong.
    """
    text = document.removeprefix(b"\xef\xbb\xbf")
    try:
        pipeline = _decoder.decode(text)
        unknown = list(_unknown(msgspec.json.decode(text), _shape, ""))
    except RecursionError:
        msg = "pipeline document: nested too deeply"
        raise ValueError(msg) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        msg = f"pipeline document: {error}"
        raise ValueError(msg) from error
    _check(pipeline)
    return pipeline, unknown


def parse_pipeline(document: bytes) -> Pipeline:
    """The pipeline in a JSON document without unknown fields. Raises ValueError whose message names the field."""
    pipeline, unknown = read_pipeline(document)
    if unknown:
        msg = f"pipeline document: unknown field {unknown[0]}"
        raise ValueError(msg)
    return pipeline


def load_pipeline(path: Path) -> Pipeline:
    """`parse_pipeline` of a JSON file. Raises ValueError with the path when it cannot be read or is wrong."""
    content = read_file(path)
    try:
        return parse_pipeline(content)
    except ValueError as error:
        msg = f"{path}: {error}"
        raise ValueError(msg) from error


def dump_pipeline(pipeline: Pipeline) -> bytes:
    """The document that `parse_pipeline` reads, indented, defaults left out."""
    return msgspec.json.format(msgspec.json.encode(pipeline), indent=2) + b"\n"


def _unknown(value: Any, shape: msgspec.inspect.Type, path: str) -> Iterator[str]:
    """The paths of an already decoded document's fields that no type of ours has."""
    match shape:
        case msgspec.inspect.StructType(fields=fields):
            known = {field.encode_name: field.type for field in fields}
            for name, inner in value.items():
                where = f"{path}.{name}" if path else name
                if name in known:
                    yield from _unknown(inner, known[name], where)
                else:
                    yield where
        case msgspec.inspect.ListType(item_type=item):
            for number, inner in enumerate(value):
                yield from _unknown(inner, item, f"{path}[{number}]")
        case msgspec.inspect.UnionType(types=types) if value is not None:
            for each in types:  # of None and one other
                yield from _unknown(value, each, path)


def _check(pipeline: Pipeline) -> None:
    """What types cannot say. The custom resource's CEL rules say the same (manifests/crds)."""
    _ = pipeline.names
    check_security(pipeline.kafka.tls, pipeline.kafka.authentication)
    topics = pipeline.kafka.topics
    for where, value in (
        ("enricher.sessionGap", pipeline.enricher.session_gap),
        ("enricher.grace", pipeline.enricher.grace),
        ("enricher.lateAfter", pipeline.enricher.late_after),
        ("kafka.topics.rawClicks.retention", topics.raw_clicks.retention),
        ("kafka.topics.enrichedClicks.retention", topics.enriched_clicks.retention),
        ("kafka.topics.sessions.retention", topics.sessions.retention),
        ("kafka.topics.deadLetters.retention", topics.dead_letters.retention),
    ):
        try:
            duration_ms(value)
        except ValueError as error:
            msg = f"{where}: {error}"
            raise ValueError(msg) from error
    if duration_ms(pipeline.enricher.session_gap) == 0:
        msg = "enricher.sessionGap: must be longer than 0"
        raise ValueError(msg)
    if duration_ms(pipeline.enricher.grace) > MAX_GRACE_GAPS * duration_ms(pipeline.enricher.session_gap):
        msg = (
            f"enricher.grace: at most {MAX_GRACE_GAPS} times sessionGap, since each user may have so many open sessions,"
            f" all of which are kept; {pipeline.enricher.grace} is more than that of {pipeline.enricher.session_gap}"
        )
        raise ValueError(msg)
    if pipeline.enricher.group_by not in {"user_id", "session_id"}:
        msg = f"enricher.groupBy: {pipeline.enricher.group_by!r} is not user_id or session_id"
        raise ValueError(msg)
    for where, names in (
        ("sources", [source.name for source in pipeline.sources]),
        ("funnels", [funnel.name for funnel in pipeline.funnels]),
        ("enricher.joins", [join.name for join in pipeline.enricher.joins]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"{where}: the name {twice[0]!r} is used twice"
            raise ValueError(msg)
    for join in pipeline.enricher.joins:
        if join.page.count("{key}") != 1:
            msg = f"enricher.joins.{join.name}.page: {join.page!r} must have exactly one {{key}}, such as /products/{{key}}"
            raise ValueError(msg)
