"""Reading the Kubernetes API with the user's kubeconfig. Blocking; every wait and every answer is bounded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import kubernetes
import urllib3.exceptions

Manifest = dict[str, Any]

_TIMEOUT: Final = (5, 10)
_MAX_BYTES: Final = 16 << 20


class ApiError(Exception):
    """The API server refused (`status`: HTTP), or could not be reached (`status` 0). `str()` is for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """One cluster, and the namespace that the kubeconfig's context names."""

    def __init__(self, kubeconfig: str | None = None, context: str | None = None) -> None:
        """Raises ApiError when there is no usable kubeconfig."""
        try:
            self._client = kubernetes.config.new_client_from_config(kubeconfig, context)
            _, active = kubernetes.config.list_kube_config_contexts(kubeconfig)
            contexts, _ = kubernetes.config.list_kube_config_contexts(kubeconfig)
        except (kubernetes.config.ConfigException, OSError) as error:
            raise ApiError(0, f"no usable kubeconfig: {error}") from error
        chosen = next((each for each in contexts if each["name"] == context), active)
        self.namespace: str = chosen["context"].get("namespace") or "default"

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Manifest:
        """A JSON object. Raises ApiError."""
        try:
            found = json.loads(self._read(path, query, "application/json"))
        except ValueError as error:
            raise ApiError(0, "the answer is no JSON") from error
        if not isinstance(found, dict):
            raise ApiError(0, "the answer is no JSON object")
        return found

    def text(self, path: str) -> str:
        """What a proxied path answers. Raises ApiError."""
        return self._read(path, None, "text/plain").decode(errors="replace")

    def _read(self, path: str, query: Mapping[str, str] | None, accept: str) -> bytes:
        try:
            request = self._client.param_serialize(
                "GET",
                path,
                query_params=list((query or {}).items()),
                header_params={"Accept": accept},
                auth_settings=["BearerToken"],
            )
            answer = self._client.call_api(*request, _request_timeout=_TIMEOUT)
            content: bytes = answer.response.read(_MAX_BYTES + 1)
        except kubernetes.client.ApiException as error:
            raise ApiError(error.status or 0, _said(error.body) or f"HTTP {error.status}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(0, f"the API server cannot be reached: {type(error).__name__}") from error
        if not 200 <= answer.status <= 299:
            raise ApiError(answer.status, _said(content) or f"HTTP {answer.status}")
        if len(content) > _MAX_BYTES:
            raise ApiError(0, f"the answer is larger than {_MAX_BYTES >> 20} MiB")
        return content


def _said(body: str | bytes | None) -> str | None:
    try:
        answer = json.loads(body or b"{}")
    except ValueError:
        return None
    message = answer.get("message") if isinstance(answer, dict) else None
    return message if isinstance(message, str) else None
