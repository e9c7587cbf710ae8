"""How clicks reach the tracking API: its Service and, from outside, its Ingress or its HTTPRoute (Gateway API)."""

from __future__ import annotations

from typing import Final

from clickstream_operator import naming
from clickstream_operator.desired.child_object import Blocked, Manifest
from clickstream_operator.desired.context import Context
from clickstream_operator.spec import HttpRoute, Ingress

_SERVICE_PORT: Final = 80
_PUBLIC: Final = {"/v1": "Prefix", "/api/s": "Prefix", "/tracker.js": "Exact"}
"""Paths of the tracking API that are for everybody, and how each is compared."""
_MATCHES: Final = {"Prefix": "PathPrefix", "Exact": "Exact"}
"""The Gateway API's words for it."""

NO_GATEWAY_API: Final = Blocked(
    "GatewayApiMissing",
    "trackingApi.httpRoute needs HTTPRoutes, which this cluster does not serve (gateway.networking.k8s.io/v1): install "
    "the Gateway API's CRDs, or use trackingApi.ingress",
)


def service(context: Context) -> Manifest:
    wanted = context.spec.tracking_api.service
    port: Manifest = {"name": "http", "port": _SERVICE_PORT, "targetPort": "http", "protocol": "TCP"}
    if wanted.node_port is not None:
        port["nodePort"] = wanted.node_port
    spec: Manifest = {
        "type": wanted.type,
        "selector": context.selector(naming.TRACKING_API),
        "ports": [port],
    }
    if wanted.external_traffic_policy is not None:
        spec["externalTrafficPolicy"] = wanted.external_traffic_policy
    if wanted.load_balancer_class is not None:
        spec["loadBalancerClass"] = wanted.load_balancer_class
    if wanted.load_balancer_source_ranges:
        spec["loadBalancerSourceRanges"] = list(wanted.load_balancer_source_ranges)
    if wanted.ip_family_policy is not None:
        spec["ipFamilyPolicy"] = wanted.ip_family_policy
    meta = context.metadata(_name(context), naming.TRACKING_API, annotations=wanted.annotations)
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def ingress(context: Context, wanted: Ingress) -> Manifest:
    """Probes are not exposed; metrics and documentation are on a port that is in no Service."""
    name = _name(context)
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    paths = [{"path": path, "pathType": kind, "backend": backend} for path, kind in _PUBLIC.items()]
    spec: Manifest = {"rules": [{"host": wanted.host, "http": {"paths": paths}}]}
    if wanted.class_name is not None:
        spec["ingressClassName"] = wanted.class_name
    if wanted.tls_secret_name is not None:
        spec["tls"] = [{"hosts": [wanted.host], "secretName": wanted.tls_secret_name}]
    meta = context.metadata(name, naming.TRACKING_API, annotations=wanted.annotations)
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": spec}


def http_route(context: Context, wanted: HttpRoute) -> Manifest:
    """The same paths as the Ingress's."""
    name = _name(context)
    matches = [{"path": {"type": _MATCHES[kind], "value": path}} for path, kind in _PUBLIC.items()]
    spec = {
        "parentRefs": [ref.shown() for ref in wanted.parent_refs],
        "hostnames": list(wanted.hostnames),
        "rules": [{"matches": matches, "backendRefs": [{"name": name, "port": _SERVICE_PORT}]}],
    }
    meta = context.metadata(name, naming.TRACKING_API, annotations=wanted.annotations)
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": naming.HTTP_ROUTE, "metadata": meta, "spec": spec}


def url(context: Context) -> str:
    """Where clicks are sent to. Of a Gateway it is not known whether it takes TLS: one for browsers does."""
    ingress, route = context.spec.tracking_api.ingress, context.spec.tracking_api.http_route
    if ingress is not None:
        return f"{'http' if ingress.tls_secret_name is None else 'https'}://{ingress.host}"
    if route is not None:
        return f"https://{route.hostnames[0]}"
    return f"http://{_name(context)}.{context.pipeline.namespace}.svc"


def _name(context: Context) -> str:
    return naming.workload(context.pipeline.name, naming.TRACKING_API)
