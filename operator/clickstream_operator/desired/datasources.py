"""Grafana's data sources, in a Secret since they may hold credentials; the sidecar of Grafana's chart provisions them.

Elasticsearch has two, one for clicks and one for sessions: in Grafana the index belongs to the data source. PostgreSQL
and Prometheus have one only where the pipeline names it: the sink's own account may write, and is not handed on.
"""

from __future__ import annotations

import base64
import json
import shlex
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from clickstream.contracts.dashboards import source_uid
from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import Pipeline
from clickstream_operator import naming
from clickstream_operator.desired.child import Manifest, metadata
from clickstream_operator.facts import Facts
from clickstream_operator.mounts import SecretKey
from clickstream_operator.spec import PipelineResource, PipelineSpec

COMPONENT: Final = "dashboards"
FILE: Final = "datasources.yaml"


def prometheus_uid(spec: PipelineSpec, names: Names) -> str | None:
    """The uid of the pipeline's Prometheus data source, None where it has none and readers choose one."""
    return None if spec.dashboards.datasources.prometheus is None else source_uid(names, "prometheus")


def datasources_secret(pipeline: PipelineResource, spec: PipelineSpec, document: Pipeline, facts: Facts) -> Manifest:
    """A provisioning file (JSON is YAML). Credentials that are not there yet are left empty: the child is held back then."""
    meta = metadata(pipeline, naming.datasources(pipeline.name), COMPONENT)
    meta["labels"] |= spec.dashboards.datasources.labels
    content = {"apiVersion": 1, "datasources": _datasources(spec, document, facts)}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    name = f"{pipeline.namespace}-{pipeline.name}-{FILE}"
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta,
        "type": "Opaque",
        "data": {name: base64.b64encode(text.encode()).decode()},
    }


def _datasources(spec: PipelineSpec, document: Pipeline, facts: Facts) -> list[dict[str, Any]]:
    names = document.names
    found: list[dict[str, Any]] = _elasticsearch(spec, names, facts)
    wanted = spec.dashboards.datasources
    if wanted.postgres is not None:
        ref = wanted.postgres.connection_secret_ref
        dsn = facts.credentials.get(SecretKey(ref.name, ref.key), "")
        found.append(_entry("PostgreSQL", names, source_uid(names, "postgres"), "postgres") | postgres_access(dsn))
    if wanted.prometheus is not None:
        found.append(
            _entry("Prometheus", names, source_uid(names, "prometheus"), "prometheus") | {"url": wanted.prometheus.url}
        )
    return found


def elasticsearch_url(spec: PipelineSpec) -> str | None:
    """Where Grafana finds Elasticsearch; None: the pipeline has none."""
    sink, wanted = spec.sinks.elasticsearch, spec.dashboards.datasources.elasticsearch
    return wanted.url if wanted is not None and wanted.url is not None else None if sink is None else sink.url


def _elasticsearch(spec: PipelineSpec, names: Names, facts: Facts) -> list[dict[str, Any]]:
    url, wanted = elasticsearch_url(spec), spec.dashboards.datasources.elasticsearch
    if url is None:
        return []
    access: dict[str, Any] = {"url": url}
    if wanted is not None and (ref := wanted.credentials_secret_ref) is not None:
        access |= {
            "basicAuth": True,
            "basicAuthUser": facts.credentials.get(SecretKey(ref.name, ref.username_key), ""),
            "secureJsonData": {"basicAuthPassword": facts.credentials.get(SecretKey(ref.name, ref.password_key), "")},
        }
    indices = {"clicks": (names.clicks_alias, "event_time"), "sessions": (names.sessions_alias, "start")}
    return [
        _entry(f"Elasticsearch {part}", names, source_uid(names, part), "elasticsearch")
        | access
        | {"jsonData": {"index": index, "timeField": time_field, "maxConcurrentShardRequests": 5}}
        for part, (index, time_field) in indices.items()
    ]


def _entry(what: str, names: Names, uid: str, kind: str) -> dict[str, Any]:
    return {
        "name": f"{what} · {names.prefix}",
        "uid": uid,
        "type": kind,
        "access": "proxy",
        "editable": False,
        "isDefault": False,
    }


def postgres_access(dsn: str) -> dict[str, Any]:
    """Grafana's fields out of a connection URI or a `key=value` string. What a string does not say is left to Grafana."""
    if "://" in dsn:
        parts = urlsplit(dsn)
        said = {name: values[0] for name, values in parse_qs(parts.query).items()}
        said |= {"host": parts.hostname or "", "port": str(parts.port or 5432), "dbname": parts.path.lstrip("/")}
        said |= {"user": unquote(parts.username or ""), "password": unquote(parts.password or "")}
    else:
        said = dict(pair.split("=", 1) for pair in shlex.split(dsn) if "=" in pair)
    database = unquote(said.get("dbname", ""))
    return {
        "url": f"{said.get('host', '')}:{said.get('port', '5432')}",
        "user": said.get("user", ""),
        "database": database,
        "jsonData": {"database": database, "sslmode": said.get("sslmode", "disable"), "postgresVersion": 1500},
        "secureJsonData": {"password": said.get("password", "")},
    }
