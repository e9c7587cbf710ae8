"""The pipeline document: what a process must know about the pipeline that it belongs to.

It has the shape of a ClickstreamPipeline's `spec` (camelCase), less what only Kubernetes cares about, and holds no
secret: credentials are named by file (`writeKeyFile`, …), so that it can lie in a ConfigMap. One document serves all
processes; each reads it once at its start.

A running process tolerates unknown fields, since the document may be that of a newer release, and reports their names
(`read_pipeline`). Whoever writes a document has it checked strictly (`parse_pipeline`), so that a typo is not a silent
default.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec

from clickstream.contracts.durations import duration_ms
from clickstream.contracts.names import Names
from clickstream.contracts.security import Authentication, Tls, check_security


class _Spec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    pass


Positive = Annotated[int, msgspec.Meta(ge=1)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
PagePattern = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


MIN_RETENTION: Final = "1h"
"""Kafka's `retention.ms` 0 deletes what was just written; a restart must not take longer than records are kept."""
MAX_DURATION: Final = "36500d"
"""A century: dates that are computed from it stay within what Python and PostgreSQL can express."""
MIN_BURST: Final = 500
"""The events of the largest batch: a bucket that holds less would never take it."""
MAX_GRACE_GAPS: Final = 1_500
"""How many times longer than the session gap the grace may be."""


class TopicSpec(_Spec, frozen=True):
    """Size of one topic. `replicas` left out: as many as the brokers' `default.replication.factor`."""

    partitions: Positive = 12
    replicas: Positive | None = None
    retention: str = "7d"


class Topics(_Spec, frozen=True):
    """The size of each of the pipeline's topics."""

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


class Rate(_Spec, frozen=True):
    """Events a second, and how many at once; None: 10 seconds' worth, at least a whole batch."""

    events_per_second: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    burst: Annotated[int, msgspec.Meta(ge=MIN_BURST, le=10_000_000)] | None = None


class DeadLetterBudget(_Spec, frozen=True):
    """Bytes a second that may be written to dead-letters."""

    bytes_per_second: Annotated[int, msgspec.Meta(ge=1_024, le=1_073_741_824)] = 1_048_576


class SourceLimits(_Spec, frozen=True):
    """What one pod takes of a source: of all its clients, of each client's address (None: no limit), dead letters."""

    source: Rate | None = None
    address: Rate | None = None
    dead_letters: DeadLetterBudget = DeadLetterBudget()


class Source(_Spec, frozen=True):
    """A site or service that sends events: its name, its write key (given, or in a file), its browsers' origins."""

    name: Text
    write_key: str | None = None
    write_key_file: str | None = None
    allowed_origins: list[str] = []
    limits: SourceLimits = SourceLimits()


REDACTED: Final = (
    *("token", "jwt", "secret", "signature", "sig", "otp", "password", "passwd", "pwd", "auth", "authorization"),
    *("apikey", "api_key", "sessionid", "session_id", "jsessionid", "phpsessid", "sid"),
    *("email", "e_mail", "phone", "mobile", "firstname", "first_name", "lastname", "last_name", "birthdate", "dob"),
    *("ssn", "iban", "card_number", "cardnumber", "cvv", "cvc"),
)
"""Words in the names of URL parameters that nobody wants in a warehouse."""


class Privacy(_Spec, frozen=True):
    """What is done to personal data before it reaches Kafka.

    `redactParameters`: words; parameters whose names have one lose their values. `keepParameters`: names; if there are
    any, all others (but for the campaign's) do. The second replaces the first.
    """

    anonymize_ip: bool = True
    keep_ip: bool = True
    keep_country: bool = True
    respect_gpc: bool = True
    redact_parameters: tuple[Text, ...] = REDACTED
    keep_parameters: tuple[Text, ...] = ()
    redact_emails: bool = True
    reduce_user_agent: bool = False


class TrackingApi(_Spec, frozen=True):
    """Settings of the tracking API. `trustedProxies`: CIDRs whose X-Forwarded-For, or Forwarded, is believed."""

    trusted_proxies: list[str] = []
    privacy: Privacy = Privacy()


class Join(_Spec, frozen=True):
    """A compacted topic joined to clicks; the record's JSON object is the row.

    `page` has one `{key}`, as in `/products/{key}`.
    """

    name: Text
    topic: Text
    page: PagePattern


class PageCategory(_Spec, frozen=True):
    """A name for the pages that a pattern matches (`*` is any run of characters)."""

    name: Text
    page: PagePattern


class Enricher(_Spec, frozen=True):
    """Settings of the enricher.

    `geoip`: path of a MaxMind-format country or city database, which the tracking API reads too; None: the process's.
    `ownDomains`: whose pages, and those of their sub-domains, are the site's own as referrers.
    """

    session_gap: str = "10m"
    grace: str = "10m"
    late_after: str = "7d"
    group_by: str = "user_id"
    geoip: str | None = None
    joins: Annotated[list[Join], msgspec.Meta(max_length=16)] = []
    page_categories: Annotated[list[PageCategory], msgspec.Meta(max_length=256)] = []
    own_domains: Annotated[list[Text], msgspec.Meta(max_length=64)] = []


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
    replicas: Annotated[int, msgspec.Meta(ge=0)] = 1


