"""The pipeline document: what the pipeline's processes are told, out of the resource's spec.

It names Secrets by the files that they become (`mounts`) and holds none of them, so that it can lie in a ConfigMap.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from clickstream.contracts.pipeline import Pipeline, parse_pipeline
from clickstream_operator import mounts, naming
from clickstream_operator.spec import InvalidSpecError, PipelineSpec, TopicSpec

MOUNT: Final = "/etc/clickstream/pipeline"
FILE: Final = "pipeline.json"
GEOIP_MOUNT: Final = "/etc/clickstream/geoip"


def build_document(namespace: str, name: str, spec: PipelineSpec) -> dict[str, Any]:
    """The document as a JSON object, every field given, so that a change of a default is a change of the document."""
    return {
        "namespace": namespace,
        "name": name,
        "timeZone": spec.time_zone,
        "kafka": _kafka(spec),
        "sources": [
            {
                "name": source.name,
                "writeKeyFile": mounts.file(mounts.write_key(source.name)),
                "allowedOrigins": source.allowed_origins,
            }
            for source in spec.sources
        ],
        "trackingApi": {
            "trustedProxies": spec.tracking_api.trusted_proxies,
            "privacy": {
                "anonymizeIp": spec.tracking_api.privacy.anonymize_ip,
                "respectGpc": spec.tracking_api.privacy.respect_gpc,
            },
        },
        "enricher": _enricher(spec),
        "funnels": spec.funnels,
        "sinks": _sinks(spec),
    }


def checked(document: dict[str, Any]) -> Pipeline:
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
        group_by = document["enricher"]["groupBy"]
        part = common | {"sources": document["sources"], "trackingApi": document["trackingApi"], "groupBy": group_by}
        geoip = document["enricher"].get("geoip")
        return part if geoip is None else part | {"geoip": geoip}
    if component == naming.ENRICHER:
        return common | {"enricher": document["enricher"], "funnels": document["funnels"]}
    if component == naming.TOPICS:
        return common | {"topics": document["kafka"]["topics"]}
    store = component.removeprefix("sink-")
    part = common | {"sink": document["sinks"][store], "timeZone": document["timeZone"]}
    if component == naming.POSTGRES:  # its setup declares the funnels to SQL
        part["funnels"] = document["funnels"]
    return part


def _kafka(spec: PipelineSpec) -> dict[str, Any]:
    kafka = spec.kafka
    found: dict[str, Any] = {
        "bootstrapServers": kafka.bootstrap_servers,
        "topics": {
            "rawClicks": _topic(kafka.topics.raw_clicks),
            "enrichedClicks": _topic(kafka.topics.enriched_clicks),
            "sessions": _topic(kafka.topics.sessions),
            "deadLetters": _topic(kafka.topics.dead_letters),
        },
    }
    if kafka.tls is not None:
        ca = kafka.tls.ca_secret_ref
        found["tls"] = {} if ca is None else {"caFile": mounts.file(mounts.KAFKA_CA)}
    if kafka.authentication is not None:
        found["authentication"] = {"type": kafka.authentication.type} | (
            {
                "certificateFile": mounts.file(mounts.KAFKA_CERTIFICATE),
                "keyFile": mounts.file(mounts.KAFKA_KEY),
            }
            if kafka.authentication.type == "tls"
            else {
                "username": kafka.authentication.username,
                "passwordFile": mounts.file(mounts.KAFKA_PASSWORD),
            }
        )
    return found


def _topic(topic: TopicSpec) -> dict[str, Any]:
    sized: dict[str, Any] = {"partitions": topic.partitions, "retention": topic.retention}
    return sized if topic.replicas is None else sized | {"replicas": topic.replicas}


def _enricher(spec: PipelineSpec) -> dict[str, Any]:
    enricher = spec.enricher
    found: dict[str, Any] = {
        "sessionGap": enricher.session_gap,
        "grace": enricher.grace,
        "lateAfter": enricher.late_after,
        "groupBy": enricher.group_by,
        "joins": enricher.joins,
        "pageCategories": enricher.page_categories,
    }
    if enricher.geoip is not None:
        found["geoip"] = f"{GEOIP_MOUNT}/{enricher.geoip.path}"
    return found


def _sinks(spec: PipelineSpec) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (elasticsearch := spec.sinks.elasticsearch) is not None:
        found["elasticsearch"] = {
            "url": elasticsearch.url,
            "retention": elasticsearch.retention,
            "shards": elasticsearch.shards,
            "replicas": elasticsearch.replicas,
        }
        if elasticsearch.credentials_secret_ref is not None:
            found["elasticsearch"]["usernameFile"] = mounts.file(mounts.ELASTICSEARCH_USERNAME)
            found["elasticsearch"]["passwordFile"] = mounts.file(mounts.ELASTICSEARCH_PASSWORD)
        if elasticsearch.api_key_secret_ref is not None:
            found["elasticsearch"]["apiKeyFile"] = mounts.file(mounts.ELASTICSEARCH_API_KEY)
        if elasticsearch.ca_secret_ref is not None:
            found["elasticsearch"]["caFile"] = mounts.file(mounts.ELASTICSEARCH_CA)
    if (postgres := spec.sinks.postgres) is not None:
        found["postgres"] = {"dsnFile": mounts.file(mounts.POSTGRES_DSN), "retention": postgres.retention}
        if postgres.ca_secret_ref is not None:
            found["postgres"]["caFile"] = mounts.file(mounts.POSTGRES_CA)
    return found
