"""Access to the Kubernetes API. Blocking: call it from a thread.

Nothing is cached here. Every pass that decides something reads what it decides about, so a decision is never older than
the pass; watches only tell whether there is anything to look at (docs/adr/0007).
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import kubernetes
import urllib3.exceptions

from clickstream.runtime.backoff import Backoff
from clickstream_operator import naming
from clickstream_operator.failures import TellableError

Manifest = dict[str, Any]
OnWrite = Callable[[str, str], None]

_TIMEOUT: Final = (5, 30)
_TRIES: Final = 3
_LONGEST_WAIT_SECONDS: Final = 2.0
_TRANSIENT: Final = frozenset({0, 408, 429, 500, 502, 503, 504})
"""Unreachable, overloaded, a webhook that timed out: likely to go by. Every call of ours may be made twice."""
_MALFORMED: Final = "failed to create typed patch object"
"""So begins the 500 for an apply with a field that the kind does not have (k8s.io/apimachinery): that stays."""
_PAGE: Final = 500
_WATCH_SECONDS: Final = 240
_METADATA_ONLY: Final = "application/json;as={};g=meta.k8s.io;v=v1"


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
    "Lease": Kind("/apis/coordination.k8s.io/v1", "leases"),
    "Ingress": Kind("/apis/networking.k8s.io/v1", "ingresses"),
    "NetworkPolicy": Kind("/apis/networking.k8s.io/v1", "networkpolicies"),
    naming.HTTP_ROUTE: Kind("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    "KafkaTopic": Kind("/apis/kafka.strimzi.io/v1", "kafkatopics"),
    "ScaledObject": Kind("/apis/keda.sh/v1alpha1", "scaledobjects"),
    naming.KIND: Kind(f"/apis/{naming.GROUP}/{naming.VERSION}", naming.PLURAL),
}

OPTIONAL: Final = (naming.HTTP_ROUTE, naming.SCALED_OBJECT)
"""The kinds of children that not every cluster serves, and that the operator need not have a right to."""
_OTHERS: Final = frozenset({*OPTIONAL, "Secret", "Pod", "KafkaTopic", "Lease", naming.KIND})
LISTED: Final = tuple(kind for kind in KINDS if kind not in _OTHERS)
"""The kinds of children that are found by label in the pipeline's namespace. Secrets are never listed."""


class Secret(NamedTuple):
    """What a pass reads of a Secret."""

    uid: str
    version: str
    data: Mapping[str, bytes]


class Snapshot(NamedTuple):
    """Objects of one kind, and the version from which on they can be watched."""

    objects: list[Manifest]
    version: str


class ClusterError(TellableError):
    """The API server refused (`status`: HTTP), or could not be reached (`status` 0). `str()` is for people.

    `transient`: likely to go by, without anybody doing anything.
    """

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.transient = status in _TRANSIENT and not message.startswith(_MALFORMED)
        self.retry_after = retry_after