class PostgresSink(_Spec, frozen=True):
    """`dsn` without a password, or `dsnFile` with the whole connection string; `caFile` for TLS."""

    dsn: str | None = None
    dsn_file: str | None = None
    ca_file: str | None = None
    retention: str = "395d"


class Sinks(_Spec, frozen=True):
    """The stores; None: no such sink."""

    elasticsearch: ElasticsearchSink | None = None
    postgres: PostgresSink | None = None


class Pipeline(_Spec, frozen=True):
    """The whole document; `parse_pipeline` raises ValueError with the path of a field that is wrong."""

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
        return Names(self.namespace, self.name)


# Made once, by the thread that imports: msgspec's first look at a type is not safe in two threads at once (seen with
# 0.22).
_decoder = msgspec.json.Decoder(Pipeline)
_shape = msgspec.inspect.type_info(Pipeline)


def read_pipeline(document: bytes) -> tuple[Pipeline, list[str]]:
    """The pipeline in a JSON document, and the fields of it that are unknown (`enricher.joins[0].x`).

    Raises ValueError whose message names the field that is wrong.
    """
    text = document.removeprefix(b"\xef\xbb\xbf")
    try:
        pipeline = _decoder.decode(text)
        unknown: list[str] = []
        _known(msgspec.json.decode(text), _shape, "", unknown)
    except RecursionError:
        msg = "pipeline document: nested too deeply"
        raise ValueError(msg) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        msg = f"pipeline document: {located(error)}"
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


def dump_pipeline(pipeline: Pipeline) -> bytes:
    """The document that `parse_pipeline` reads, indented, defaults left out."""
    return msgspec.json.format(msgspec.json.encode(pipeline), indent=2) + b"\n"


def located(error: Exception, root: str = "") -> str:
    """A decoder's message with the path of the wrong field first: `sources: Expected `array`, got `int``."""
    reason, _, path = str(error).partition(" - at ")
    where = (root + path.strip("`").removeprefix("$")).removeprefix(".")
    return f"{where}: {reason}" if where else reason


def known_fields(value: Any) -> Any:
    """A copy of the document, as a JSON object, without the members that no type here has a field for."""
    return _known(value, _shape, "", [])


def _known(value: Any, shape: msgspec.inspect.Type, path: str, unknown: list[str]) -> Any:
    """What of the value the shape has fields for; the paths of other members are added to `unknown`."""
    match shape:
        case msgspec.inspect.StructType(fields=fields) if isinstance(value, dict):
            types = {field.encode_name: field.type for field in fields}
            found = {}
            for name, inner in value.items():
                where = f"{path}.{name}" if path else name
                if name in types:
                    found[name] = _known(inner, types[name], where, unknown)
                else:
                    unknown.append(where)
            return {name: found[name] for name in types if found.get(name) is not None}
        case msgspec.inspect.ListType(item_type=item) if isinstance(value, list):
            return [_known(inner, item, f"{path}[{number}]", unknown) for number, inner in enumerate(value)]
        case msgspec.inspect.UnionType(types=types):  # of None and one other
            other = next(each for each in types if not isinstance(each, msgspec.inspect.NoneType))
            return _known(value, other, path, unknown)
    return value


def _retentions(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    topics, sinks = pipeline.kafka.topics, pipeline.sinks
    yield "kafka.topics.rawClicks.retention", topics.raw_clicks.retention
    yield "kafka.topics.enrichedClicks.retention", topics.enriched_clicks.retention
    yield "kafka.topics.sessions.retention", topics.sessions.retention
    yield "kafka.topics.deadLetters.retention", topics.dead_letters.retention
    if sinks.elasticsearch is not None:
        yield "sinks.elasticsearch.retention", sinks.elasticsearch.retention
    if sinks.postgres is not None:
        yield "sinks.postgres.retention", sinks.postgres.retention


def _check_duration(where: str, value: str, least: str) -> None:
    try:
        given = duration_ms(value)
    except ValueError as error:
        msg = f"{where}: {error}"
        raise ValueError(msg) from error
    if not duration_ms(least) <= given <= duration_ms(MAX_DURATION):
        msg = f"{where}: at least {least} and at most {MAX_DURATION}; it is {value}"
        raise ValueError(msg)


def _check(pipeline: Pipeline) -> None:
    """What types cannot say. The custom resource's CEL rules say the same (manifests/crds)."""
    _ = pipeline.names
    check_security(pipeline.kafka.tls, pipeline.kafka.authentication)
    for where, value in (
        ("enricher.sessionGap", pipeline.enricher.session_gap),
        ("enricher.grace", pipeline.enricher.grace),
        ("enricher.lateAfter", pipeline.enricher.late_after),
    ):
        _check_duration(where, value, "0s")
    for where, value in _retentions(pipeline):
        _check_duration(where, value, MIN_RETENTION)
    if duration_ms(pipeline.enricher.session_gap) == 0:
        msg = "enricher.sessionGap: must be longer than 0"
        raise ValueError(msg)
    if duration_ms(pipeline.enricher.grace) > MAX_GRACE_GAPS * duration_ms(pipeline.enricher.session_gap):
        msg = (
            f"enricher.grace: at most {MAX_GRACE_GAPS} times sessionGap, since each user may have so many open "
            "sessions,"
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
            msg = (
                f"enricher.joins.{join.name}.page: {join.page!r} must have exactly one {{key}}, such as "
                f"/products/{{key}}"
            )
            raise ValueError(msg)
