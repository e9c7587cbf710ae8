"""The pipeline document: what the pipeline's processes read, made from the resource's spec.

It is the spec, less the fields that the processes have no use for (`clickstream.contracts.pipeline` has the others'
types), with each reference to a Secret replaced by the file that it becomes (`mounts`). It holds no secret, so that it
can lie in a ConfigMap.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from clickstream.contracts.pipeline import Pipeline, known_fields, parse_pipeline
from clickstream_operator import mounts, naming
from clickstream_operator.spec import ElasticsearchSink, InvalidSpecError, Kafka, PipelineSpec, PostgresSink

MOUNT: Final = "/etc/clickstream/pipeline"
FILE: Final = "pipeline.json"
GEOIP_MOUNT: Final = "/etc/clickstream/geoip"


def build_document(namespace: str, name: str, spec: PipelineSpec) -> dict[str, Any]:
    """The document as a JSON object, every field given, so that a change of a default is a change of the document."""
    document: dict[str, Any] = known_fields(spec.fields | {"namespace": namespace, "name": name})
    _add_kafka(document["kafka"], spec.kafka)
    for source in document["sources"]:
        source["writeKeyFile"] = mounts.file(mounts.write_key(source["name"]))
    if spec.enricher.geoip is not None:
        document["enricher"]["geoip"] = f"{GEOIP_MOUNT}/{spec.enricher.geoip.path}"
    if spec.sinks.elasticsearch is not None:
        _add_elasticsearch(document["sinks"]["elasticsearch"], spec.sinks.elasticsearch)
    if spec.sinks.postgres is not None:
        _add_postgres(document["sinks"]["postgres"], spec.sinks.postgres)
    return document


def parse_document(document: dict[str, Any]) -> Pipeline:
    """The document as its readers will see it. Raises InvalidSpecError when they would refuse it."""
    try:
        return parse_pipeline(msgspec.json.encode(document))
    except ValueError as error:
        raise InvalidSpecError(str(error).removeprefix("pipeline document: ")) from error


def part_of(document: dict[str, Any], component: str) -> dict[str, Any]:
    """The part of the document that a component reads: only a change in it is a reason to restart its pods."""
    kafka = {name: value for name, value in document["kafka"].items() if name != "topics"}
    common: dict[str, Any] = {"namespace": document["namespace"], "name": document["name"], "kafka": kafka}
    if component == naming.TRACKING_API:
        # What /v1/validate foretells (docs/adr/0018), and the key of a click.
        read = ("groupBy", "geoip", "lateAfter", "joins", "pageCategories", "ownDomains")
        enricher = {name: document["enricher"][name] for name in read if name in document["enricher"]}
        own = {"sources": document["sources"], "trackingApi": document["trackingApi"]}
        return common | own | {"enricher": enricher, "funnels": document["funnels"]}
    if component == naming.ENRICHER:
        # Without countries it looks none up, either.
        privacy = {each: value for each, value in document["trackingApi"]["privacy"].items() if each == "keepCountry"}
        return common | {"enricher": document["enricher"], "funnels": document["funnels"]} | privacy
    if component == naming.TOPICS:
        return common | {"topics": document["kafka"]["topics"]}
    store = component.removeprefix("sink-")
    part = common | {"sink": document["sinks"][store], "timeZone": document["timeZone"]}
    if component == naming.POSTGRES:  # its setup declares the funnels to SQL
        part["funnels"] = document["funnels"]
    return part


def _add_kafka(found: dict[str, Any], kafka: Kafka) -> None:
    if kafka.tls is not None and kafka.tls.ca_secret_ref is not None:
        found["tls"]["caFile"] = mounts.file(mounts.KAFKA_CA)
    if kafka.authentication is None:
        return
    if kafka.authentication.certificate_secret_ref is not None:
        found["authentication"]["certificateFile"] = mounts.file(mounts.KAFKA_CERTIFICATE)
        found["authentication"]["keyFile"] = mounts.file(mounts.KAFKA_KEY)
    if kafka.authentication.password_secret_ref is not None:
        found["authentication"]["passwordFile"] = mounts.file(mounts.KAFKA_PASSWORD)


def _add_elasticsearch(found: dict[str, Any], sink: ElasticsearchSink) -> None:
    if sink.credentials_secret_ref is not None:
        found["usernameFile"] = mounts.file(mounts.ELASTICSEARCH_USERNAME)
        found["passwordFile"] = mounts.file(mounts.ELASTICSEARCH_PASSWORD)
    if sink.api_key_secret_ref is not None:
        found["apiKeyFile"] = mounts.file(mounts.ELASTICSEARCH_API_KEY)
    if sink.ca_secret_ref is not None:
        found["caFile"] = mounts.file(mounts.ELASTICSEARCH_CA)


def _add_postgres(found: dict[str, Any], sink: PostgresSink) -> None:
    found["dsnFile"] = mounts.file(mounts.POSTGRES_DSN)
    if sink.ca_secret_ref is not None:
        found["caFile"] = mounts.file(mounts.POSTGRES_CA)
