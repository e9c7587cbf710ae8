"""NetworkPolicies: each component may reach what it works with, by port, and nothing else.

By port and not by address: brokers and stores may be anywhere, in the cluster or outside. So the tracking API, which
faces the internet, cannot talk to PostgreSQL or Elasticsearch, and a consumer can be reached for its metrics only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clickstream_operator import naming
from clickstream_operator.addresses import server_ports, url_port
from clickstream_operator.desired.child_object import Blocked, ChildObject
from clickstream_operator.desired.context import Context
from clickstream_operator.spec import PipelineSpec

_DNS_PORTS: Final = (53, 5353)
"""A policy is about the port of a pod, and OpenShift's DNS pods have 5353 behind their Service's 53."""

Ports = set[int | str]
"""Ports; a field's name stands for one that cannot be read."""


def network_policies(context: Context) -> Iterator[ChildObject]:
    """One policy a component, blocked where the port of an address cannot be read."""
    spec = context.spec
    if not spec.network_policies.enabled:
        return
    shared = {*_collector(spec), *spec.network_policies.additional_egress_ports}
    kafka, stores = _kafka(context), {store: _store(context, store) for store in spec.stores}
    yield _policy(context, naming.TRACKING_API, (naming.HTTP_PORT, naming.OPS_PORT), kafka | shared)
    yield _policy(context, naming.ENRICHER, (naming.OPS_PORT,), kafka | shared)
    for store, ports in stores.items():
        yield _policy(context, naming.sink(store), (naming.OPS_PORT,), kafka | ports | shared)
    for component in (naming.SETUP, naming.DROP):
        yield _policy(context, component, (), kafka.union(shared, *stores.values()))


def _policy(context: Context, component: str, listens: tuple[int, ...], reaches: Ports) -> ChildObject:
    dns = [{"protocol": protocol, "port": port} for port in _DNS_PORTS for protocol in ("UDP", "TCP")]
    listening = [{"protocol": "TCP", "port": port} for port in listens]
    ports = sorted(port for port in reaches if isinstance(port, int))
    unreadable = sorted(name for name in reaches if isinstance(name, str))
    manifest = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": context.metadata(naming.workload(context.pipeline.name, component), component),
        "spec": {
            "podSelector": {"matchLabels": context.selector(component)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": listening}] if listening else [],
            "egress": [{"ports": dns}, {"ports": [{"protocol": "TCP", "port": port} for port in ports]}],
        },
    }
    blocked = Blocked("AddressInvalid", f"no port can be read of {', '.join(unreadable)}") if unreadable else None
    return ChildObject(manifest, naming.NETWORK, blocked)


def _kafka(context: Context) -> Ports:
    ports = server_ports(context.parsed.kafka.bootstrap_servers)
    return {"kafka.bootstrapServers"} if ports is None else set(ports)


def _collector(spec: PipelineSpec) -> Ports:
    endpoint = spec.telemetry.otlp_endpoint
    return set() if endpoint is None else {url_port(endpoint) or "telemetry.otlpEndpoint"}


def _store(context: Context, store: str) -> Ports:
    if store == naming.ELASTICSEARCH:
        assert context.parsed.sinks.elasticsearch is not None
        return {url_port(context.parsed.sinks.elasticsearch.url) or "sinks.elasticsearch.url"}
    assert context.spec.sinks.postgres is not None
    return {context.spec.sinks.postgres.port}
