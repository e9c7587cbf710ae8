"""Grafana's data sources, in a Secret since they may hold credentials; the sidecar of Grafana's chart provisions them.

Elasticsearch has two, one for clicks and one for sessions: in Grafana the index belongs to the data source. PostgreSQL
and Prometheus have one only where the pipeline names it: the sink's own account may write, and is not handed on.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, Final

from clickstream.contracts.dashboards import source_uid
from clickstream.contracts.names import Names
from clickstream_operator import naming
from clickstream_operator.desired.child_object import Blocked, ChildObject
from clickstream_operator.desired.context import Context
from clickstream_operator.dsn import Address, DsnError, address_of
from clickstream_operator.mounts import datasource_keys, elasticsearch_datasource_ca, secret_key
from clickstream_operator.spec import ElasticsearchSource, KeyRef, PipelineSpec, PostgresSource

FILE: Final = "datasources.yaml"
_PARTS: Final = {
    "clicks": "Elasticsearch clicks",
    "sessions": "Elasticsearch sessions",
    "postgres": "PostgreSQL",
    "prometheus": "Prometheus",
}
_SSL_MODES: Final = {"allow": "disable", "prefer": "require"}
"""Grafana takes no second try: of the two that these libpq modes make, the first one counts."""

Entry = dict[str, Any]


def datasources(context: Context) -> Iterator[ChildObject]:
    """A provisioning file (JSON is YAML), blocked while credentials are missing or cannot be read."""
    if not context.spec.dashboards.enabled:
        return
    blocked = context.missing_keys(datasource_keys(context.spec))
    entries: dict[str, Entry] = {}
    if blocked is None:
        try:
            entries = _datasources(context)
        except _UnreadableError as error:
            blocked = Blocked("DatasourceInvalid", str(error))
    names = context.parsed.names
    content = {
        "apiVersion": 1,
        # Grafana from 11.1 on forgets what no file names any more (grafana/grafana#83034); older ones are told by name.
        "prune": True,
        "deleteDatasources": [{"name": _name(part, names), "orgId": 1} for part in _PARTS if part not in entries],
        "datasources": list(entries.values()),
    }
    text = json.dumps(_literal(content), indent=2, ensure_ascii=False) + "\n"
    name = f"{context.pipeline.namespace}-{context.pipeline.name}-{FILE}"
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": context.metadata(
            naming.datasources(context.pipeline.name),
            naming.DASHBOARDS,
            labels=context.spec.dashboards.datasources.labels,
        ),
        "type": "Opaque",
        "data": {name: base64.b64encode(text.encode()).decode()},
    }
    yield ChildObject(manifest, naming.DASHBOARDS, blocked)


def prometheus_uid(spec: PipelineSpec, names: Names) -> str | None:
    """The uid of the pipeline's Prometheus data source, None where it has none and readers choose one."""
    return None if spec.dashboards.datasources.prometheus is None else source_uid(names, "prometheus")


def elasticsearch_url(context: Context) -> str | None:
    """Where Grafana finds Elasticsearch; None: the pipeline has none."""
    sink, wanted = context.parsed.sinks.elasticsearch, context.spec.dashboards.datasources.elasticsearch
    return wanted.url if wanted is not None and wanted.url is not None else None if sink is None else sink.url


class _UnreadableError(Exception):
    """A Secret's content is of no use; the message names its key and holds nothing of it."""


def _datasources(context: Context) -> dict[str, Entry]:
    """By part. Raises _UnreadableError."""
    names, wanted = context.parsed.names, context.spec.dashboards.datasources
    found: dict[str, Entry] = {}
    if (url := elasticsearch_url(context)) is not None:
        access = _elasticsearch_access(context, url, wanted.elasticsearch or ElasticsearchSource())
        indices = {"clicks": (names.clicks_alias, "event_time"), "sessions": (names.sessions_alias, "start")}
        for part, (index, time_field) in indices.items():
            settings = {"index": index, "timeField": time_field, "maxConcurrentShardRequests": 5}
            entry = _entry(part, names, "elasticsearch")
            found[part] = entry | access | {"jsonData": settings | access.get("jsonData", {})}
    if wanted.postgres is not None:
        found["postgres"] = _entry("postgres", names, "postgres") | _postgres_access(context, wanted.postgres)
    if wanted.prometheus is not None:
        found["prometheus"] = _entry("prometheus", names, "prometheus") | {"url": wanted.prometheus.url}
    return found


def _elasticsearch_access(context: Context, url: str, wanted: ElasticsearchSource) -> Entry:
    access: Entry = {"url": url}
    settings: Entry = {}
    secret: Entry = {}
    if (ref := wanted.credentials_secret_ref) is not None:
        access |= {"basicAuth": True, "basicAuthUser": _read(context, KeyRef(ref.name, ref.username_key))}
        secret["basicAuthPassword"] = _read(context, KeyRef(ref.name, ref.password_key))
    if wanted.api_key_secret_ref is not None:
        settings["httpHeaderName1"] = "Authorization"
        secret["httpHeaderValue1"] = f"ApiKey {_read(context, wanted.api_key_secret_ref)}"
    if (ca := elasticsearch_datasource_ca(context.spec)) is not None:
        settings["tlsAuthWithCACert"] = True
        secret["tlsCACert"] = _read(context, ca)
    return access | {name: part for name, part in (("jsonData", settings), ("secureJsonData", secret)) if part}


def _postgres_access(context: Context, wanted: PostgresSource) -> Entry:
    ref = wanted.connection_secret_ref
    try:
        address = address_of(_read(context, ref))
    except DsnError as error:
        msg = f"Secret {ref.name}, key {ref.key}: Grafana cannot use this connection string: {error}"
        raise _UnreadableError(msg) from None
    ca = None if wanted.ca_secret_ref is None else _read(context, wanted.ca_secret_ref)
    return postgres_access(address, ca)


def postgres_access(address: Address, ca: str | None = None) -> Entry:
    """Grafana's fields. `ca` is PEM: with it the server is verified, and its name but for sslmode verify-ca."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    settings: Entry = {"database": address.database, "postgresVersion": 1500}
    secret = {"password": address.password}
    if ca is None:
        settings["sslmode"] = _SSL_MODES.get(address.sslmode, address.sslmode)
    else:
        settings["sslmode"] = address.sslmode if address.sslmode == "verify-ca" else "verify-full"
        settings["tlsConfigurationMethod"] = "file-content"
        secret["tlsCACert"] = ca
    return {
        "url": f"{host}:{address.port}",
        "user": address.user,
        "database": address.database,
        "jsonData": settings,
        "secureJsonData": secret,
    }


def _read(context: Context, ref: KeyRef) -> str:
    found = context.inputs.credentials.get(secret_key(ref))
    if found is None:
        msg = f"Secret {ref.name}, key {ref.key}: it is no UTF-8 text"
        raise _UnreadableError(msg)
    return found


def _entry(part: str, names: Names, kind: str) -> Entry:
    return {
        "name": _name(part, names),
        "uid": source_uid(names, part),
        "type": kind,
        "access": "proxy",
        "editable": False,
        "isDefault": False,
    }


def _name(part: str, names: Names) -> str:
    return f"{_PARTS[part]} · {names.prefix}"


def _literal(value: Any) -> Any:
    """The value with `$` doubled: Grafana puts environment variables into what it provisions."""
    match value:
        case str():
            return value.replace("$", "$$")
        case dict():
            return {name: _literal(item) for name, item in value.items()}
        case list():
            return [_literal(item) for item in value]
    return value