class Cluster:
    """Thread-safe. `on_write` is called after each write, with its verb and kind (`Kind/status`).

    A call that fails for a reason that is likely to go by is made again, three times in all within some seconds.
    """

    def __init__(
        self,
        client: kubernetes.client.ApiClient,
        on_write: OnWrite = lambda _verb, _kind: None,
        sleep: Callable[[float], None] = time.sleep,
        timeout: tuple[float, float] = _TIMEOUT,
    ) -> None:
        """`timeout`: seconds to connect and to wait for an answer."""
        self._client = client
        self._timeout = timeout
        self._on_write = on_write
        self._sleep = sleep

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """One object, None when it does not exist. Raises ClusterError."""
        try:
            return self._call("GET", _path(kind, namespace, name))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str | None, labels: Mapping[str, str]) -> list[Manifest]:
        """All objects of a kind with these labels, by page; namespace None: of all namespaces.

        Raises ClusterError; status 404: the kind is not served.
        """
        return [
            item
            for page in self._pages(kind, namespace, naming.selector_text(labels))
            for item in page.get("items", [])
        ]

    def snapshot(self, kind: str, namespace: str | None, selector: str, *, whole: bool) -> Snapshot:
        """All objects that a selector finds, without `whole` their metadata only. Raises ClusterError."""
        accept = "application/json" if whole else _METADATA_ONLY.format("PartialObjectMetadataList")
        found, version = [], ""
        for page in self._pages(kind, namespace, selector, accept):
            found += page["items"]
            version = page["metadata"]["resourceVersion"]
        return Snapshot(found, version)

    def watch(
        self, kind: str, namespace: str | None, selector: str, since: str, *, whole: bool
    ) -> Iterator[tuple[str, Manifest]]:
        """(type, object) of each change after the version `since`, BOOKMARK among the types, for some minutes.

        The iterator is there once the API server has begun to answer. Raises ClusterError, also while it is read;
        status 410: the version is too old, and a new snapshot is needed.
        """
        query = {
            "labelSelector": selector,
            "resourceVersion": since,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        accept = "application/json" if whole else _METADATA_ONLY.format("PartialObjectMetadata")
        with _connection_errors():
            response = self._send("GET", _path(kind, namespace), query, accept=accept, seconds=_WATCH_SECONDS + 30)
            if response.status != 200:
                raise _refusal(response.status, response.read(), response.headers)
        return _events(response)

    def version(self, kind: str, namespace: str, name: str) -> str | None:
        """An object's resourceVersion, None when it does not exist. Raises ClusterError."""
        accept = _METADATA_ONLY.format("PartialObjectMetadata")
        try:
            found: str = self._call("GET", _path(kind, namespace, name), accept=accept)["metadata"]["resourceVersion"]
        except ClusterError as error:
            if error.status == 404:
                return None
            raise
        return found

    def create(self, manifest: Manifest) -> None:
        """Make a new object. Raises ClusterError; status 409: it exists."""
        path = _path(manifest["kind"], manifest["metadata"]["namespace"])
        self._call("POST", path, {"fieldManager": naming.FIELD_MANAGER}, manifest, "application/json")
        self._on_write("create", manifest["kind"])

    def apply(self, manifest: Manifest, manager: str = naming.FIELD_MANAGER) -> Manifest:
        """Server-side apply as a field manager; conflicts are ours, since drift is repaired. Raises ClusterError."""
        meta = manifest["metadata"]
        query = {"fieldManager": manager, "force": "true"}
        path = _path(manifest["kind"], meta["namespace"], meta["name"])
        try:
            applied = self._call("PATCH", path, query, manifest, "application/apply-patch+yaml")
        except ClusterError as error:
            if manifest["kind"] != "Secret":
                raise
            # A refusal may quote what it refuses.
            msg = f"the API server refuses Secret {meta['namespace']}/{meta['name']}: HTTP {error.status}"
            raise ClusterError(error.status, msg) from None
        self._on_write("apply", manifest["kind"])
        return applied

    def delete(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        """Delete in the background, if it exists; with `uid` only that very object. Raises ClusterError."""
        options: Manifest = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            self._call("DELETE", _path(kind, namespace, name), {}, options, "application/json")
        except ClusterError as error:
            if error.status not in {404, 409}:
                raise
        self._on_write("delete", kind)

    def merge(self, kind: str, namespace: str, name: str, patch: Manifest, subresource: str = "") -> None:
        """JSON merge patch of an object or its subresource. Raises ClusterError."""
        path = _path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        self._call("PATCH", path, {"fieldManager": naming.FIELD_MANAGER}, patch, "application/merge-patch+json")
        self._on_write("patch", f"{kind}/{subresource}" if subresource else kind)

    def secret(self, namespace: str, name: str) -> Secret | None:
        """None when it does not exist. Raises ClusterError."""
        found = self.get("Secret", namespace, name)
        if found is None:
            return None
        meta, data = found["metadata"], found.get("data") or {}
        content = {key: base64.b64decode(value) for key, value in data.items()}
        return Secret(meta["uid"], meta["resourceVersion"], content)

    def serves(self, kind: str) -> bool:
        """Whether the API server knows the kind. Raises ClusterError."""
        try:
            served = self._call("GET", KINDS[kind].api)
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return any(resource["name"] == KINDS[kind].plural for resource in served.get("resources", []))

    def _pages(
        self, kind: str, namespace: str | None, selector: str, accept: str = "application/json"
    ) -> Iterator[Manifest]:
        query = {"labelSelector": selector, "limit": str(_PAGE)}
        while True:
            page = self._call("GET", _path(kind, namespace), query, accept=accept)
            yield page
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
        accept: str = "application/json",
    ) -> Manifest:
        backoff = Backoff(0.2, _LONGEST_WAIT_SECONDS)
        began = time.monotonic()
        while True:
            try:
                return self._try(method, path, query, body, content_type, accept)
            except ClusterError as error:
                wait = max(backoff.next_wait(), min(error.retry_after or 0.0, _LONGEST_WAIT_SECONDS))
                slow = time.monotonic() - began > sum(self._timeout) / 2
                if not error.transient or backoff.attempts >= _TRIES or slow:
                    raise
            self._sleep(wait)

    def _try(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Manifest | None,
        content_type: str | None,
        accept: str,
    ) -> Manifest:
        with _connection_errors():
            response = self._send(method, path, query, body, content_type, accept)
            content = response.read()
        if not 200 <= response.status <= 299:
            raise _refusal(response.status, content, response.headers)
        found: Manifest = json.loads(content)
        return found

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str | None = None,
        accept: str = "application/json",
        seconds: float | None = None,
    ) -> kubernetes.client.rest.RESTResponse:
        headers = {"Accept": accept} | ({} if content_type is None else {"Content-Type": content_type})
        request = self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        return self._client.call_api(*request, _request_timeout=(self._timeout[0], seconds or self._timeout[1]))


@contextmanager
def _connection_errors() -> Iterator[None]:
    """What the client raises becomes a ClusterError."""
    try:
        yield
    except kubernetes.client.ApiException as error:
        raise _refusal(error.status, error.body, error.headers) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ClusterError(0, f"the API server cannot be reached: {type(error).__name__}") from error


def _events(response: kubernetes.client.rest.RESTResponse) -> Iterator[tuple[str, Manifest]]:
    """The lines of a watch; the connection goes with the iterator."""
    try:
        with _connection_errors():
            for line in _lines(response.response.stream(decode_content=True)):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    told = event["object"]
                    raise ClusterError(int(told.get("code") or 500), str(told.get("message") or "the watch failed"))
                yield event["type"], event["object"]
    finally:
        response.response.close()


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in lines if line.strip())


def _path(kind: str, namespace: str | None, name: str | None = None) -> str:
    api, plural = KINDS[kind]
    where = api if namespace is None else f"{api}/namespaces/{quote(namespace)}"
    return f"{where}/{plural}" + ("" if name is None else f"/{quote(name)}")


def _refusal(status: int | None, body: str | bytes | None, headers: Mapping[str, str] | None) -> ClusterError:
    try:
        answer = json.loads(body or b"{}")
    except ValueError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    said = str((headers or {}).get("Retry-After") or "")
    retry_after = float(said) if said.isdecimal() and len(said) < 6 else None
    return ClusterError(status or 0, str(answer.get("message") or f"HTTP {status}"), retry_after)
