"""Access to the Kubernetes API, and the only module that knows its client. Blocking: call it from a thread.

Deliberately absent: caches and watches. Every pass reads what it decides about, so a decision is never older than the
pass, and the operator needs no right to watch anything but pipelines (docs/adr/0007).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import kubernetes
import urllib3.exceptions

from clickstream_operator import naming

Manifest = dict[str, Any]

_TIMEOUT: Final = (5, 30)
_PAGE: Final = 500


class Kind(NamedTuple):
    """Where the API serves a kind."""

    api: str
    plural: str


KINDS: Final[dict[str, Kind]] = {
    "ServiceAccount": Kind("/api/v1", "serviceaccounts"),
    "ConfigMap": Kind("/api/v1", "configmaps"),
    "Secret": Kind("/api/v1", "secrets"),
    "Service": Kind("/api/v1", "services"),
    "Pod": Kind("/api/v1", "pods"),
    "Deployment": Kind("/apis/apps/v1", "deployments"),
    "HorizontalPodAutoscaler": Kind("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": Kind("/apis/policy/v1", "poddisruptionbudgets"),
    "Job": Kind("/apis/batch/v1", "jobs"),
    "Ingress": Kind("/apis/networking.k8s.io/v1", "ingresses"),
    "NetworkPolicy": Kind("/apis/networking.k8s.io/v1", "networkpolicies"),
    "KafkaTopic": Kind("/apis/kafka.strimzi.io/v1", "kafkatopics"),
    naming.KIND: Kind(f"/apis/{naming.GROUP}/{naming.VERSION}", naming.PLURAL),
}

LISTED: Final = tuple(kind for kind in KINDS if kind not in {"Secret", "Pod", "KafkaTopic", naming.KIND})
"""The kinds of children that are found by label in the pipeline's namespace. Secrets are never listed."""


class ClusterError(Exception):
    """The API server refused, or could not be reached (`status` 0). `str()` is for people."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Cluster:
    """A client made from the service account or the kubeconfig. Thread-safe."""

    def __init__(self, client: kubernetes.client.ApiClient) -> None:
        self._client = client

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """One object, None when it does not exist. Raises ClusterError."""
        try:
            return self._call("GET", _path(kind, namespace, name))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str, labels: Mapping[str, str]) -> list[Manifest]:
        """All objects of a kind with these labels, by page. Raises ClusterError; status 404: the kind is not served."""
        return list(self._pages(_path(kind, namespace), labels))

    def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply as our field manager; conflicts are ours, since drift is repaired. Raises ClusterError."""
        meta = manifest["metadata"]
        query = {"fieldManager": naming.FIELD_MANAGER, "force": "true"}
        path = _path(manifest["kind"], meta["namespace"], meta["name"])
        return self._call("PATCH", path, query, manifest, "application/apply-patch+yaml")

    def delete(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        """Delete in the background; it being gone is fine. With `uid` only that very object. Raises ClusterError."""
        options: Manifest = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            self._call("DELETE", _path(kind, namespace, name), {}, options, "application/json")
        except ClusterError as error:
            if error.status not in {404, 409}:
                raise

    def merge(self, kind: str, namespace: str, name: str, patch: Manifest, subresource: str = "") -> None:
        """JSON merge patch of an object or its subresource. Raises ClusterError."""
        path = _path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        self._call("PATCH", path, {"fieldManager": naming.FIELD_MANAGER}, patch, "application/merge-patch+json")

    def secret(self, namespace: str, name: str) -> tuple[str, dict[str, bytes]] | None:
        """A Secret's uid and content, None when it does not exist. Raises ClusterError."""
        found = self.get("Secret", namespace, name)
        if found is None:
            return None
        data = found.get("data") or {}
        return found["metadata"]["uid"], {key: base64.b64decode(value) for key, value in data.items()}

    def serves(self, kind: str) -> bool:
        """Whether the API server knows the kind. Raises ClusterError."""
        try:
            served = self._call("GET", KINDS[kind].api)
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return any(resource["name"] == KINDS[kind].plural for resource in served.get("resources", []))

    def _pages(self, path: str, labels: Mapping[str, str]) -> Iterator[Manifest]:
        query = {"labelSelector": naming.selector_text(labels), "limit": str(_PAGE)}
        while True:
            page = self._call("GET", path, query)
            yield from page.get("items", [])
            more = page.get("metadata", {}).get("continue")
            if not more:
                return
            query["continue"] = more

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str | None = None,
    ) -> Manifest:
        headers = {"Accept": "application/json"} | ({} if content_type is None else {"Content-Type": content_type})
        try:
            request = self._client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            response = self._client.call_api(*request, _request_timeout=_TIMEOUT)
            content = response.read()
        except kubernetes.client.ApiException as error:
            raise _refusal(error.status, error.body) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ClusterError(0, "Unreachable", f"the API server cannot be reached: {type(error).__name__}") from error
        if not 200 <= response.status <= 299:
            raise _refusal(response.status, content)
        found: Manifest = json.loads(content)
        return found


def _path(kind: str, namespace: str, name: str | None = None) -> str:
    api, plural = KINDS[kind]
    return f"{api}/namespaces/{quote(namespace)}/{plural}" + ("" if name is None else f"/{quote(name)}")


def _refusal(status: int | None, body: str | bytes | None) -> ClusterError:
    try:
        told = json.loads(body or b"{}")
    except ValueError:
        told = {}
    if not isinstance(told, dict):
        told = {}
    message = told.get("message") or f"HTTP {status}"
    return ClusterError(status or 0, told.get("reason") or f"HTTP{status}", message)
