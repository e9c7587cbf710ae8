"""NetworkPolicies: each component may reach what it works with, by port, and nothing else.

By port and not by address: brokers and stores may be anywhere, in the cluster or outside. So the tracking API, which
faces the internet, cannot talk to PostgreSQL or Elasticsearch, and nobody can talk to a consumer but for its metrics.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from clickstream_operator import naming
from clickstream_operator.desired.child import Manifest, metadata
from clickstream_operator.desired.jobs import COMPONENT as SETUP
from clickstream_operator.desired.jobs import DROP_COMPONENT as DROP
from clickstream_operator.spec import PipelineResource, PipelineSpec


def policies(pipeline: PipelineResource, spec: PipelineSpec) -> list[Manifest]:
    """One policy a component."""
    shared = {*_collector(spec), *spec.network_policies.additional_egress_ports}
    kafka, stores = set(_kafka(spec)), {store: _store(spec, store) for store in spec.stores}
    found = [
        _policy(pipeline, naming.TRACKING_API, naming.HTTP_PORT, kafka | shared),
        _policy(pipeline, naming.ENRICHER, naming.OPS_PORT, kafka | shared),
    ]
    found += [
        _policy(pipeline, naming.sink(store), naming.OPS_PORT, kafka | {port} | shared)
        for store, port in stores.items()
    ]
    everything = kafka | set(stores.values()) | shared
    found += [_policy(pipeline, component, None, everything) for component in (SETUP, DROP)]
    return found


def _policy(pipeline: PipelineResource, component: str, listens: int | None, reaches: Iterable[int]) -> Manifest:
    dns = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(pipeline, naming.workload(pipeline.name, component), component),
        "spec": {
            "podSelector": {"matchLabels": naming.selector(pipeline.name, component)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [] if listens is None else [{"ports": [{"protocol": "TCP", "port": listens}]}],
            "egress": [
                {"ports": dns},
                {"ports": [{"protocol": "TCP", "port": port} for port in sorted(reaches)]},
            ],
        },
    }


def _kafka(spec: PipelineSpec) -> list[int]:
    return [int(server.strip().rpartition(":")[2]) for server in spec.kafka.bootstrap_servers.split(",")]


def _collector(spec: PipelineSpec) -> list[int]:
    endpoint = spec.telemetry.otlp_endpoint
    return [] if endpoint is None else [_port(endpoint)]


def _store(spec: PipelineSpec, store: str) -> int:
    if store == naming.ELASTICSEARCH:
        assert spec.sinks.elasticsearch is not None
        return _port(spec.sinks.elasticsearch.url)
    assert spec.sinks.postgres is not None
    return spec.sinks.postgres.port


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
